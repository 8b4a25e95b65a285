"""The causes that hold now for a device that is not fresh, in the order of the rule.

A cause is a stored fact that explains the silence. Which of them is the reason is decided in
health_decision.py. Pure, from stored facts alone.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from domain.asking import why_not_asked
from domain.health_answer import due_seconds, is_since_activation, max_seconds_without_news
from domain.health_facts import age_seconds, is_later, is_within
from domain.health_gaps import (
    find_collecting_since,
    find_end_of_gap,
    find_gap,
    find_last_start,
    max_between_starts,
    newest,
)
from domain.health_reason import Cause, HealthReason, Party, cause
from domain.model import FaultClass, Reason

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from domain.health_facts import HealthFacts
    from domain.thresholds import Thresholds

MAX_WAITING_SECONDS = 30.0
PAUSED = "collecting is paused: every running shard was started with --paused"
STREAM_STABLE_SECONDS = 60.0  # a socket that was open for so long is no longer new

_FAULTS: Final[Mapping[FaultClass | None, HealthReason]] = MappingProxyType(
    {
        FaultClass.CONFIGURATION: HealthReason.MISCONFIGURED,
        FaultClass.CREDENTIALS: HealthReason.CREDENTIALS_REJECTED,
        FaultClass.QUOTA: HealthReason.QUOTA_EXHAUSTED,
    }
)
_PLACES: Final = {reason: place for place, reason in enumerate(HealthReason)}
# Of what was refused: the party at fault. Anything else was refused by a fault of ours.
_REFUSALS: Final[Mapping[str | None, Party]] = MappingProxyType(
    {
        Reason.INVALID.value: Party.DEVICE,
        Reason.FUTURE_TIMESTAMP.value: Party.DEVICE,
        Reason.DATA_ERROR.value: Party.DEVICE,
        Reason.MALFORMED.value: Party.PROVIDER,
        Reason.IDENTITY_CONFLICT.value: Party.CUSTOMER,
        Reason.UNKNOWN_DEVICE.value: Party.CUSTOMER,
        None: Party.UNKNOWN,
    }
)


class SharedCauses(NamedTuple):
    """The causes that devices of a connection share if limits and our newest start are equal.

    The device that sent the newest data has its own. `gap_at`: see find_gap.
    """

    switched_off: Cause | None
    late_collector: Cause | None
    backlog: Cause | None
    of_connection: Sequence[Cause]
    gap_at: datetime | None


def find_shared_causes(facts: HealthFacts, thresholds: Thresholds, now: datetime) -> SharedCauses:
    """Return what find_causes takes for every device that shares it with this one."""
    gap_at = find_gap(facts, now)
    return SharedCauses(
        _find_switched_off(facts),
        _find_late_collector(facts, gap_at, now),
        _find_backlog(facts),
        _find_connection_causes(facts, thresholds, now),
        gap_at,
    )


def find_causes(
    facts: HealthFacts, thresholds: Thresholds, shared: SharedCauses, now: datetime
) -> tuple[Cause, ...]:
    """Return every cause that holds now, in the order of the rule. Each reason occurs once."""
    found = (
        shared.switched_off,
        shared.late_collector,
        shared.backlog,
        *shared.of_connection,
        _find_refusal(facts, thresholds, now),
        _find_unknown(facts, now),
        _find_silent_sender(facts, thresholds, now),
    )
    causes: dict[HealthReason, Cause] = {}
    for each in found:
        if each is not None:
            causes.setdefault(each.reason, each)
    return tuple(causes.values())


# --- ours


def _find_switched_off(facts: HealthFacts) -> Cause | None:
    if not facts.workspace.active:
        since = facts.workspace.active_changed_at
        return cause(HealthReason.SWITCHED_OFF, since, "the workspace is inactive")
    if not facts.connection.active:
        since = facts.connection_changed_at
        return cause(HealthReason.SWITCHED_OFF, since, "the connection is inactive")
    why = why_not_asked(facts.connection, facts.workspace.cutover)
    if why is not None:
        return cause(HealthReason.SWITCHED_OFF, facts.workspace.asking_changed_at, why)
    return None


def _find_late_collector(
    facts: HealthFacts, gap_at: datetime | None, now: datetime
) -> Cause | None:
    """Return `collector_late` if our own side does not collect, or has not yet caught up."""
    late = _find_unheard(facts, now) if facts.is_pushed else _find_no_collecting(facts, now)
    if late is None and _is_in_gap(facts, gap_at, now):
        since = facts.collector.earlier_cycle_started_at
        return _late(since, "no answer has come since our own gap")
    return late


def _find_no_collecting(facts: HealthFacts, now: datetime) -> Cause | None:
    """Return `collector_late` if our side does not collect over a poll or stream connection."""
    collector = facts.collector
    if collector.is_paused:
        return _late(collector.last_cycle_started_at, PAUSED)
    running_since = find_last_start(facts)
    if now - running_since > max_between_starts(facts):
        return _late(running_since, "no cycle has started in time")
    expires_at = collector.owner_expires_at
    if expires_at is not None and expires_at < now:
        return _late(expires_at, "the shard that owns the workspace is gone")
    not_asked_at = facts.connection_record.not_asked_at
    if not_asked_at is not None:
        return _late(not_asked_at, "the newest cycle ended without having asked the provider")
    if _is_closed_by_us(facts):
        closed_at = facts.connection_record.stream_changed_at
        return _late(closed_at, "the socket was closed by us and is not open again")
    return None


def _find_unheard(facts: HealthFacts, now: datetime) -> Cause | None:
    """Return `collector_late` if perhaps nobody could push to us.

    Cycles do not collect what clients push. But while neither a cycle has started nor anything was
    pushed, nothing shows that a shard was there.
    """
    record = facts.connection_record
    known = (find_last_start(facts), record.sender_at, record.data_at)
    heard_at = max(instant for instant in known if instant is not None)
    if facts.collector.is_paused or now - heard_at <= max_between_starts(facts):
        return None
    return _late(heard_at, "no cycle has started in time, and nobody was heard")


def _is_closed_by_us(facts: HealthFacts) -> bool:
    """Return whether a socket is closed that was neither lost nor refused."""
    record = facts.connection_record
    return (
        facts.connection.transport == "stream"
        and record.stream_status == "closed"
        and record.stream_fault is None
        and record.stream_down_since is None
    )


def _late(since: datetime | None, detail: str) -> Cause:
    return cause(HealthReason.COLLECTOR_LATE, since, detail)


def _is_in_gap(facts: HealthFacts, gap_at: datetime | None, now: datetime) -> bool:
    """Return whether a gap of ours has not ended: nobody knows yet what happened during it.

    A call that ended ends it, answered or failed. Where no calls are made, data of another device
    or a socket that has been open for 60 s ends it. At the latest it is over after due.
    """
    record = facts.connection_record
    back_at = find_end_of_gap(facts) or _find_unanswered_return(facts)
    if back_at is None or age_seconds(back_at, now) > due_seconds(facts.workspace):
        return False
    if facts.is_asked:
        # A stream asks when it connects, which may be before the cycle, but in the same slot.
        slot_start_at = facts.collector.last_slot_start_at or back_at
        return record.call_ended_at is None or record.call_ended_at < slot_start_at
    if is_later(facts.others_data_at, gap_at):
        return False
    opened_at = max(record.stream_changed_at or back_at, back_at)
    return record.stream_status != "open" or age_seconds(opened_at, now) < STREAM_STABLE_SECONDS


def _find_unanswered_return(facts: HealthFacts) -> datetime | None:
    """Return when our side was back one start before the newest, if no call has ended since.

    The first cycle after a gap has little time left in its slot, so its call may be cut. Holes
    between calls for which the provider asked follow a call that failed.
    """
    record, back_at = facts.connection_record, facts.collector.earlier_cycle_started_at
    if back_at is None or record.call_ended_at is None or record.call_status != "succeeded":
        return None
    ended_at = record.call_ended_at
    began_at = newest(facts.connection_changed_at, find_collecting_since(facts))
    running_since = newest(ended_at, began_at) or ended_at
    return back_at if back_at - running_since > max_between_starts(facts) else None


def _find_backlog(facts: HealthFacts) -> Cause | None:
    """Return `ingest_backlog` if data waits to be stored, or in the stream that brought it."""
    collector = facts.collector
    stored = collector.oldest_waiting_seconds or 0.0
    read = collector.stream_waiting_seconds.get(facts.connection.provider_id, 0.0)
    if max(stored, read) <= MAX_WAITING_SECONDS:
        return None
    detail = f"the oldest update has waited {stored:.0f} s to be stored"
    if read > stored:
        detail = f"what its stream brought has waited {read:.0f} s to be read or handed over"
    return cause(HealthReason.INGEST_BACKLOG, detail=detail)


# --- the connection


def _find_connection_causes(
    facts: HealthFacts, thresholds: Thresholds, now: datetime
) -> list[Cause]:
    """Return the causes of the connection, in the order of the rule: calls before the socket."""
    found = (
        _find_failed_call(facts),
        _find_lost_socket(facts, now),
        _find_unreadable(facts, thresholds, now),
    )
    return sorted(
        (each for each in found if each is not None), key=lambda each: _PLACES[each.reason]
    )


def _find_failed_call(facts: HealthFacts) -> Cause | None:
    record = facts.connection_record
    if record.call_status != "failed":
        return None
    reason = _FAULTS.get(record.fault, HealthReason.PROVIDER_OUTAGE)
    return cause(reason, record.failing_since or record.last_failure_at, record.fault_detail)


def _find_lost_socket(facts: HealthFacts, now: datetime) -> Cause | None:
    """Return the cause if a stream has no connection, or has one that has not proved itself.

    The trouble lasts until a socket has been open for 60 s and brought data. One that brings
    nothing ends it after due.
    """
    record = facts.connection_record
    if facts.connection.transport != "stream" or _is_closed_by_us(facts):
        return None
    since, detail = record.stream_down_since, record.stream_fault_detail
    if record.stream_status == "open":
        opened_at = record.stream_changed_at
        if since is None or not is_within(opened_at, due_seconds(facts.workspace), now):
            return None
        return cause(HealthReason.STREAM_DISCONNECTED, since, detail)
    if record.stream_status is None and record.stream_fault is None and since is None:
        return None  # it was not tried yet
    reason = _FAULTS.get(record.stream_fault, HealthReason.STREAM_DISCONNECTED)
    return cause(reason, since or record.stream_changed_at, detail)


def _find_unreadable(facts: HealthFacts, thresholds: Thresholds, now: datetime) -> Cause | None:
    record, limit = facts.connection_record, max_seconds_without_news(facts, thresholds)
    is_newest = is_later(record.unreadable_at, record.readable_at)
    if not (is_newest and is_within(record.unreadable_at, limit, now)):
        return None
    detail = "nothing that came could be read"
    return cause(HealthReason.PROVIDER_OUTAGE, record.unreadable_at, detail)


# --- the device and its customer


def _find_refusal(facts: HealthFacts, thresholds: Thresholds, now: datetime) -> Cause | None:
    """Return the cause if the newest thing from the device was refused, or older than what we hold.

    It holds for the larger of the stale threshold and due.
    """
    if facts.last_rejected_at is None and facts.last_outdated_at is None:
        return None
    limit = max_seconds_without_news(facts, thresholds)
    rejected_at = _newest_unaccepted(facts, facts.last_rejected_at, limit, now)
    outdated_at = _newest_unaccepted(facts, facts.last_outdated_at, limit, now)
    if rejected_at is not None and (outdated_at is None or rejected_at >= outdated_at):
        refused = facts.last_rejection_reason
        party = _REFUSALS.get(refused, Party.OURS)
        return Cause(HealthReason.UPDATES_REJECTED, party, rejected_at, refused)
    if outdated_at is not None:
        return cause(HealthReason.OUTDATED_DATA, outdated_at)
    return None


def _newest_unaccepted(
    facts: HealthFacts, instant: datetime | None, limit: float, now: datetime
) -> datetime | None:
    # Of one arrival the last record decides: acceptance removes the trouble that it puts right.
    is_newest = instant is not None and not is_later(facts.last_update_received_at, instant)
    holds = is_newest and is_since_activation(facts, instant) and is_within(instant, limit, now)
    return instant if holds else None


def _find_unknown(facts: HealthFacts, now: datetime) -> Cause | None:
    """Return the cause if the newest statement leaves the device out, or is an error for it.

    Rosters are asked rarely: a later answer of the provider that is at most due old confirms the
    statement, since it would have cancelled it.
    """
    if facts.statement not in {"left_out", "error"}:
        return None
    record = facts.connection_record
    if not is_since_activation(facts, facts.statement_begun_at):
        return None
    if not is_later(facts.statement_begun_at, facts.last_update_received_at):
        return None
    due = due_seconds(facts.workspace)
    confirmed = (facts.statement_at, record.complete_at, record.roster_at)
    if not any(is_within(instant, due, now) for instant in confirmed):
        return None
    party, detail = Party.PROVIDER, facts.statement_detail
    if facts.statement == "left_out":
        party = Party.CUSTOMER
        detail = (
            f"the provider's list of vehicles does not name {facts.device.external_id}: correct "
            "the external_id, or have the provider add the vehicle to the account"
        )
    return Cause(HealthReason.UNKNOWN_TO_PROVIDER, party, facts.statement_at, detail)


def _find_silent_sender(facts: HealthFacts, thresholds: Thresholds, now: datetime) -> Cause | None:
    """Return the cause if nobody has pushed anything for longer than the stale threshold.

    The time counts from the activation of device and connection at the earliest.
    """
    if not facts.is_pushed:
        return None
    record = facts.connection_record
    known = (record.sender_at, record.data_at, facts.connection_changed_at)
    since = max(instant for instant in (*known, facts.device.activated_at) if instant is not None)
    if is_within(since, thresholds.stale_after_seconds, now):
        return None
    return cause(HealthReason.SENDER_SILENT, since)
