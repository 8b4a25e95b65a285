"""The poll plan: how many workspaces start in each second, and which did not start as planned.

Pure, from the places of workspaces (domain/schedule.py) and their newest recorded starts. Jitter is
left out: it is at most 50 ms.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from domain.cycles import CycleOutcome, CycleTrigger
from domain.schedule import slot_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from domain.schedule import Place

# A start is late from here on, and a slot without a start is overdue.
LATE_AFTER_SECONDS: Final = 1.0
OVERDUE_AFTER_SECONDS: Final = 5.0


class StartState(StrEnum):
    """How the newest start of a workspace went."""

    OVERDUE = "overdue"
    MISSED = "missed"
    LATE = "late"
    ON_TIME = "on_time"
    AWAITED = "awaited"


class NewestStart(NamedTuple):
    """The newest recorded cycle of the schedule. `started_at` is None if it never started."""

    slot_start_at: datetime
    trigger: CycleTrigger
    outcome: CycleOutcome
    started_at: datetime | None


class PlannedWorkspace(NamedTuple):
    """An active workspace. `newest` is None if no start of the schedule is recorded."""

    name: str
    place: Place
    newest: NewestStart | None


class JudgedStart(NamedTuple):
    """A workspace's newest start. `late_seconds` is None where it cannot be said."""

    state: StartState
    slot_start_at: datetime
    late_seconds: float | None


def count_by_second(places: Iterable[Place]) -> dict[int, list[int]]:
    """Return for each interval how many workspaces start in each of its seconds.

    Second 0 is that of the epoch multiples of the interval.
    """
    counts: dict[int, list[int]] = {}
    for place in places:
        series = counts.setdefault(place.interval, [0] * place.interval)
        series[int(place.phase) % place.interval] += 1
    return counts


def add_up(counts: Mapping[int, Sequence[int]], begins_at: int, seconds: int) -> list[int]:
    """Return how many start in each second of a span. `begins_at` is in seconds since 1970."""
    total = [0] * seconds
    for interval, series in counts.items():
        first = begins_at % interval
        around = [*series[first:], *series[:first]]
        repeated = around * (seconds // interval + 1)
        total = [held + more for held, more in zip(total, repeated, strict=False)]
    return total


def judge_start(place: Place, newest: NewestStart | None, now: datetime) -> JudgedStart:
    """Return how the newest start that was due has gone."""
    present = slot_of(now, place)
    behind = (now - present).total_seconds()
    if newest is not None and newest.slot_start_at >= present:
        return _judge_recorded(newest)
    if place.since is not None and place.since > present:
        return JudgedStart(StartState.AWAITED, present, None)  # its first start is spread
    if behind > OVERDUE_AFTER_SECONDS:
        return JudgedStart(StartState.OVERDUE, present, behind)
    if newest is None:
        return JudgedStart(StartState.AWAITED, present, None)
    return _judge_recorded(newest)


def _judge_recorded(newest: NewestStart) -> JudgedStart:
    slot = newest.slot_start_at
    if newest.started_at is None:
        state = StartState.MISSED if newest.outcome is CycleOutcome.MISSED else StartState.ON_TIME
        return JudgedStart(state, slot, None)
    late = (newest.started_at - slot).total_seconds()
    is_late = newest.trigger is CycleTrigger.LATE or late >= LATE_AFTER_SECONDS
    return JudgedStart(StartState.LATE if is_late else StartState.ON_TIME, slot, late)
