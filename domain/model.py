"""The words of the house as types: what is collected, who owns it, what became of it.

Everything here is a value. `Reading` and `CanonicalUpdate` are named tuples, not data classes, because tens of
thousands of them are made every second and a frozen data class costs four times as much to build.
Instants are aware datetimes in UTC; durations are seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

Value = bool | int | float | str

MAX_UPDATES_PER_SUBMISSION = 500
MAX_SAMPLE_BYTES = 4096


class Reading(NamedTuple):
    """One signal's value with the time at which it was observed (the provider's clock)."""

    signal: str
    value: Value
    observed_at: datetime


class CanonicalUpdate(NamedTuple):
    """The readings of one device, ready for acceptance.

    `device_id` or `external_id` (within workspace and provider) says which device; a vehicle_id or provider_id that
    disagrees with the registry is an identity conflict. `received_at` is our receipt, in database time.
    """

    workspace_id: str
    provider_id: str
    device_id: str | None
    external_id: str | None
    vehicle_id: str | None
    readings: tuple[Reading, ...]
    received_at: datetime
    trace_id: str


class Outcome(StrEnum):
    """What became of one update. Only `accepted` changes the snapshot."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    STALE = "stale"
    CONFLICT = "conflict"
    REJECTED = "rejected"
    QUARANTINED = "quarantined"


class Reason(StrEnum):
    """Why an update was rejected or quarantined."""

    UNKNOWN_DEVICE = "unknown_device"
    IDENTITY_CONFLICT = "identity_conflict"
    INVALID = "invalid"
    FUTURE_TIMESTAMP = "future_timestamp"
    FENCED = "fenced"
    DATA_ERROR = "data_error"
    JUDGE_ERROR = "judge_error"


class Result(NamedTuple):
    """The answer for one update, in the order of its submission."""

    outcome: Outcome
    reason: Reason | None = None
    device_id: str | None = None
    version: int | None = None
    detail: str | None = None


class SessionRef(NamedTuple):
    """One boot of one shard. A unit commits only while this session's row is live."""

    shard_id: str
    epoch: int


class Ownership(NamedTuple):
    """The claim under which an owned submission was collected; a checker finds it again in the event rows."""

    resource: str
    shard_id: str
    epoch: int
    token: int


class FaultClass(StrEnum):
    """How a call to a provider failed, as health needs to tell it."""

    CREDENTIALS = "credentials"
    QUOTA = "quota"
    OUTAGE = "outage"
    PROTOCOL = "protocol"
    CONFIGURATION = "configuration"


class ConnectionFactKind(StrEnum):
    CALL_SUCCEEDED = "call_succeeded"
    CALL_FAILED = "call_failed"
    STREAM_OPENED = "stream_opened"
    STREAM_CLOSED = "stream_closed"


class ConnectionFact(NamedTuple):
    """Something that happened between us and a provider. Storage keeps the current one and an event on each edge."""

    workspace_id: str
    provider_id: str
    kind: ConnectionFactKind
    at: datetime
    fault: FaultClass | None = None
    detail: str | None = None


class CursorAdvance(NamedTuple):
    """A provider's position, to be stored with the data that was read up to it."""

    workspace_id: str
    provider_id: str
    cursor: str


class Confirmation(NamedTuple):
    """The provider answered about these devices at this instant, whether or not it had news."""

    workspace_id: str
    device_ids: tuple[str, ...]
    at: datetime


class CycleOutcome(StrEnum):
    RUNNING = "running"
    COMPLETED = "completed"  # every polled connection answered and its data is committed
    PARTIAL = "partial"  # some connections answered, some failed
    FAILED = "failed"  # no connection answered
    TIMED_OUT = "timed_out"  # the deadline ended it; what had arrived is committed
    SKIPPED = "skipped"  # there was nothing to collect
    MISSED = "missed"  # nobody started it in its slot
    ABANDONED = "abandoned"  # its shard died or stopped in the middle


class CycleTrigger(StrEnum):
    SCHEDULE = "schedule"
    LATE = "late"
    MANUAL = "manual"


class CycleKey(NamedTuple):
    """The four parts that identify a cycle; `cycle_id` is made from them (domain.schedule.cycle_id)."""

    workspace_id: str
    slot_start_at: datetime
    trigger: CycleTrigger
    attempt: int


class CycleEnd(NamedTuple):
    """How a cycle ended; committed with the last part of its data."""

    key: CycleKey
    cycle_id: str
    ended_at: datetime
    outcome: CycleOutcome
    summary: Mapping[str, Any]


@dataclass(slots=True, eq=False)
class Submission:
    """What enters the mailbox at once: up to 500 updates of one origin, and the facts that commit with them.

    `resolve` is called exactly once, after the commit, with the results in order, or with None when the submission was
    given up without a verdict (shutdown); it must not block or raise.
    """

    origin: Literal["stream", "poll", "http", "envelope"]
    trace_id: str
    updates: tuple[CanonicalUpdate, ...] = ()
    ownership: Ownership | None = None
    cursor: CursorAdvance | None = None
    cycle: CycleEnd | None = None
    facts: tuple[ConnectionFact, ...] = ()
    confirmation: Confirmation | None = None
    invalid: tuple[InvalidItem, ...] = ()
    resolve: Callable[[Receipt | None], object] | None = None

    @property
    def size(self) -> int:
        """Weight in the mailbox: facts alone still occupy one place."""
        return max(1, len(self.updates))

    @property
    def is_empty(self) -> bool:
        """It brings nothing: its receipt only says that what stood before it has been committed."""
        facts = self.cursor or self.cycle or self.facts or self.confirmation
        return not (self.updates or self.invalid or facts)

    def is_stale(self, session: SessionRef) -> bool:
        """Collected under another session than this one; then a unit refuses it as `fenced`."""
        owner = self.ownership
        return owner is not None and (owner.epoch != session.epoch or owner.shard_id != session.shard_id)


class InvalidItem(NamedTuple):
    """Something that could not even become an update; it goes to the ledger with a sample.

    `device_id` or `external_id` says whose it was, as in an update, where that could be read. `received_at` is our
    receipt, in database time; None is the time of the unit.
    """

    workspace_id: str
    provider_id: str
    external_id: str | None
    reason: Reason
    detail: str
    sample: bytes
    occurrences: int = 1
    device_id: str | None = None
    received_at: datetime | None = None


class Receipt(NamedTuple):
    """Proof of commit: the unit that holds the submission, when (database time), and each update's result."""

    unit: int
    committed_at: datetime
    results: tuple[Result, ...]
    facts_written: bool = True  # cursor, confirmation, facts and the cycle's end; not of what was fenced or poison


@dataclass(frozen=True, slots=True)
class Policy:
    """A workspace's thresholds, in seconds of freshness age."""

    freshness_target_seconds: float = 300.0
    delayed_after_seconds: float = 360.0
    stale_after_seconds: float = 900.0
    grace_seconds: float = 3600.0


@dataclass(frozen=True, slots=True)
class PolicyOverride:
    """Thresholds that a provider connection or a device sets for itself; None inherits."""

    delayed_after_seconds: float | None = None
    stale_after_seconds: float | None = None
    grace_seconds: float | None = None


NO_OVERRIDE = PolicyOverride()


@dataclass(frozen=True, slots=True)
class Workspace:
    """One customer's fleet.

    `ordinal` is its place in the series of its interval, held since `scheduled_since`.
    An inactive workspace has neither: its ordinal is free for another one.
    """

    workspace_id: str
    name: str
    active: bool
    ordinal: int | None
    poll_interval_seconds: int
    policy: Policy
    config_version: int = 1
    scheduled_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class ProviderConnection:
    """How one workspace reaches one provider. `credential` is a reference (env:NAME, file:PATH), never the secret."""

    workspace_id: str
    provider_id: str
    provider_type: str
    transport: Literal["poll", "stream"]
    base_url: str
    credential: str | None
    settings: Mapping[str, Any] = field(default_factory=dict)
    active: bool = True
    expected_update_seconds: float | None = None
    override: PolicyOverride = NO_OVERRIDE


@dataclass(frozen=True, slots=True)
class Device:
    """The telematics unit configured for one vehicle; active from activated_at until retired_at."""

    workspace_id: str
    device_id: str
    provider_id: str
    external_id: str
    vehicle_id: str
    vehicle_name: str
    activated_at: datetime
    retired_at: datetime | None = None
    override: PolicyOverride = NO_OVERRIDE
