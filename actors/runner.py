"""The runner of the workspaces that this shard owns: starts, reconfigures, pauses and stops actors.

Owns which actors run here; shard.py decides which should. It must never report a workspace as
flushed while one of its submissions has no verdict, and never run a workspace twice.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from contextlib import asynccontextmanager
from functools import partial
from heapq import nlargest
from typing import TYPE_CHECKING

import trio

from actors.cutover_steps import make_cutover_actor
from actors.fleet import FleetView
from actors.statistics import OwnedTotals, RunnerStatistics
from actors.stream import StreamActor
from actors.workspace import WorkspaceActor
from actors.workspace_actors import FRAME_COUNTS, WorkspaceActors, count_frames
from domain.model import Ownership
from domain.resource import workspace_resource
from runtime.supervisor import ChildState, Restart, Supervisor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from actors.cutover import CutoverActor
    from actors.tools import ActorTools
    from domain.model import SessionRef
    from ports.cutovers import CutoverStores
    from ports.cycles import CycleStore
    from ports.sessions import Fleet

STOP_BUDGET_SECONDS = 5.0
FLUSH_BUDGET_SECONDS = 6.0
MOMENT_SECONDS = 1.0  # a shorter wait of a stream is not worth telling
MAX_WAITING_TOLD = 100


class WorkspaceRunner:
    """The workspaces of one shard. Between `pause` and `resume` none of their actors runs."""

    def __init__(
        self,
        cycles: CycleStore,
        tools: ActorTools,
        *,
        window_seconds: float,
        cutovers: CutoverStores | None = None,
    ) -> None:
        """Without `cutovers`, nothing follows the cutovers of workspaces."""
        self._cycles = cycles
        self._tools = tools
        self._cutovers = cutovers
        self._window_seconds = window_seconds
        self._supervisor = Supervisor("owned", random=tools.random)
        self._actors: dict[str, WorkspaceActors] = {}
        self._paused = False
        # Frame counts of streams that run no more, by workspace, so that the frame identity still
        # adds up.
        self._ended_frames: defaultdict[str, Counter[str]] = defaultdict(Counter)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Run the actors under a supervisor for the length of the block.

        The block is one session's: it begins with no workspace.
        """
        self._actors.clear()
        self._paused = False
        try:
            async with self._supervisor.open():
                yield
        finally:
            for actors in self._actors.values():
                self._keep_frames(actors)
            self._actors.clear()

    # --- which

    def __contains__(self, workspace_id: str) -> bool:
        return workspace_id in self._actors

    def workspace_ids(self) -> frozenset[str]:
        return frozenset(self._actors)

    def token_of(self, workspace_id: str) -> int:
        """Return the token under which this workspace is owned. Raises KeyError if it is not."""
        return self._actors[workspace_id].view.ownership.token

    def config_version(self, workspace_id: str) -> int:
        return self._actors[workspace_id].view.workspace.config_version

    # --- starting and following

    async def start(self, session: SessionRef, token: int, fleet: Fleet) -> None:
        """Start the actors of a workspace whose lease was just acquired."""
        workspace_id = fleet.workspace.workspace_id
        view = FleetView(
            fleet,
            Ownership(workspace_resource(workspace_id), session.shard_id, session.epoch, token),
        )
        workspace = WorkspaceActor(view, session, self._cycles, self._tools)
        make_cutover = None
        if self._cutovers is not None:
            make_cutover = partial(make_cutover_actor, view, session, self._tools, self._cutovers)
        actors = self._actors[workspace_id] = WorkspaceActors(view, workspace, make_cutover)
        if not self._paused:
            self._start_workspace(actors)
        self._match_cutover(actors)
        async with actors.changing:
            await self._match_streams(actors)

    async def follow(self, fleet: Fleet) -> None:
        """Give the actors of an owned workspace its newer configuration.

        Does nothing if the workspace was stopped before the lock was free. Raises
        KeyError if it is not owned.
        """
        actors = self._actors[fleet.workspace.workspace_id]
        async with actors.changing:
            if self._actors.get(fleet.workspace.workspace_id) is actors:
                actors.view.replace(fleet)
                self._match_cutover(actors)
                await self._match_streams(actors)

    def _match_cutover(self, actors: WorkspaceActors) -> None:
        """Start the cutover actor once the workspace has had a cutover.

        Most workspaces never have one. For them the task would cost memory and a read after each
        cycle, and do nothing.
        """
        if actors.cutover or not actors.make_cutover or not actors.has_had_cutover:
            return
        actors.view.ends.forget()  # it begins with the next cycle
        actors.cutover = actors.make_cutover()
        if not self._paused:
            self._start_cutover(actors, actors.cutover)

    async def _match_streams(self, actors: WorkspaceActors) -> None:
        """Start the streams that are configured; stop those that no longer are.

        A stream that is configured differently is stopped and made anew.
        """
        wanted = {
            c.provider_id: c
            for c in actors.view.connections
            if c.transport == "stream" and c.active
        }
        for provider_id in list(actors.streams):
            if wanted.get(provider_id) != actors.streams[provider_id][0]:
                await self._end_stream(actors, provider_id)
        if self._actors.get(actors.view.workspace_id) is not actors:
            return  # stopped meanwhile; the task that stops it waits for `changing`
        for provider_id, connection in wanted.items():
            if provider_id not in actors.streams:
                actors.streams[provider_id] = (connection, self._make_stream(actors, provider_id))
                if not self._paused:
                    self._start_stream(actors, provider_id)

    def _make_stream(self, actors: WorkspaceActors, provider_id: str) -> StreamActor:
        return StreamActor(
            provider_id,
            actors.view,
            self._tools,
            window_seconds=self._window_seconds,
        )

    def _start_actors(self, actors: WorkspaceActors) -> None:
        self._start_workspace(actors)
        for provider_id in actors.streams:
            self._start_stream(actors, provider_id)

    def _start_workspace(self, actors: WorkspaceActors) -> None:
        self._supervisor.start(
            actors.workspace_child, actors.workspace.run, restart=Restart.PERMANENT
        )
        if actors.cutover is not None:
            self._start_cutover(actors, actors.cutover)

    def _start_cutover(self, actors: WorkspaceActors, cutover: CutoverActor) -> None:
        self._supervisor.start(actors.cutover_child, cutover.run, restart=Restart.PERMANENT)

    def _start_stream(self, actors: WorkspaceActors, provider_id: str) -> None:
        _, actor = actors.streams[provider_id]
        self._supervisor.start(
            actors.stream_child(provider_id), actor.run, restart=Restart.PERMANENT
        )

    # --- stopping

    async def pause(self) -> None:
        """Stop all actors at once and together, but keep what they hold.

        Sockets close and no cycle starts.
        """
        self._paused = True
        async with trio.open_nursery() as nursery:
            for child in self._supervisor.children():
                nursery.start_soon(self._stop_child, child.name)

    def resume(self) -> None:
        """Start the actors again after `pause`.

        Each stream reconnects with its own jitter, and seeds.
        """
        self._paused = False
        for actors in self._actors.values():
            self._start_actors(actors)

    async def stop_and_flush(self, workspace_id: str) -> bool:
        """Stop a workspace's actors and wait for the verdicts of all they submitted.

        This is a hand-over without the release of the lease. Returns False if it takes too long.
        After True nothing of the workspace is left here, and its lease may be released. After
        False, or a cancellation, the lease must be kept: the workspace is still here, with
        everything that its actors hold.

        A workspace that is not here may still have submissions without a verdict, from before its
        actors were forgotten in a crash. Those verdicts are waited for, too.
        """
        actors = self._actors.pop(workspace_id, None)
        is_flushed = False
        try:
            if actors is not None:
                async with actors.changing:
                    await self._stop_actors(actors)
            with trio.move_on_after(FLUSH_BUDGET_SECONDS):
                for _, stream in actors.streams.values() if actors else ():
                    await stream.wait_flushed()
                await self._tools.ingest.wait_until_judged(workspace_resource(workspace_id))
                is_flushed = True
        finally:
            if actors is not None and is_flushed:
                self._keep_frames(actors)
            elif actors is not None:
                self._actors[workspace_id] = actors
        if actors is not None and not is_flushed and not self._paused:
            self._start_actors(actors)
        return is_flushed

    async def stop(self, workspace_id: str) -> None:
        """Stop a workspace's actors without a flush, because its lease is no longer ours.

        Their submissions are still committed while our session lives. Leases edited by hand are
        outside the protocol.
        """
        actors = self._actors.pop(workspace_id, None)
        if actors is not None:
            async with actors.changing:
                await self._stop_actors(actors)
            self._keep_frames(actors)

    async def _stop_actors(self, actors: WorkspaceActors) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._stop_child, actors.workspace_child)
            if actors.cutover is not None:
                nursery.start_soon(self._stop_child, actors.cutover_child)
            for provider_id in actors.streams:
                nursery.start_soon(self._stop_child, actors.stream_child(provider_id))

    async def _end_stream(self, actors: WorkspaceActors, provider_id: str) -> None:
        """Stop a stream and submit what it has merged.

        Its successor has a buffer of its own. The stream is forgotten first, so that a `resume` in
        the meantime does not start it again.
        """
        _, actor = actors.streams.pop(provider_id)
        try:
            await self._stop_child(actors.stream_child(provider_id))
            with trio.move_on_after(FLUSH_BUDGET_SECONDS):
                await actor.wait_flushed()
        finally:
            self._ended_frames[actors.view.workspace_id].update(count_frames(actor))

    async def _stop_child(self, child: str) -> None:
        """Wait until this actor has ended, however long that takes.

        An actor that still runs may still submit. So its lease must not be released, and it must
        not be started again. The budget is repeated because a pause of the whole process uses it
        up, too.
        """
        while not await self._supervisor.stop(child, budget_seconds=STOP_BUDGET_SECONDS):
            pass

    def _keep_frames(self, actors: WorkspaceActors) -> None:
        for _, actor in actors.streams.values():
            self._ended_frames[actors.view.workspace_id].update(count_frames(actor))

    # --- what it knows of itself

    def parked(self) -> list[str]:
        """Return the names of actors that crashed too often and wait for their slow retry."""
        return [
            child.name for child in self._supervisor.children() if child.state is ChildState.PARKED
        ]

    def restarts(self) -> int:
        """Return how often the actors that run here now were started again after a crash."""
        return sum(child.restarts for child in self._supervisor.children())

    def stream_waiting_seconds(self) -> dict[str, dict[str, float]]:
        """Return for how long data has waited in streams, by workspace and connection.

        Only those that are longer than a moment, and of them the hundred longest.
        """
        found = [
            (seconds, workspace_id, provider_id)
            for workspace_id, actors in self._actors.items()
            for provider_id, (_, actor) in actors.streams.items()
            if (seconds := actor.waiting_seconds()) > MOMENT_SECONDS
        ]
        waiting: dict[str, dict[str, float]] = {}
        for seconds, workspace_id, provider_id in nlargest(MAX_WAITING_TOLD, found):
            waiting.setdefault(workspace_id, {})[provider_id] = seconds
        return waiting

    def frames(self) -> Counter[str]:
        """Return the frame counts of all streams that this process ever ran.

        received = merged + ignored + malformed + pending.
        """
        counted = [*self._ended_frames.values(), *map(count_frames, self._streams())]
        return Counter({name: sum(one[name] for one in counted) for name in FRAME_COUNTS})

    def _streams(self) -> list[StreamActor]:
        return [actor for actors in self._actors.values() for _, actor in actors.streams.values()]

    def frames_of(self, workspace_id: str) -> Counter[str]:
        """Return the frame counts of all streams that this workspace ever had here."""
        total = Counter(self._ended_frames.get(workspace_id, {}))
        actors = self._actors.get(workspace_id)
        for _, actor in actors.streams.values() if actors else ():
            total.update(count_frames(actor))
        return total

    def totals(self) -> OwnedTotals:
        """Return the numbers of what runs. Cheap, however much that is."""
        streams = [actor.open_since is not None for actor in self._streams()]
        return OwnedTotals(
            workspaces=tuple(self._actors),
            streams_open=streams.count(True),
            streams_closed=streams.count(False),
            actors=self._supervisor.totals(),
        )

    def statistics(self) -> RunnerStatistics:
        return RunnerStatistics(
            paused=self._paused,
            actors=self._supervisor.statistics(),
            workspaces={
                workspace_id: actors.statistics() for workspace_id, actors in self._actors.items()
            },
        )
