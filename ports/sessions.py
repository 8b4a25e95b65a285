"""Sessions of shards, what their heartbeats carry, and the configuration that their actors load."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from domain.model import Device, ProviderConnection, SessionRef, Workspace
    from runtime.mailbox_lane import LaneStatistics


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
    version: str = ""  # of the program; empty: it did not say


@dataclass(frozen=True, slots=True)
class Fleet:
    """A workspace with its connections, what is stored of their runs, and its active devices."""

    workspace: Workspace
    connections: tuple[ProviderConnection, ...]
    cursors: Mapping[str, str]  # provider_id -> cursor
    devices: tuple[Device, ...]
    # provider_id -> when the call was begun that brought the newest roster answer
    rosters: Mapping[str, datetime] = field(default_factory=dict)


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

    async def count_fleets(self, workspace_ids: Sequence[str]) -> Mapping[str, int]:
        """Return how many active devices each of these workspaces has."""

    async def load_fleets(self, workspace_ids: Sequence[str]) -> Mapping[str, Fleet]:
        """Return the fleets of these workspaces, from one transaction; of unknown ones none.

        The caller bounds how many, and how many devices they have.
        """
