"""Protocols that storage/ and providers/ fulfil for the actors and the API.

Nothing here does anything. Unless its docstring says otherwise, every method may raise
`runtime.faults.EnvironmentFault` (the database is away, the provider failed) and has its own
deadline inside, so callers need none.
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
    """This session's row is no longer live: another epoch took over.

    Nothing of the unit was written.
    """


class CommitUnknown(EnvironmentFault):
    """The connection was lost while the commit was under way.

    The caller asks `load_last_unit`, then replays the unit or believes the receipts. `receipts` are
    the results already judged. They are true if the unit turns out to be the last one committed.
    """

    def __init__(self, message: str, receipts: Sequence[Receipt]) -> None:
        super().__init__(message)
        self.receipts = receipts


class RowsLocked(EnvironmentFault):
    """A lock that the unit needs was not given in time. Nothing of the unit was written.

    The lock is on a row, on a table, or on the session's own row. `find_locked` tells which rows it
    was.
    """


class UnitPoisoned(Exception):
    """PostgreSQL refused the data itself (a named SQLSTATE or one of our constraints).

    Nothing was written. The caller bisects.
    """

    def __init__(self, sqlstate: str, message: str) -> None:
        super().__init__(f"{sqlstate}: {message}")
        self.sqlstate = sqlstate


class IngestStore(Protocol):
    """The write side: one unit of work is one transaction."""

    async def commit_unit(self, session: SessionRef, unit: int, submissions: Sequence[Submission]) -> Sequence[Receipt]:
        """Commit everything or nothing; return one receipt per submission, in order.

        Raises SessionFenced, CommitUnknown, UnitPoisoned, RowsLocked, or another EnvironmentFault
        (retry with the same unit number). A deadlock or serialization failure has already been
        retried inside.
        """

    async def find_locked(self, rows: Collection[Key]) -> Mapping[Key, str]:
        """Return which of these rows others have locked; row -> the transaction that holds it.

        The rows keep the names they were asked by. Waits for no row. Raises EnvironmentFault for a
        locked table.
        """

    async def load_last_unit(self, session: SessionRef) -> int | None:
        """Return the number of the last unit that this session committed, live or not.

        None when another session of this shard has begun since. Read on a fresh connection `FOR
        UPDATE`.
        """

    async def quarantine(self, session: SessionRef, unit: int, submission: Submission, error: UnitPoisoned) -> Receipt:
        """Write this submission's updates to quarantine instead.

        The fence and the unit number are those of the unit.
        """


# --- The shard's own rows ---------------------------------------------------------------------------------------


class SessionStart(NamedTuple):
    session: SessionRef
    server_time: datetime


class SessionStore(Protocol):
    """Sessions of a shard, and the configuration of workspaces. The rules: runtime/sessions.py."""

    async def begin_session(
        self, shard_id: str, *, ttl_seconds: float, after: SessionRef | None = None, boot_id: str | None = None
    ) -> SessionStart | None:
        """Begin a new epoch for this shard; the former one, if it was live, is over from here on.

        With `after`, begin only if that is still the newest epoch, or if the newest was begun under
        the same `boot_id`. Otherwise return None: another process has begun one since.
        """

    async def beat(self, session: SessionRef, *, ttl_seconds: float, statistics: Mapping[str, Any]) -> datetime | None:
        """Renew the heartbeat; return the server's time.

        None when the session is no longer live.
        """

    async def start_draining(self, session: SessionRef) -> None:
        """Record that this session takes nothing any more and is about to hand over what it has."""

    async def end_session(self, session: SessionRef) -> None: ...

    async def load_config_versions(self) -> Mapping[str, int]:
        """Return the config_version of every workspace, active or not."""

    async def load_fleet(self, workspace_id: str) -> Fleet | None:
        """Return all the configuration that one workspace's actors need, from one transaction."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """A workspace with its connections, their stored cursors and its active devices."""

    workspace: Workspace
    connections: tuple[ProviderConnection, ...]
    cursors: Mapping[str, str]  # provider_id -> cursor
    devices: tuple[Device, ...]


class Look(NamedTuple):
    """One consistent look at membership and leases. Resources are workspace ids; times are seconds.

    `members` are live and not draining. `mine` are leases of this session on active workspaces,
    with their tokens; `retired` are its leases on workspaces that are no longer active. `free` are
    active workspaces without a live owner, and for how long each has been so.

    `expired` says that the heartbeat of another shard's live session has expired.
    `next_expiry_seconds` is the time until the next one would expire. A session that is over has no
    leases and is no member.
    """

    members: frozenset[str]
    mine: Mapping[str, int]
    retired: Mapping[str, int]
    free: Mapping[str, float]
    expired: bool
    next_expiry_seconds: float | None


class LeaseStore(Protocol):
    """Ownership in the database's time.

    Each call is one transaction, and none writes for a session that is over.
    """

    async def look(self, session: SessionRef) -> Look: ...

    async def declare_dead(self, session: SessionRef) -> list[SessionRef]:
        """Declare sessions with an expired heartbeat dead; return those sessions.

        Waits for their unit in flight, at most the lock timeout. After that it raises
        EnvironmentFault, and the next round tries again. Declares none while our own heartbeat has
        expired: a session that was away as long as the others must not judge them.
        """

    async def claim(self, session: SessionRef, resources: Sequence[str]) -> Mapping[str, int]:
        """Take those of these resources that are free; return resource -> token of what was taken.

        One statement, which waits for nobody. Empty when the session is over.
        """

    async def release(self, session: SessionRef, leases: Mapping[str, int]) -> int:
        """Release these leases and notify; return how many were released.

        A lease is released only if this session and this token still hold it.
        """

    async def load_credentials(self) -> Mapping[str, frozenset[str]]:
        """Return the credential references of every active workspace's active connections.

        Workspaces that share a credential belong together.
        """


class Notices(Protocol):
    """Hints from other shards (NOTIFY). Never data.

    The receiver of a hint looks at once. Without a hint it looks soon enough.
    """

    async def listen(self, on_notice: Callable[[str], None]) -> None:
        """Call `on_notice` with each notice until cancelled.

        After a lost connection it connects again, and then calls `on_notice` with "". Notices are
        `leases` and `workspace:<workspace_id>`. `on_notice` must not block or raise.
        """


class CycleStart(NamedTuple):
    """Answer to the start of a cycle.

    `started` is False when the slot already has a completed cycle (or the session is fenced).
    `trace_id` is that of the row. A requested cycle has the trace id of its request.
    """

    started: bool
    key: CycleKey
    cycle_id: str
    trace_id: str | None = None


class CycleStore(Protocol):
    async def start_cycle(self, session: SessionRef, key: CycleKey, cycle_id: str, trace_id: str) -> CycleStart:
        """Record a running cycle, unless its slot has a completed one.

        An attempt number that is taken is raised by one.
        """

    async def record_missed(self, session: SessionRef, workspace_id: str, slots: Sequence[datetime]) -> None:
        """Record slots that had no cycle. Slots that already have a row are left alone."""

    async def abandon_orphans(self, session: SessionRef, workspace_id: str) -> int:
        """Mark the running cycles of this workspace abandoned; return how many.

        Only the workspace's owner may call this, and only while it runs no cycle.
        """

    async def load_last_slot(self, workspace_id: str) -> datetime | None:
        """Return slot_start_at of the newest recorded cycle."""

    async def take_requested_cycle(
        self, session: SessionRef, workspace_id: str, config_version: int
    ) -> CycleStart | None:
        """Turn the oldest requested (run now) cycle into a running one, and return it.

        Returns None if no cycle is requested, if the session is fenced, or if the configuration is
        no longer that of `config_version`: the person who asked for the run may have configured
        something just before.
        """


class UpkeepStore(Protocol):
    async def ensure_partitions(self, *, days_ahead: int) -> int:
        """Make daily event partitions for today and `days_ahead` more days.

        Returns how many days ahead exist now.
        """

    async def drop_expired(self, *, event_days: int, cycle_days: int, rejection_days: int) -> Mapping[str, int]:
        """Apply retention; return how much was dropped, by table.

        Edges of connections and quarantine are kept as long as events.
        """


# --- Providers --------------------------------------------------------------------------------------------------


class ProviderFault(EnvironmentFault):
    """A provider did not answer as it should. `fault` is the class that health shows.

    `unreadable` says that an answer arrived whole but could not be read. Its body is not kept.
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
    """Readings that one record of a provider gives for one device."""

    external_id: str
    readings: tuple[Reading, ...]


class Page(NamedTuple):
    """One answer of a polled provider. Counts are of records.

    `samples` are oldest first. `answered` names the devices that the provider answered about, with
    or without news. `next_page` is opaque: pass it to the next `fetch`; None ends the run.

    `cursor`, when present, is where a run may begin once this page and those before it are stored.
    It is committed with this page, so a run that is cut off later has moved so far. A provider that
    knows its cursor only with its last page names none before.
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
        """Send one request. Raises ProviderFault. The caller's deadline cancels it."""


class FrameVerdict(NamedTuple):
    """Content of one frame.

    `readings` is empty for echoes, keep-alives and unknown labels (`ignored` says why).
    """

    external_id: str | None
    readings: tuple[Reading, ...]
    ignored: str | None = None  # e.g. "echo", "unknown_label", "not_ours"
    malformed: str | None = None  # why it could not be understood
    fault: FaultClass | None = None  # the provider reported an error


class StreamSocket(Protocol):
    """One open connection of a streaming provider."""

    async def subscribe(self, external_ids: Sequence[str]) -> None: ...

    async def receive(self) -> str | bytes:
        """Return the next frame. Raises ProviderFault when the connection ended."""

    async def ping(self) -> None:
        """Make a round trip. Raises ProviderFault when it does not come back in time."""


class Streamer(Protocol):
    """Opens one streaming connection and reads its frames. Reading is pure."""

    def connect(self) -> AbstractAsyncContextManager[StreamSocket]: ...

    def interpret(self, frame: str | bytes) -> FrameVerdict: ...


class Provider(Protocol):
    """A provider type, found by `provider_type`. service.py puts them in a table."""

    provider_type: str
    transports: frozenset[Literal["poll", "stream"]]
    destination_settings: frozenset[str] | None
    """The settings that choose the host or path the secret is sent to; None: all of them."""

    def check_settings(self, settings: Mapping[str, Any]) -> None:
        """Raise ValueError (or pydantic.ValidationError) with the wrong setting and the remedy."""

    def interpret(self, connection: ProviderConnection, message: bytes) -> Page:
        """Read the raw message of a provider envelope.

        The pure rules are those for the provider's own frames and answers. Only samples, answered,
        counts and malformed samples of the page have a meaning. Raises ProviderFault when the
        message as a whole is nothing that this provider sends; a bad record in it is only counted.
        """

    def open_poller(self, connection: ProviderConnection, secret: str | None) -> Poller | None:
        """Return a poller; None when a stream provider has no state endpoint."""

    def open_streamer(self, connection: ProviderConnection, secret: str | None) -> Streamer | None:
        """Return a streamer; None when this provider does not stream."""
