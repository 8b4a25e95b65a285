"""The shard actor: this process's session, its heartbeat, and the actors of every workspace it owns.

Owns who runs here. Alone on its database a shard owns every active workspace. It must never write telematics data, and
never outlive its session: once another epoch of this shard began, it asks the process to stop.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import trio

from actors.fleet import FleetView
from actors.stream import StreamActor
from actors.workspace import WorkspaceActor
from domain.model import Ownership
from runtime.backoff import Backoff
from runtime.faults import EnvironmentFault
from runtime.logs import EdgeLog, get_logger
from runtime.supervisor import ChildState, Restart, Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from random import Random

    from actors.connections import Connector
    from actors.ingest import IngestActor
    from actors.ports import CycleStore, Fleet, SessionStore
    from actors.session import CurrentSession
    from domain.model import ProviderConnection, SessionRef
    from runtime.clock import SharedClock

HEARTBEAT_SECONDS = 5.0
TTL_SECONDS = 15.0
STOP_BUDGET_SECONDS = 5.0


class _Owned:
    """The running actors of one workspace."""

    def __init__(self, view: FleetView, workspace: WorkspaceActor) -> None:
        self.view = view
        self.workspace = workspace
        self.streams: dict[str, tuple[ProviderConnection, StreamActor]] = {}


class ShardActor:
    """Begins the session, beats, and keeps the children in step with the stored configuration."""

    def __init__(
        self,
        shard_id: str,
        sessions: SessionStore,
        cycles: CycleStore,
        connector: Connector,
        ingest: IngestActor,
        current: CurrentSession,
        clock: SharedClock,
        random: Random,
        *,
        on_superseded: Callable[[], None],
        window_seconds: float = 1.0,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
    ) -> None:
        self._shard_id = shard_id
        self._sessions = sessions
        self._cycles = cycles
        self._connector = connector
        self._ingest = ingest
        self._current = current
        self._clock = clock
        self._random = random
        self._on_superseded = on_superseded
        self._window_seconds = window_seconds
        self._heartbeat_seconds = heartbeat_seconds
        self._supervisor = Supervisor("owned", random=random)
        self._owned: dict[str, _Owned] = {}
        self._versions: dict[str, int] = {}
        # By workspace, of streams that run no more, so that the identity still adds up.
        self._ended_frames: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._nudged = trio.Event()
        self._nudges: set[str] = set()
        self._collecting = True
        self._beats = 0
        self._backoff = Backoff(random, base_seconds=0.2, cap_seconds=heartbeat_seconds)
        self._log = get_logger("shard").bind(shard_id=shard_id)
        self._edge = EdgeLog(self._log, "heartbeat")

    async def run(self) -> None:
        """Hold the session until it is superseded. The children run under a supervisor of their own."""
        self._owned.clear()
        self._versions.clear()
        session = await self._session()
        async with self._supervisor.open():
            while await self._beat(session):
                await self._follow_configuration(session)
                await self._wait_for_next_beat(session)
            self._log.error("shard_superseded", epoch=session.epoch, remedy="run one process per shard_id")
            self._on_superseded()
            await trio.sleep_forever()  # until the shutdown that was just asked for stops this actor

    # --- session and heartbeat

    async def _session(self) -> SessionRef:
        """The session of this boot: begun at the first start of this actor, kept when a bug made it start again."""
        if self._current.session is not None:
            return self._current.session
        while True:
            sent_at = self._clock.monotonic()
            try:
                start = await self._sessions.begin_session(self._shard_id, ttl_seconds=TTL_SECONDS)
            except EnvironmentFault as fault:
                self._edge.failed(fault)
                await trio.sleep(self._backoff.next_delay(fault.retry_after))
            else:
                self._clock.observe(sent_at, self._clock.monotonic(), start.server_time)
                self._current.replace(start.session)
                self._log.info("session_begun", epoch=start.session.epoch)
                return start.session

    async def _beat(self, session: SessionRef) -> bool:
        """Renew the heartbeat; False when the session is no longer live. An unreachable database costs nothing here:
        units wait, health on other shards tells from the expiry.
        """
        sent_at = self._clock.monotonic()
        try:
            server_time = await self._sessions.beat(session, ttl_seconds=TTL_SECONDS, statistics=self._vital_signs())
        except EnvironmentFault as fault:
            self._edge.failed(fault)
            return True
        self._edge.recovered()
        if server_time is None:
            return False
        self._beats += 1
        self._clock.observe(sent_at, self._clock.monotonic(), server_time)
        return True

    async def _wait_for_next_beat(self, session: SessionRef) -> None:
        """Until the heartbeat is due, a command changed the configuration, or a unit found the session fenced."""
        with trio.move_on_after(self._heartbeat_seconds):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_cancel_when_fenced, self._current, session, nursery.cancel_scope)
                await self._nudged.wait()
                nursery.cancel_scope.cancel()

    def _vital_signs(self) -> dict[str, Any]:
        ingest = self._ingest.statistics()
        return {
            "oldest_waiting_seconds": ingest["oldest_waiting_seconds"],
            "pending": ingest["pending"],
            "units": ingest["units"],
            "failing": ingest["failing"],
            "lanes": ingest["mailbox"]["lanes"],
            "workspaces": len(self._owned),
            "parked": [c.name for c in self._supervisor.children() if c.state is ChildState.PARKED],
        }

    # --- configuration

    def registry_changed(self, workspace_id: str) -> None:
        """Look at this workspace's configuration now instead of at the next heartbeat. Never blocks."""
        self._nudges.add(workspace_id)
        self._nudged.set()

    async def _follow_configuration(self, session: SessionRef) -> None:
        self._nudged = trio.Event()
        nudges, self._nudges = self._nudges, set()
        try:
            versions = await self._sessions.load_config_versions()
            for workspace_id in [*versions, *(self._versions.keys() - versions.keys())]:
                if versions.get(workspace_id) != self._versions.get(workspace_id):
                    await self._load(session, workspace_id)
                elif workspace_id in nudges and workspace_id in self._owned:
                    self._owned[workspace_id].view.wake()
        except EnvironmentFault as fault:
            self._edge.failed(fault)

    async def _load(self, session: SessionRef, workspace_id: str) -> None:
        fleet = await self._sessions.load_fleet(workspace_id)
        if fleet is None or not fleet.workspace.active or not self._collecting:
            await self._disown(workspace_id)
        else:
            await self._own(session, fleet)
        if fleet is None:
            self._versions.pop(workspace_id, None)
        else:
            self._versions[workspace_id] = fleet.workspace.config_version

    async def _own(self, session: SessionRef, fleet: Fleet) -> None:
        workspace_id = fleet.workspace.workspace_id
        owned = self._owned.get(workspace_id)
        if owned is None:
            owned = self._owned[workspace_id] = self._make_owned(session, fleet)
            self._supervisor.start(f"workspace:{workspace_id}", owned.workspace.run, restart=Restart.PERMANENT)
        else:
            owned.view.replace(fleet)
        await self._match_streams(owned)

    def _make_owned(self, session: SessionRef, fleet: Fleet) -> _Owned:
        ownership = Ownership(
            f"workspace:{fleet.workspace.workspace_id}", session.shard_id, session.epoch, session.epoch
        )
        view = FleetView(fleet, ownership)
        actor = WorkspaceActor(view, session, self._connector, self._ingest, self._cycles, self._clock, self._random)
        return _Owned(view, actor)

    async def _match_streams(self, owned: _Owned) -> None:
        """Start the stream actors that are configured, stop those that are not or were configured differently."""
        wanted = {c.provider_id: c for c in owned.view.fleet.connections if c.transport == "stream" and c.active}
        for provider_id in list(owned.streams):
            if wanted.get(provider_id) != owned.streams[provider_id][0]:
                await self._stop_stream(owned, provider_id)
        for provider_id, connection in wanted.items():
            if provider_id not in owned.streams:
                self._start_stream(owned, connection)

    def _start_stream(self, owned: _Owned, connection: ProviderConnection) -> None:
        actor = StreamActor(
            connection.provider_id,
            owned.view,
            self._connector,
            self._ingest,
            self._clock,
            self._random,
            window_seconds=self._window_seconds,
        )
        owned.streams[connection.provider_id] = (connection, actor)
        self._supervisor.start(_stream_name(owned, connection.provider_id), actor.run, restart=Restart.PERMANENT)

    async def _stop_stream(self, owned: _Owned, provider_id: str) -> None:
        await self._supervisor.stop(_stream_name(owned, provider_id), budget_seconds=STOP_BUDGET_SECONDS)
        _, actor = owned.streams.pop(provider_id)
        _add_frames(self._ended_frames[owned.view.workspace_id], actor)

    async def _disown(self, workspace_id: str) -> None:
        owned = self._owned.get(workspace_id)
        if owned is None:
            return
        for provider_id in list(owned.streams):
            await self._stop_stream(owned, provider_id)
        await self._supervisor.stop(f"workspace:{workspace_id}", budget_seconds=STOP_BUDGET_SECONDS)
        self._owned.pop(workspace_id, None)

    # --- the way out

    async def stop_collecting(self) -> None:
        """Stop every workspace and stream; what they had buffered is in the mailbox afterwards. Start none again."""
        self._collecting = False
        async with trio.open_nursery() as nursery:
            for workspace_id in list(self._owned):
                nursery.start_soon(self._disown, workspace_id)

    async def end_session(self) -> None:
        """Say that this boot is over, so that nobody has to wait for the heartbeat to expire."""
        session = self._current.session
        if session is not None:
            await self._sessions.end_session(session)

    # --- what it knows of itself

    def frames(self) -> Mapping[str, int]:
        """Frame counts of all streams this process ever ran: received = merged + ignored + malformed + pending."""
        total: Counter[str] = Counter()
        for workspace_id in self._owned.keys() | self._ended_frames.keys():
            total.update(self.frames_of(workspace_id))
        return total

    def frames_of(self, workspace_id: str) -> Mapping[str, int]:
        """The same for one workspace."""
        total = Counter(self._ended_frames.get(workspace_id, {}))
        owned = self._owned.get(workspace_id)
        for _, actor in owned.streams.values() if owned else ():
            _add_frames(total, actor)
        return total

    def statistics(self) -> dict[str, Any]:
        session = self._current.session
        return {
            "shard_id": self._shard_id,
            "epoch": None if session is None else session.epoch,
            "beats": self._beats,
            "clock": self._clock.statistics(),
            "frames": dict(self.frames()),
            "actors": self._supervisor.statistics(),
            "workspaces": {
                workspace_id: {
                    **owned.workspace.statistics(),
                    "streams": {provider_id: actor.statistics() for provider_id, (_, actor) in owned.streams.items()},
                }
                for workspace_id, owned in self._owned.items()
            },
        }


def _stream_name(owned: _Owned, provider_id: str) -> str:
    return f"stream:{owned.view.workspace_id}/{provider_id}"


def _add_frames(total: Counter[str], actor: StreamActor) -> None:
    frames = actor.statistics()["frames"]
    for name in ("received", "merged", "ignored", "malformed", "pending"):
        total[name] += frames[name]


async def _cancel_when_fenced(current: CurrentSession, session: SessionRef, scope: trio.CancelScope) -> None:
    await current.wait_fenced(session)
    scope.cancel()
