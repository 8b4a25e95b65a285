"""When our own side began to collect, and the gaps in which it did not.

A cycle shows that our side was there. Pure, from stored facts alone.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from domain.health_facts import HealthFacts

CYCLE_TOLERANCE = 1.2
CYCLE_TOLERANCE_SECONDS = 5.0


def find_gap(facts: HealthFacts, now: datetime) -> datetime | None:
    """Return an instant in our newest gap: data that came before it proves nothing. None: no gap.

    Before a cycle that starts too late, or is overdue now, something may have been heard for as
    long as a cycle may take to come. It shows that our side was there. While flags kept us from
    asking, we heard nothing.
    """
    longest = max_between_starts(facts)
    is_overdue = now - find_last_start(facts) > longest
    back_at = now if is_overdue else find_end_of_gap(facts)
    gap_at = None if back_at is None else back_at - longest
    return newest(gap_at, _find_asking_since(facts))


def find_end_of_gap(facts: HealthFacts) -> datetime | None:
    """Return when our side was back, if the newest cycle that started had come too late.

    The time counts from the start before it, or from when the workspace took its place in the
    schedule, whichever is later. The next start in time ends the matter.
    """
    collector = facts.collector
    newest_at, earlier = collector.last_cycle_started_at, collector.earlier_cycle_started_at
    if newest_at is None or earlier is None:
        return None
    running_since = newest(earlier, find_collecting_since(facts)) or earlier
    return newest_at if newest_at - running_since > max_between_starts(facts) else None


def find_last_start(facts: HealthFacts) -> datetime:
    """Return the newest start, or when the workspace took its place, whichever is later.

    Without a start the time counts from the device's activation.
    """
    last_start_at = facts.collector.last_cycle_started_at or facts.device.activated_at
    return newest(last_start_at, find_collecting_since(facts)) or last_start_at


def find_collecting_since(facts: HealthFacts) -> datetime | None:
    """Return when our side last began to collect: by its place in the schedule, or by its flags."""
    return newest(facts.workspace.scheduled_since, _find_asking_since(facts))


def _find_asking_since(facts: HealthFacts) -> datetime | None:
    """Return when flags last changed whom we ask. They say nothing about what clients send."""
    return None if facts.is_pushed else facts.workspace.asking_changed_at


def max_between_starts(facts: HealthFacts) -> timedelta:
    """Return how long after a start the next one must have come."""
    interval = facts.workspace.poll_interval_seconds
    return timedelta(seconds=interval * CYCLE_TOLERANCE + CYCLE_TOLERANCE_SECONDS)


def newest(one: datetime | None, other: datetime | None) -> datetime | None:
    """Return the later of two instants, or the one that is known; None if neither is."""
    if one is None or other is None:
        return one or other
    return max(one, other)
