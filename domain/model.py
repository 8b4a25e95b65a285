"""The domain's values as types: collected data, facts about connections, configuration, results.

Those of the poll cycle are in domain/cycles.py. `Reading` and `CanonicalUpdate` are named tuples,
as a frozen data class costs four times as much. Instants are aware, in UTC; durations are seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from domain.cutover import NEW_CUTOVER, Cutover

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from domain.assignments import VehicleSpan
    from domain.cycles import CycleEnd
    from domain.resource import Resource

Value = bool | int | float | str | tuple[float, float]  # a pair is a position

Transport = Literal["poll", "stream", "push"]

MAX_UPDATES_PER_SUBMISSION = 500
MAX_SAMPLE_BYTES = 4096
MAX_WHOLE_BYTES = 65_536  # of an update that quarantine keeps whole
DEFAULT_TIME_ZONE = "UTC"


class Reading(NamedTuple):
    """One signal's value with the time at which it was observed (the provider's clock)."""

    signal: str
    value: Value
    observed_at: datetime


class CanonicalUpdate(NamedTuple):
    """The readings of one device, ready for acceptance.

    `device_id` or `external_id` (within workspace and provider) identifies the device. A vehicle_id
    or provider_id that disagrees with the registry is an identity conflict. `received_at` is its
    arrival, in database time; `reception_at` is the provider's, where it says one. `arrivals` has
    the arrival of each reading, where they came at different times; None stands for `received_at`.
    """

    workspace_id: str
    provider_id: str
    device_id: str | None
    external_id: str | None
    vehicle_id: str | None
    readings: tuple[Reading, ...]
    received_at: datetime
    trace_id: str
    reception_at: datetime | None = None
    arrivals: tuple[datetime, ...] | None = None


class Outcome(StrEnum):
    """The result of one update. Only `accepted` changes the snapshot."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    STALE = "stale"
    CONFLICT = "conflict"
    REJECTED = "rejected"
    QUARANTINED = "quarantined"


class Reason(StrEnum):
    """The reason for which an update or a reading was rejected, or an update quarantined.

    `not_available` and `outside_assignment` are no news: never held against the device.
    """

    UNKNOWN_DEVICE = "unknown_device"
    IDENTITY_CONFLICT = "identity_conflict"
    INVALID = "invalid"
    FUTURE_TIMESTAMP = "future_timestamp"
    MALFORMED = "malformed"  # it could not be read
    OUTSIDE_ASSIGNMENT = "outside_assignment"
    NOT_AVAILABLE = "not_available"
    FENCED = "fenced"
    DATA_ERROR = "data_error"
    JUDGE_ERROR = "judge_error"


class Dropped(NamedTuple):
    """A reading that was refused. `signal` and `why` are short ASCII, so they can be stored."""

    signal: str
    reason: Reason
    why: str


class Result(NamedTuple):
    """The answer for one update, in the order of its submission.

    `dropped` has its refused readings, of an accepted update too; `detail` names the first of them.
    `conflicts` are signals whose reading ties in time with another value. `ahead` counts accepted
    readings that are ahead of their arrival: the same reading may be accepted again.
    """

    outcome: Outcome
    reason: Reason | None = None
    device_id: str | None = None
    version: int | None = None
    detail: str | None = None
    dropped: tuple[Dropped, ...] = ()
    conflicts: tuple[str, ...] = ()
    ahead: int = 0


class SessionRef(NamedTuple):
    """One session of one shard. A unit commits only while this session's row is live."""

    shard_id: str
    epoch: int


class Ownership(NamedTuple):
    """The claim under which an owned submission was collected.

    It is written to the event rows, so that a checker can prove the ownership later.
    """

    resource: Resource
    shard_id: str
    epoch: int
    token: int


class FaultClass(StrEnum):
    """The kinds of failed provider calls that health tells apart."""

    CREDENTIALS = "credentials"
    QUOTA = "quota"
    OUTAGE = "outage"
    PROTOCOL = "protocol"
    CONFIGURATION = "configuration"


class ConnectionFactKind(StrEnum):
    """The kinds of facts about a connection. Calls and the socket of a stream are kept apart."""

    CALL_SUCCEEDED = "call_succeeded"
    CALL_FAILED = "call_failed"
    COMPLETE = "complete"  # everything since the cursor was read, with calls begun at `begun_at`
    ROSTER = "roster"  # an answer that named every vehicle was read
    NOT_ASKED = "not_asked"  # a cycle of ours ended without a call
    STREAM_OPENED = "stream_opened"
    STREAM_CLOSED = "stream_closed"  # by us
    STREAM_FAILED = "stream_failed"  # not by us: it was lost, or could not be opened
    STREAM_STEADY = "stream_steady"  # open for a minute, and it brought data
    DATA = "data"  # a stream or a sender brought data of `device_id`
    READABLE = "readable"
    UNREADABLE = "unreadable"  # nothing that came could be read, nor its device be told
    SENT = "sent"  # a client sent something for this connection


class ConnectionFact(NamedTuple):
    """Something that happened between us and a provider.

    `begun_at` is when the call was begun of which `at` is the end. Storage keeps the newest fact of
    each kind, and an event for each edge.
    """

    workspace_id: str
    provider_id: str
    kind: ConnectionFactKind
    at: datetime
    fault: FaultClass | None = None
    detail: str | None = None
    begun_at: datetime | None = None
    device_id: str | None = None


class CursorAdvance(NamedTuple):
    """A provider's position, stored together with the data that was read up to it."""

    workspace_id: str
    provider_id: str
    cursor: str


class StatementKind(StrEnum):
    """What a provider said about a device in an answer that could be read."""

    NAMED = "named"  # a record names it, with or without news
    LEFT_OUT = "left_out"  # an answer that names every vehicle does not name it
    ERROR = "error"  # the answer holds an error in place of its data


class ProviderStatement(NamedTuple):
    """A provider's statement about devices, in an answer to a call begun at `begun_at`.

    Of several statements about a device, the one with the newest `begun_at` counts. `at` is when
    the call ended. `detail` is the provider's error.
    """

    workspace_id: str
    kind: StatementKind
    device_ids: tuple[str, ...]
    begun_at: datetime
    at: datetime
    detail: str | None = None


Origin = Literal["stream", "poll", "http", "envelope"]


@dataclass(slots=True, eq=False)
class Submission:
    """Up to 500 updates of one origin, and the facts that commit with them.

    It enters the mailbox as one item. `is_replay`: it comes from quarantine, once for each update.

    `resolve` is called exactly once: after the commit with the results in order, or with None if
    the submission was given up without a verdict (shutdown). It must not block or raise.
    """

    origin: Origin
    trace_id: str
    updates: tuple[CanonicalUpdate, ...] = ()
    ownership: Ownership | None = None
    cursor: CursorAdvance | None = None
    cycle: CycleEnd | None = None
    facts: tuple[ConnectionFact, ...] = ()
    statements: tuple[ProviderStatement, ...] = ()
    invalid: tuple[InvalidItem, ...] = ()
    resolve: Callable[[Receipt | None], object] | None = None
    is_replay: bool = False
    span: Any = None  # in a trace (actors/submission_spans.py); no rule reads it

    @property
    def size(self) -> int:
        """Return the weight in the mailbox. Facts without updates weigh 1."""
        return max(1, len(self.updates))

    @property
    def is_empty(self) -> bool:
        """Return whether it holds no data and no facts.

        Its receipt then only says that everything before it is committed.
        """
        facts = self.cursor or self.cycle or self.facts or self.statements
        return not (self.updates or self.invalid or facts)

    def is_stale(self, session: SessionRef) -> bool:
        """Return whether it was collected under another session; a unit refuses it as `fenced`."""
        owner = self.ownership
        return owner is not None and (
            owner.epoch != session.epoch or owner.shard_id != session.shard_id
        )


class InvalidItem(NamedTuple):
    """An item that could not become an update. It goes to the ledger with a sample.

    `device_id` or `external_id` identifies the device, if it could be read. `received_at` is the
    arrival; None stands for the time of the unit. `signal` is what a refused part would have given.
    `refused_whole`: the newest record gave nothing, and the vendor received it at `reception_at`;
    it is held against the device unless an update follows. `updates_before` counts the submission's
    updates before the item; None stands for all.
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
    signal: str | None = None
    refused_whole: bool = True
    updates_before: int | None = None
    reception_at: datetime | None = None


class Receipt(NamedTuple):
    """Proof of commit: the unit, the time (database time) and the result of each update."""

    unit: int
    committed_at: datetime
    results: tuple[Result, ...]
    facts_written: bool = True  # False if fenced or poison: nothing but the results was written


@dataclass(frozen=True, slots=True)
class Policy:
    """A workspace's thresholds, in seconds of freshness age."""

    freshness_target_seconds: float = 300.0
    delayed_after_seconds: float = 360.0
    stale_after_seconds: float = 900.0
    grace_seconds: float = 3600.0


@dataclass(frozen=True, slots=True)
class PolicyOverride:
    """Thresholds of one provider connection or device; None inherits."""

    delayed_after_seconds: float | None = None
    stale_after_seconds: float | None = None
    grace_seconds: float | None = None


NO_OVERRIDE = PolicyOverride()


@dataclass(frozen=True, slots=True)
class Workspace:
    """One customer's fleet.

    `ordinal` is its place in the series of its interval. `scheduled_since` is when it took its
    place in the schedule (domain.schedule). An inactive workspace has neither.
    `start_offset_seconds` is its explicit offset, if it has one. `time_zone` is an IANA name, for
    showing times: every instant is in UTC. `asking_changed_at`: flags changed who is asked.
    """

    workspace_id: str
    name: str
    active: bool
    ordinal: int | None
    poll_interval_seconds: int
    policy: Policy
    config_version: int = 1
    scheduled_since: datetime | None = None
    archived_at: datetime | None = None
    time_zone: str = DEFAULT_TIME_ZONE
    start_offset_seconds: int | None = None
    cutover: Cutover = NEW_CUTOVER
    # What is noted about the configuration, and is no part of it.
    active_changed_at: datetime | None = field(default=None, compare=False)
    revision: int = field(default=1, compare=False)
    policy_revision: int = field(default=1, compare=False)
    cutover_revision: int = field(default=1, compare=False)
    asking_changed_at: datetime | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class ProviderConnection:
    """One workspace's access to one provider.

    `credential` is a reference (env:NAME, file:PATH), never the secret. Over transport `push`
    clients send to us: `base_url` is empty, and there is no credential. `period_is_documented` says
    that expected_update_seconds is what the vendor's documents state, and that nobody stated it by
    hand. `simulated` says that the connection leads to a simulator.
    """

    workspace_id: str
    provider_id: str
    provider_type: str
    transport: Transport
    base_url: str
    credential: str | None
    settings: Mapping[str, Any] = field(default_factory=dict)
    active: bool = True
    expected_update_seconds: float | None = None
    override: PolicyOverride = NO_OVERRIDE
    ids_are_vins: bool = False  # external ids are compared without regard to case
    archived_at: datetime | None = None
    period_is_documented: bool = False
    simulated: bool = False
    revision: int = field(default=1, compare=False)

    @property
    def is_asked(self) -> bool:
        """Return whether poll cycles ask its provider. Over `push` there is no one to ask."""
        return self.active and self.transport != "push"


@dataclass(frozen=True, slots=True)
class Device:
    """The telematics unit configured for one vehicle.

    Active from activated_at until retired_at. `assignment` is the number of the present or last
    one. `other_spans` is when the external id sat in another vehicle. `tags` are the customer's
    labels, such as a depot or a line: sorted, none twice.
    """

    workspace_id: str
    device_id: str
    provider_id: str
    external_id: str
    vehicle_id: str
    vehicle_name: str
    activated_at: datetime
    retired_at: datetime | None = None
    override: PolicyOverride = NO_OVERRIDE
    ids_are_vins: bool = False
    assignment: int = 1
    other_spans: tuple[VehicleSpan, ...] = ()
    tags: tuple[str, ...] = ()
    revision: int = field(default=1, compare=False)
