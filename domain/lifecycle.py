"""The lifecycle records of a poll cycle: their names, and how they follow from its stored row.

A shard logs the records when they happen. The API derives them from the row, so that every shard
answers the same, also about a cycle of a shard that is gone. Both use the names and fields of this
file. Pure.
"""

from __future__ import annotations

from datetime import datetime
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypedDict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from domain.cycles import CycleKey

CYCLE_TRIGGERED: Final = "workspace_poll_cycle_triggered"
MESSAGE_RECEIVED: Final = "telematics_provider_message_received"
PAYLOAD_PREPARED: Final = "telematics_ingress_payload_prepared"
UPDATE_ACCEPTED: Final = "telematics_update_accepted"
UPDATE_REJECTED: Final = "telematics_update_rejected"
INGEST_COMPLETED: Final = "workspace_poll_ingest_completed"

COLLECTED: Final = "collected"  # the member of a cycle's summary that the records come from


class CollectedFacts(TypedDict):
    """What a cycle's summary stores of one connection, under `collected` and its provider_id.

    Sums of the connection's pages, as the shard logged them. Instants are RFC 3339 text: when the
    first page came, when the last one was handed over, and the last commit. They are null if that
    did not happen. `reasons` counts updates that were not accepted by reason, or by outcome where
    there is no reason; `rejected_records` records that gave no update, or not all of it, by reason.
    """

    provider_type: str
    received_at: str | None
    payload_prepared_at: str | None
    committed_at: str | None
    frames: int
    updates: int
    devices_answered: int
    malformed: int
    ignored: int
    accepted: int
    reasons: Mapping[str, int]
    rejected_records: Mapping[str, int]


class LifecycleRecord(NamedTuple):
    """One record. `fields` has what only records of this name have."""

    name: str
    at: datetime
    fields: Mapping[str, Any]


class StoredCycle(Protocol):
    """The facts of a cycle's row."""

    @property
    def key(self) -> CycleKey: ...
    @property
    def started_at(self) -> datetime | None: ...
    @property
    def ended_at(self) -> datetime | None: ...
    @property
    def outcome(self) -> str: ...
    @property
    def summary(self) -> Mapping[str, Any]: ...


def lifecycle_records(cycle: StoredCycle) -> tuple[LifecycleRecord, ...]:
    """Return the records of a cycle, as far as they are known, in the order of time.

    The process and the database have a clock each, so cause comes before effect whatever they say.
    Until its end only the first one is known, because what was collected is stored with the end.
    That stays so for a cycle that was abandoned because its shard is gone. A cycle that never
    started has none. Rows of older releases have the first and the last.
    """
    if cycle.started_at is None:
        return ()
    collected: Mapping[str, CollectedFacts] = cycle.summary.get(COLLECTED, {})
    placed: list[tuple[datetime, LifecycleRecord]] = []
    for provider_id, facts in collected.items():
        place = cycle.started_at
        for record in _of_connection(provider_id, facts, cycle.ended_at or place):
            place = max(place, record.at)
            placed.append((place, record))
    placed.sort(key=itemgetter(0))  # stable
    ended_at = cycle.ended_at
    return (
        _triggered(cycle, cycle.started_at),
        *(record for _, record in placed),
        *([] if ended_at is None else [_completed(cycle, ended_at)]),
    )


def triggered_fields(key: CycleKey, started_at: datetime) -> dict[str, Any]:
    """Return the fields of the record of a start, beside the cycle's ids."""
    return {
        "slot_at": key.slot_start_at,
        "attempt": key.attempt,
        "trigger": str(key.trigger),
        "cycle_started_at": started_at,
    }


def completed_fields(
    ended_at: datetime, outcome: str, summary: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the fields of the record of an end, beside the cycle's ids."""
    return {"cycle_ended_at": ended_at, "outcome": str(outcome), "result_summary": summary}


def _triggered(cycle: StoredCycle, started_at: datetime) -> LifecycleRecord:
    return LifecycleRecord(CYCLE_TRIGGERED, started_at, triggered_fields(cycle.key, started_at))


def _completed(cycle: StoredCycle, ended_at: datetime) -> LifecycleRecord:
    fields = completed_fields(ended_at, cycle.outcome, cycle.summary)
    return LifecycleRecord(INGEST_COMPLETED, ended_at, fields)


def _of_connection(
    provider_id: str, facts: CollectedFacts, otherwise: datetime
) -> Iterator[LifecycleRecord]:
    """Yield the records of one connection. `otherwise`: when refusals without a commit are told."""
    who = {"provider_type": facts["provider_type"], "provider_id": provider_id}
    received_at = _instant(facts["received_at"])
    prepared_at = _instant(facts["payload_prepared_at"])
    if received_at is not None and prepared_at is not None:
        fields = {"received_at": received_at, "frames": facts["frames"]}
        yield LifecycleRecord(MESSAGE_RECEIVED, received_at, who | fields)
        fields = {"payload_prepared_at": prepared_at} | {
            name: facts[name] for name in ("updates", "devices_answered", "malformed", "ignored")
        }
        yield LifecycleRecord(PAYLOAD_PREPARED, prepared_at, who | fields)
    committed_at = _instant(facts["committed_at"])
    at = committed_at or otherwise
    committed = who | {"committed_at": committed_at}
    if facts["accepted"]:
        yield LifecycleRecord(UPDATE_ACCEPTED, at, committed | {"updates": facts["accepted"]})
    if facts["reasons"] or facts["rejected_records"]:
        counts = {
            "updates": sum(facts["reasons"].values()),
            "reasons": facts["reasons"],
            "records": facts["rejected_records"],
        }
        yield LifecycleRecord(UPDATE_REJECTED, at, committed | counts)


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
