"""Sessions, leases, notices and the fleet that a lease is for.

docs/ownership.md has the rules.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from domain.model import (
        Device,
        ProviderConnection,
        SessionRef,
        Workspace,
    )
    from domain.resource import Resource
    from runtime.mailbox import LaneStatistics


class SessionStart(NamedTuple):
    session: SessionRef
    server_time: datetime
    was_live: bool = False  # another session of the shard was live until now


@dataclass(frozen=True, slots=True, kw_only=True)
class VitalSigns:
    """The state of a shard that travels with its heartbeat, for health and for `/runtime`."""

    oldest_waiting_seconds: float = 0.0  # oldest submission without a verdict, deferred ones aside
    # Age of the oldest deferred submission of each workspace; the 100 longest.
    deferred_seconds: Mapping[str, float] = field(default_factory=dict)
    # For how long data has waited in a stream, not handed over or not even read, by workspace and
    # connection; the 100 longest.
    stream_waiting_seconds: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    pending: int = 0  # updates without a verdict
    units: int = 0  # units committed since the process began
    failing: bool = False  # the last commit failed
    lanes: Mapping[str, LaneStatistics] = field(default_factory=dict)  # by name
    workspaces: int = 0  # owned
    parked: tuple[str, ...] = ()  # names of parked actors
    restarts: int = 0  # of the actors that run now, after crashes
    paused: bool = False  # started to collect nothing


class SessionStore(Protocol):
    """Sessions of a shard, and the configuration of workspaces. The rules: docs/ownership.md."""

    async def begin_session(
        self,
        shard_id: str,
        *,
        ttl_seconds: float,
        after: SessionRef | None = None,
        boot_id: str | None = None,
        is_member: bool = True,
    ) -> SessionStart | None:
        """Begin a new epoch for this shard; the former one, if it was live, is over from here on.

        A session that is no member gets no work from the others: it is draining from the start.

        With `after`, begin only if that is still the newest epoch, or if the newest was begun under
        the same `boot_id`. Otherwise return None: another process has begun one since.
        """

    async def beat(
        self, session: SessionRef, *, ttl_seconds: float, statistics: VitalSigns
    ) -> datetime | None:
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
    """A workspace with its connections, what is stored of their runs, and its active devices."""

    workspace: Workspace
    connections: tuple[ProviderConnection, ...]
    cursors: Mapping[str, str]  # provider_id -> cursor
    devices: tuple[Device, ...]
    # provider_id -> when the call was begun that brought the newest roster answer
    rosters: Mapping[str, datetime] = field(default_factory=dict)


class Look(NamedTuple):
    """One consistent look at membership and leases. Times are seconds.

    `members` are live and not draining. `mine` are leases of this session on active workspaces,
    with their tokens; `retired` are its leases on workspaces that are no longer active. `free` are
    active workspaces without a live owner, and for how long each has been so.

    `expired` says that the heartbeat of another shard's live session has expired.
    `next_expiry_seconds` is the time until the next one would expire. A session that is over has no
    leases and is no member.
    """

    members: frozenset[str]
    mine: Mapping[Resource, int]
    retired: Mapping[Resource, int]
    free: Mapping[Resource, float]
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

    async def claim(
        self, session: SessionRef, resources: Sequence[Resource]
    ) -> Mapping[Resource, int]:
        """Take those of these resources that are free; return resource -> token of what was taken.

        One statement, which waits for nobody. Empty when the session is over.
        """

    async def release(self, session: SessionRef, leases: Mapping[Resource, int]) -> int:
        """Release these leases and notify; return how many were released.

        A lease is released only if this session and this token still hold it.
        """

    async def load_credentials(self) -> Mapping[Resource, frozenset[str]]:
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


class OwnershipStores(NamedTuple):
    """The stores from which a shard decides about ownership."""

    sessions: SessionStore
    leases: LeaseStore
    notices: Notices


class Nudges(Protocol):
    """Tells this shard's actors that stored configuration changed.

    It is a hint: they look every few seconds without it, too.
    """

    def registry_changed(self) -> None: ...
