"""What the actors and the API need from the outside, as protocols. storage/ and providers/ fulfil them.

Nothing here does anything. Every method may raise `runtime.faults.EnvironmentFault` (the database is away, the
provider failed) unless it says otherwise; each carries its own deadline inside, so callers need none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from runtime.faults import EnvironmentFault

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager
    from datetime import datetime

    from domain.deferral import Key
    from domain.model import (
        CycleKey,
        Device,
        FaultClass,
        ProviderConnection,
        Reading,
        Receipt,
        SessionRef,
        Submission,
        Workspace,
    )


# --- Committing -------------------------------------------------------------------------------------------------


class SessionFenced(Exception):
    """This session's row is no longer live: another epoch took over. Nothing of the unit was written."""


class CommitUnknown(EnvironmentFault):
    """The connection was lost while the commit was under way: ask `load_last_unit`, then replay or believe.

    `receipts` are the results already judged; they are true if the unit turns out to be the last one committed.
    """

    def __init__(self, message: str, receipts: Sequence[Receipt]) -> None:
        super().__init__(message)
        self.receipts = receipts


class RowsLocked(EnvironmentFault):
    """A lock that the unit needs was not given in time: on a row, on a table, or on the session's own row. Nothing of
    the unit was written; `find_locked` tells which rows it was.
    """


class UnitPoisoned(Exception):
    """PostgreSQL refused the data itself (a named SQLSTATE or one of our constraints). Bisect; nothing was written."""

    def __init__(self, sqlstate: str, message: str) -> None:
        super().__init__(f"{sqlstate}: {message}")
        self.sqlstate = sqlstate


class IngestStore(Protocol):
    """The write side: one unit of work is one transaction."""

    async def commit_unit(self, session: SessionRef, unit: int, submissions: Sequence[Submission]) -> Sequence[Receipt]:
        """Commit everything or nothing; one receipt per submission, in order.

        Raises SessionFenced, CommitUnknown, UnitPoisoned, RowsLocked, or another EnvironmentFault (retry with the same
        unit number).
        A deadlock or serialization failure has already been retried inside.
        """

    async def find_locked(self, rows: Collection[Key]) -> Mapping[Key, str]:
        """Which of these rows somebody else has locked, under the names they were asked by, with the transaction that
        holds each. Waits for no row, and raises EnvironmentFault for a locked table.
        """

    async def load_last_unit(self, session: SessionRef) -> int | None:
        """The last unit this session committed, live or not, read on a fresh connection `FOR UPDATE`; None when another
        session of this shard has begun since.
        """

    async def quarantine(self, session: SessionRef, unit: int, submission: Submission, error: UnitPoisoned) -> Receipt:
        """Write this submission's updates to quarantine instead, with the same fence and unit number."""


# --- The shard's own rows ---------------------------------------------------------------------------------------


class SessionStart(NamedTuple):
    session: SessionRef
    server_time: datetime


class SessionStore(Protocol):
    """runtime/sessions.py says what all of this means."""

    async def begin_session(
        self, shard_id: str, *, ttl_seconds: float, after: SessionRef | None = None, boot_id: str | None = None
    ) -> SessionStart | None:
        """A new epoch for this shard; the former one, if it was live, is over from here on.

        With `after` only if that is still the newest epoch, or the newest was begun under the same `boot_id`; None says
        that another process has begun one since.
        """

    async def beat(self, session: SessionRef, *, ttl_seconds: float, statistics: Mapping[str, Any]) -> datetime | None:
        """Renew the heartbeat; the server's time, or None when the session is no longer live."""

    async def start_draining(self, session: SessionRef) -> None:
        """Say that this session takes nothing any more and is about to hand over what it has."""

    async def end_session(self, session: SessionRef) -> None: ...

    async def load_config_versions(self) -> Mapping[str, int]:
        """config_version of every workspace, active or not."""

    async def load_fleet(self, workspace_id: str) -> Fleet | None:
        """Everything the actors of one workspace run by, from one transaction."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """A workspace with its connections, their stored cursors and its active devices."""

    workspace: Workspace
    connections: tuple[ProviderConnection, ...]
    cursors: Mapping[str, str]  # provider_id -> cursor
    devices: tuple[Device, ...]


class Look(NamedTuple):
    """One consistent look at membership and leases. Resources are workspace ids; times are seconds.

    `members` are live and not draining. `mine` are leases of this session on active workspaces, with their tokens,
    `retired` those on workspaces that are active no more. `free` are active workspaces nobody live owns, and for how
    long that has been so. `expired` says that the heartbeat of another shard's live session is over;
    `next_expiry_seconds` when the next one would be. A session that is over has nothing and is no member.
    """

    members: frozenset[str]
    mine: Mapping[str, int]
    retired: Mapping[str, int]
    free: Mapping[str, float]
    expired: bool
    next_expiry_seconds: float | None


class LeaseStore(Protocol):
    """Ownership in the database's time. Each call is one transaction, and none writes for a session that is over."""

    async def look(self, session: SessionRef) -> Look: ...

    async def declare_dead(self, session: SessionRef) -> list[SessionRef]:
        """Declare sessions with an expired heartbeat dead, waiting for their unit in flight (at most the lock timeout:
        then it raises EnvironmentFault and is tried in the next round). Which ones; none while our own has expired,
        since who was away as long as they has no say.
        """

    async def claim(self, session: SessionRef, resources: Sequence[str]) -> Mapping[str, int]:
        """Take what is free of these, in one statement that waits for nobody; resource -> token of what was taken.
        Empty when the session is over.
        """

    async def release(self, session: SessionRef, leases: Mapping[str, int]) -> int:
        """Give these up, each only if session and token still hold it, and notify; how many."""

    async def load_credentials(self) -> Mapping[str, frozenset[str]]:
        """Credential references of every active workspace's active connections: who shares one belongs together."""


class Notices(Protocol):
    """Hints from other shards (NOTIFY). Never data: whoever gets one looks, and looks without one soon enough."""

    async def listen(self, on_notice: Callable[[str], None]) -> None:
        """Call `on_notice` with each notice until cancelled; again and again after lost connections, then with "".

        Notices are `leases` and `workspace:<workspace_id>`. `on_notice` must not block or raise.
        """


class CycleStart(NamedTuple):
    """`started` is False when the slot already has a completed cycle (or the session is fenced).

    `trace_id` is that of the row: of a requested cycle the one under which somebody asked for it.
    """

    started: bool
    key: CycleKey
    cycle_id: str
    trace_id: str | None = None


class CycleStore(Protocol):
    async def start_cycle(self, session: SessionRef, key: CycleKey, cycle_id: str, trace_id: str) -> CycleStart:
        """Record a running cycle, unless its slot has a completed one; a taken attempt number is raised by one."""

    async def record_missed(self, session: SessionRef, workspace_id: str, slots: Sequence[datetime]) -> None:
        """Record slots nobody started. Slots that have a row already are left alone."""

    async def abandon_orphans(self, session: SessionRef, workspace_id: str) -> int:
        """Mark the running cycles of this workspace abandoned; how many. Only its owner may ask, who runs none now."""

    async def load_last_slot(self, workspace_id: str) -> datetime | None:
        """slot_start_at of the newest recorded cycle."""

    async def take_requested_cycle(
        self, session: SessionRef, workspace_id: str, config_version: int
    ) -> CycleStart | None:
        """Turn the oldest requested (run now) cycle into a running one, unless the configuration is not that of
        `config_version` any more: who asked for the run may have configured something just before.
        """


class UpkeepStore(Protocol):
    async def ensure_partitions(self, *, days_ahead: int) -> int:
        """Make daily event partitions for today and so many days on; how many days ahead exist now."""

    async def drop_expired(self, *, event_days: int, cycle_days: int, rejection_days: int) -> Mapping[str, int]:
        """Apply retention; what was dropped, by table. Edges of connections and quarantine are kept like events."""


# --- Providers --------------------------------------------------------------------------------------------------


class ProviderFault(EnvironmentFault):
    """A provider did not answer as it should. `fault` is the class that health tells people.

    `unreadable` says that an answer came whole and was not what it should be. Its body is not kept.
    """

    def __init__(
        self,
        fault: FaultClass,
        message: str,
        *,
        permanent: bool = False,
        retry_after: float | None = None,
        unreadable: bool = False,
    ) -> None:
        super().__init__(message, permanent=permanent, retry_after=retry_after)
        self.fault = fault
        self.unreadable = unreadable


class Sample(NamedTuple):
    """What one record of a provider says about one device."""

    external_id: str
    readings: tuple[Reading, ...]


class Page(NamedTuple):
    """One answer of a polled provider.

    `samples` are oldest first. `answered` names the devices the provider answered about, with or without news.
    `next_page` is opaque: pass it to the next `fetch`; None ends the run. `cursor`, when present, is where a run may
    begin once this page and those before it are stored, and is committed with this page: a run that is cut off later
    has moved so far. A provider that cannot tell before its last page names none before. Counts are of records.
    """

    samples: tuple[Sample, ...]
    answered: frozenset[str]
    next_page: str | None = None
    cursor: str | None = None
    records: int = 0
    ignored: int = 0
    malformed: tuple[bytes, ...] = ()  # malformed records, at most 20, not yet scrubbed and cut
    malformed_count: int = 0


class Poller(Protocol):
    """One polled connection. Not for concurrent use."""

    async def fetch(self, external_ids: Sequence[str], cursor: str | None, page: str | None) -> Page:
        """One request. Raises ProviderFault. The caller's deadline cancels it."""


class FrameVerdict(NamedTuple):
    """What a frame said. `readings` is empty for echoes, keep-alives and unknown labels (`ignored` says why)."""

    external_id: str | None
    readings: tuple[Reading, ...]
    ignored: str | None = None  # e.g. "echo", "unknown_label", "not_ours"
    malformed: str | None = None  # why it could not be understood
    fault: FaultClass | None = None  # the provider reported an error


class StreamSocket(Protocol):
    """One open connection of a streaming provider."""

    async def subscribe(self, external_ids: Sequence[str]) -> None: ...

    async def receive(self) -> str | bytes:
        """The next frame. Raises ProviderFault when the connection ended."""

    async def ping(self) -> None:
        """Round trip; raises ProviderFault when it does not come back in time."""


class Streamer(Protocol):
    """One streaming connection's way in, and how to read its frames (pure)."""

    def connect(self) -> AbstractAsyncContextManager[StreamSocket]: ...

    def interpret(self, frame: str | bytes) -> FrameVerdict: ...


class Provider(Protocol):
    """A provider type, found by `provider_type`. service.py puts them in a table."""

    provider_type: str
    transports: frozenset[Literal["poll", "stream"]]
    destination_settings: frozenset[str] | None
    """The settings that choose the host or path the secret is sent to; None: all of them."""

    def check_settings(self, settings: Mapping[str, Any]) -> None:
        """Raise ValueError (or pydantic.ValidationError) naming the setting that is wrong and the remedy."""

    def interpret(self, connection: ProviderConnection, message: bytes) -> Page:
        """What the raw message of a provider envelope says, by the same pure rules as a frame or an answer of its own.

        Of the page only samples, answered, counts and malformed samples are meant. Raises ProviderFault when the
        message as a whole is nothing that this provider sends; a bad record in it is only counted.
        """

    def open_poller(self, connection: ProviderConnection, secret: str | None) -> Poller | None:
        """None when a stream provider has no state endpoint."""

    def open_streamer(self, connection: ProviderConnection, secret: str | None) -> Streamer | None:
        """None when this provider does not stream."""
