"""Answers about a device: when the provider last answered about it, and whether that is recent.

The device is blamed only on a recent answer. Pure, from stored facts alone.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from domain.health_facts import is_later, is_within

if TYPE_CHECKING:
    from datetime import datetime

    from domain.health_facts import HealthFacts
    from domain.model import Workspace
    from domain.thresholds import Thresholds

# At 1.2 intervals the reason would alternate all day while a provider fails every second call.
DUE_INTERVALS: Final = 2.2


class AnswerTimes(NamedTuple):
    """An answer about a device: when its call was begun, and when it ended.

    An answer by the data of other devices has one time for both.
    """

    begun_at: datetime
    ended_at: datetime


def due_seconds(workspace: Workspace) -> float:
    """Return for how long an answer counts as recent."""
    return DUE_INTERVALS * workspace.poll_interval_seconds


def max_seconds_without_news(facts: HealthFacts, thresholds: Thresholds) -> float:
    """Return the larger of due and the stale threshold: the limit of what comes unasked."""
    return max(due_seconds(facts.workspace), thresholds.stale_after_seconds)


def find_answers(facts: HealthFacts) -> tuple[AnswerTimes, ...]:
    """Return the newest answer of each kind about the device, since its activation.

    A provider that is asked has answered about a device if its newest statement is `named`. A
    complete incremental answer repeats that statement. A connection over which nothing is asked
    answers by the data of other devices. So does the legacy system, for a device that it names.
    """
    record = facts.connection_record
    if facts.is_of_legacy and facts.statement != "named":
        return ()
    if not facts.is_asked:
        others_at = facts.others_data_at
        return _since_activation(facts, others_at, others_at)
    if facts.statement != "named" or not is_since_activation(facts, facts.statement_begun_at):
        return ()
    return (
        *_since_activation(facts, facts.statement_begun_at, facts.statement_at),
        *_since_activation(facts, record.complete_begun_at, record.complete_at),
    )


def _since_activation(
    facts: HealthFacts, begun_at: datetime | None, ended_at: datetime | None
) -> tuple[AnswerTimes, ...]:
    if begun_at is None or ended_at is None or begun_at < facts.device.activated_at:
        return ()
    return (AnswerTimes(begun_at, ended_at),)


def has_recent_answer(
    facts: HealthFacts, thresholds: Thresholds, gap_at: datetime | None, now: datetime
) -> bool:
    """Return whether an answer about the device is recent, and later than its last update.

    The begin of the call is compared with the last update, because what the device sent during the
    call is not in the answer. `gap_at` is an instant in our newest gap, None without one: data of
    other devices that came before it proves nothing.
    """
    limit = (
        due_seconds(facts.workspace)
        if facts.is_asked
        else max_seconds_without_news(facts, thresholds)
    )
    return any(
        is_later(answer.begun_at, facts.last_update_received_at)
        and is_within(answer.ended_at, limit, now)
        and (facts.is_asked or is_later(answer.ended_at, gap_at))
        for answer in find_answers(facts)
    )


def has_legacy_answer(facts: HealthFacts, thresholds: Thresholds, now: datetime) -> bool:
    """Return whether the legacy system shows that the device itself is silent.

    It names the device, and heard another device of the connection when this one was late already,
    not too long ago. If all devices fall silent together, its own collecting may have stopped.
    """
    received_at, others_at = facts.last_update_received_at, facts.others_data_at
    if facts.statement != "named" or others_at is None:
        return False
    late_after = (
        timedelta(seconds=thresholds.grace_seconds)
        if received_at is None
        else timedelta(seconds=thresholds.delayed_after_seconds)
    )
    return others_at > facts.silent_since + late_after and is_within(
        others_at, max_seconds_without_news(facts, thresholds), now
    )


def is_since_activation(facts: HealthFacts, instant: datetime | None) -> bool:
    """Return whether the instant is known and lies in the device's present assignment."""
    return instant is not None and instant >= facts.device.activated_at
