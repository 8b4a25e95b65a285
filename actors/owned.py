"""Actors of the workspaces that this shard owns: starts, reconfigures, pauses and hands them over.

Owns who runs here, not who should: shard.py decides that. It must never let go of a workspace whose
submissions have no verdict yet, and never run one twice.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio

from actors.fleet import FleetView
from actors.stream import StreamActor
from actors.workspace import WorkspaceActor
from domain.model import Ownership
from runtime.supervisor import ChildState, Restart, Supervisor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from random import Random

    from actors.connections import Connector
    from actors.ingest import IngestActor
    from domain.model import ProviderConnection, SessionRef
    from ports.cycles import CycleStore
    from ports.ownership import Fleet
    from runtime.clock import SharedClock

STOP_BUDGET_SECONDS = 5.0
FLUSH_BUDGET_SECONDS = 6.0
FRAME_COUNTS = ("received", "merged", "ignored", "malformed", "pending")


class _Owned:
    """One workspace with its actors, which keep counters and buffers while they are paused.

    `changing` is held while the workspace's actors are started or stopped for good. Otherwise a
    stream made for a newer configuration during a hand-over would run on without an owner.
    """

    def __init__(self, view: FleetView, workspace: WorkspaceActor) -> None:
        self.view = view
        self.changing = trio.Lock()
        self.workspace = workspace
        self.streams: dict[str, tuple[ProviderConnection, StreamActor]] = {}


class OwnedActors:
    """The workspaces of one shard. Between `pause` and `resume` none of their actors runs."""

    def __init__(
        self,
        cycles: CycleStore,
        connector: Connector,
        ingest: IngestActor,
        clock: SharedClock,
        random: Random,
        *,
        window_seconds: float,
    ) -> None:
        self._cycles = cycles
        self._connector = connector
        self._ingest = ingest
        self._clock = clock
        self._random = random
        self._window_seconds = window_seconds
        self._supervisor = Supervisor("owned", random=random)
        self._owned: dict[str, _Owned] = {}
        self._paused = False
        # Frame counts of streams that run no more, by workspace, so that the frame identity still
        # adds up.
        self._ended_frames: defaultdict[str, Counter[str]] = defaultdict(Counter)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Run the actors under a supervisor for the length of the block.

        The block is one session's: it begins with nothing owned.
        """
        self._owned.clear()
        self._paused = False
        try:
            async with self._supervisor.open():
                yield
        finally:
            for owned in self._owned.values():
                self._keep_frames(owned)
            self._owned.clear()

    # --- which

    def __contains__(self, workspace_id: str) -> bool:
        return workspace_id in self._owned

    def workspace_ids(self) -> frozenset[str]:
        return frozenset(self._owned)

    def token_of(self, workspace_id: str) -> int:
        """Return the token under which this workspace is owned. Raises KeyError if it is not."""
        return self._owned[workspace_id].view.ownership.token

    def config_version(self, workspace_id: str) -> int:
        return self._owned[workspace_id].view.workspace.config_version

    # --- starting and following

    async def own(self, session: SessionRef, token: int, fleet: Fleet) -> None:
        """Start the actors of a workspace whose lease was just acquired."""
        workspace_id = fleet.workspace.workspace_id
        view = FleetView(
            fleet, Ownership(resource_of(workspace_id), session.shard_id, session.epoch, token)
        )
        workspace = WorkspaceActor(
            view, session, self._connector, self._ingest, self._cycles, self._clock, self._random
        )
        owned = self._owned[workspace_id] = _Owned(view, workspace)
        if not self._paused:
            self._start_workspace(owned)
        async with owned.changing:
            await self._match_streams(owned)

    async def follow(self, fleet: Fleet) -> None:
        """Give the actors of an owned workspace its newer configuration.

        Does nothing if the workspace has been given up by the time the lock is free. Raises
        KeyError if it is not owned.
        """
        owned = self._owned[fleet.workspace.workspace_id]
        async with owned.changing:
            if self._owned.get(fleet.workspace.workspace_id) is owned:
                owned.view.replace(fleet)
                await self._match_streams(owned)

    async def _match_streams(self, owned: _Owned) -> None:
        """Start the streams that are configured; stop those that no longer are.

        A stream that is configured differently is stopped and made anew.
        """
        wanted = {
            c.provider_id: c
            for c in owned.view.fleet.connections
            if c.transport == "stream" and c.active
        }
        for provider_id in list(owned.streams):
            if wanted.get(provider_id) != owned.streams[provider_id][0]:
                await self._end_stream(owned, provider_id)
        if self._owned.get(owned.view.workspace_id) is not owned:
            return  # given up meanwhile; the task that does so waits for `changing`
        for provider_id, connection in wanted.items():
            if provider_id not in owned.streams:
                owned.streams[provider_id] = (connection, self._make_stream(owned, provider_id))
                if not self._paused:
                    self._start_stream(owned, provider_id)

    def _make_stream(self, owned: _Owned, provider_id: str) -> StreamActor:
        return StreamActor(
            provider_id,
            owned.view,
            self._connector,
            self._ingest,
            self._clock,
            self._random,
            window_seconds=self._window_seconds,
        )

    def _start_actors(self, owned: _Owned) -> None:
        self._start_workspace(owned)
        for provider_id in owned.streams:
            self._start_stream(owned, provider_id)

    def _start_workspace(self, owned: _Owned) -> None:
        self._supervisor.start(
            _workspace_child(owned), owned.workspace.run, restart=Restart.PERMANENT
        )

    def _start_stream(self, owned: _Owned, provider_id: str) -> None:
        _, actor = owned.streams[provider_id]
        self._supervisor.start(
            _stream_child(owned, provider_id), actor.run, restart=Restart.PERMANENT
        )

    # --- stopping

    async def pause(self) -> None:
        """Stop all actors at once and together, but keep what they hold.

        Sockets close and no cycle starts.
        """
        self._paused = True
        async with trio.open_nursery() as nursery:
            for child in self._supervisor.children():
                nursery.start_soon(self._stop, child.name)

    def resume(self) -> None:
        """Start the actors again after `pause`.

        Each stream reconnects with its own jitter, and seeds.
        """
        self._paused = False
        for owned in self._owned.values():
            self._start_actors(owned)

    async def let_go(self, workspace_id: str) -> bool:
        """Stop a workspace's actors and wait for the verdicts of all they submitted.

        Returns False if that takes too long. After True nothing of the workspace is left here and
        its lease may be released. After False, or a cancellation, the lease must be kept: the
        workspace is still here, with everything that its actors hold.

        A workspace that is not here may still have submissions without a verdict, from before its
        actors were forgotten in a crash. Those verdicts are waited for, too.
        """
        owned = self._owned.pop(workspace_id, None)
        is_judged = False
        try:
            if owned is not None:
                async with owned.changing:
                    await self._stop_actors(owned)
            with trio.move_on_after(FLUSH_BUDGET_SECONDS):
                for _, stream in owned.streams.values() if owned else ():
                    await stream.wait_flushed()
                await self._ingest.wait_until_judged(resource_of(workspace_id))
                is_judged = True
        finally:
            if owned is not None and is_judged:
                self._keep_frames(owned)
            elif owned is not None:
                self._owned[workspace_id] = owned
        if owned is not None and not is_judged and not self._paused:
            self._start_actors(owned)
        return is_judged

    async def drop(self, workspace_id: str) -> None:
        """Stop a workspace's actors because it is no longer ours.

        Their submissions are still committed while our session lives. Leases edited by hand are
        outside the protocol.
        """
        owned = self._owned.pop(workspace_id, None)
        if owned is not None:
            async with owned.changing:
                await self._stop_actors(owned)
            self._keep_frames(owned)

    async def _stop_actors(self, owned: _Owned) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._stop, _workspace_child(owned))
            for provider_id in owned.streams:
                nursery.start_soon(self._stop, _stream_child(owned, provider_id))

    async def _end_stream(self, owned: _Owned, provider_id: str) -> None:
        """Stop a stream and submit what it has merged.

        Its successor has a buffer of its own. The stream is forgotten first, so that a `resume` in
        the meantime does not start it again.
        """
        _, actor = owned.streams.pop(provider_id)
        try:
            await self._stop(_stream_child(owned, provider_id))
            with trio.move_on_after(FLUSH_BUDGET_SECONDS):
                await actor.wait_flushed()
        finally:
            self._ended_frames[owned.view.workspace_id].update(_frames(actor))

    async def _stop(self, child: str) -> None:
        """Wait until this actor has ended, however long that takes.

        An actor that still runs may still submit. So its lease must not be released, and it must
        not be started again. The budget is repeated because a pause of the whole process uses it
        up, too.
        """
        while not await self._supervisor.stop(child, budget_seconds=STOP_BUDGET_SECONDS):
            pass

    def _keep_frames(self, owned: _Owned) -> None:
        for _, actor in owned.streams.values():
            self._ended_frames[owned.view.workspace_id].update(_frames(actor))

    # --- what it knows of itself

    def parked(self) -> list[str]:
        """Return the names of actors that crashed too often and wait for their slow retry."""
        return [
            child.name for child in self._supervisor.children() if child.state is ChildState.PARKED
        ]

    def restarts(self) -> int:
        """Return how often the actors that run here now were started again after a crash."""
        return sum(child.restarts for child in self._supervisor.children())

    def frames(self) -> Counter[str]:
        """Return the frame counts of all streams that this process ever ran.

        received = merged + ignored + malformed + pending.
        """
        total: Counter[str] = Counter()
        for workspace_id in self._owned.keys() | self._ended_frames.keys():
            total.update(self.frames_of(workspace_id))
        return total

    def frames_of(self, workspace_id: str) -> Counter[str]:
        """Return the frame counts of all streams that this workspace ever had here."""
        total = Counter(self._ended_frames.get(workspace_id, {}))
        owned = self._owned.get(workspace_id)
        for _, actor in owned.streams.values() if owned else ():
            total.update(_frames(actor))
        return total

    def statistics(self) -> dict[str, Any]:
        return {
            "paused": self._paused,
            "actors": self._supervisor.statistics(),
            "workspaces": {
                workspace_id: _describe(owned) for workspace_id, owned in self._owned.items()
            },
        }


def resource_of(workspace_id: str) -> str:
    """Return the name that events and receipts use for a workspace's lease."""
    return f"workspace:{workspace_id}"


def _describe(owned: _Owned) -> dict[str, Any]:
    return {
        **owned.workspace.statistics(),
        "token": owned.view.ownership.token,
        "streams": {
            provider_id: actor.statistics() for provider_id, (_, actor) in owned.streams.items()
        },
    }


def _workspace_child(owned: _Owned) -> str:
    return f"workspace:{owned.view.workspace_id}"


def _stream_child(owned: _Owned, provider_id: str) -> str:
    return f"stream:{owned.view.workspace_id}/{provider_id}"


def _frames(actor: StreamActor) -> Mapping[str, int]:
    frames = actor.statistics()["frames"]
    return {name: frames[name] for name in FRAME_COUNTS}
