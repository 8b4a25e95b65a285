"""The harness of the actors' tests: one shard's insides over the in-memory twin.

Workspace `harbour` polls `steady` (devices bus-1 and bus-2) and streams from `live` (ferry-1 and
ferry-2). External ids are `x-` and the device id. Virtual time begins at NOON, with trio's clock at
0. Everything is as service.py composes it, except for the database, the providers and the clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

import trio

from actors.connections import Connector
from actors.fleet import FleetView
from actors.ingest import IngestActor
from actors.session import CurrentSession
from actors.stream import StreamActor
from actors.tools import ActorTools
from actors.waits import ProviderWaits
from actors.workspace import WorkspaceActor
from domain.model import (
    CanonicalUpdate,
    Ownership,
    Policy,
    ProviderConnection,
    Reading,
    Receipt,
    SessionRef,
    Submission,
)
from domain.registry import DeviceDraft, Stored
from domain.resource import workspace_resource
from runtime.clock import SharedClock, SystemClock, VirtualClock
from runtime.reply import Reply
from storage.memory import MemoryStore
from tests.actors.instants import INTERVAL, NOON, at
from tests.actors.scripted import ScriptedProvider
from tests.legacy.scripted import ScriptedLegacy
from tests.recording import Recording

if TYPE_CHECKING:
    from collections.abc import Callable

    from domain.model import Value
    from ports.reads import CycleRow

HARBOUR = "harbour"
STEADY, LIVE = "steady", "live"
BUSES, FERRIES = ("bus-1", "bus-2"), ("ferry-1", "ferry-2")
TTL_SECONDS = 15.0


async def resolve_secret(reference: str) -> str:
    return f"the secret of {reference}"


def polled(
    provider_id: str = STEADY, workspace_id: str = HARBOUR, **rest: Any
) -> ProviderConnection:
    return ProviderConnection(
        workspace_id, provider_id, "scripted", "poll", "https://poll.example", None, **rest
    )


def streamed(
    provider_id: str = LIVE, workspace_id: str = HARBOUR, **rest: Any
) -> ProviderConnection:
    return ProviderConnection(
        workspace_id, provider_id, "scripted", "stream", "wss://live.example", None, **rest
    )


def draft(device_id: str, provider_id: str) -> DeviceDraft:
    return DeviceDraft(
        device_id,
        provider_id,
        f"x-{device_id}",
        f"v-{device_id}",
        device_id.title(),
        activated_at=at(-7200),
    )


@dataclass
class Shard:
    """The parts of one process: its session, its ingest actor, its way to the providers.

    Made by `Harness.boot`.
    """

    harness: Harness
    session: SessionRef
    current: CurrentSession
    ingest: IngestActor
    provider: ScriptedProvider
    connector: Connector
    clock: SharedClock
    random: Random
    waits: ProviderWaits = field(default_factory=ProviderWaits)
    legacy: ScriptedLegacy = field(default_factory=ScriptedLegacy)
    recording: Recording = field(default_factory=Recording)

    async def view(self, workspace_id: str = HARBOUR) -> FleetView:
        """A workspace as this shard's actors see it; the token is the epoch."""
        fleet = await self.harness.store.load_fleet(workspace_id)
        assert fleet is not None
        session = self.session
        return FleetView(
            fleet,
            Ownership(
                workspace_resource(workspace_id), session.shard_id, session.epoch, session.epoch
            ),
        )

    async def reload(self, view: FleetView) -> None:
        """Tell the actors of a workspace what is configured now."""
        fleet = await self.harness.store.load_fleet(view.workspace_id)
        assert fleet is not None
        view.replace(fleet)

    def send(self, *updates: CanonicalUpdate, **rest: Any) -> Reply[Receipt | None]:
        """Submit the updates; return the reply that the receipt resolves."""
        sent, reply = submission(*updates, **rest)
        self.ingest.submit_nowait(sent)
        return reply

    @property
    def tools(self) -> ActorTools:
        parts = (self.connector, self.ingest, self.clock, self.random, self.legacy)
        return ActorTools(*parts, waits=self.waits, measures=self.recording.measures)

    def stream(self, view: FleetView, provider_id: str = LIVE, **rest: Any) -> StreamActor:
        return StreamActor(provider_id, view, self.tools, **rest)

    def workspace(self, view: FleetView) -> WorkspaceActor:
        return WorkspaceActor(view, self.session, self.harness.store, self.tools)

    def check_identity(self) -> None:
        """submitted = outcomes + pending, at any moment between two steps of any task."""
        counted = self.ingest.statistics()
        assert counted.submitted == sum(counted.outcomes.values()) + counted.pending


@dataclass
class Harness:
    """The database, and whoever works on it."""

    store: MemoryStore
    shards: list[Shard] = field(default_factory=list)

    async def boot(self, shard_id: str = "shard-1", *, seed: int = 7) -> Shard:
        """A process that has just begun its session, with nothing running yet."""
        random, current = Random(seed), CurrentSession()
        start = await self.store.begin_session(shard_id, ttl_seconds=TTL_SECONDS)
        assert start is not None
        current.replace(start.session)
        clock = SharedClock(SystemClock())
        clock.observe(trio.current_time(), trio.current_time(), start.server_time)
        provider = ScriptedProvider()
        connector = Connector({"scripted": provider}, resolve_secret)
        recording = Recording()
        ingest = IngestActor(self.store, current, random=random, measures=recording.measures)
        parts = (start.session, current, ingest, provider, connector, clock, random)
        shard = Shard(self, *parts, recording=recording)
        self.shards.append(shard)
        return shard

    async def add_workspace(
        self,
        workspace_id: str,
        *,
        interval: int = INTERVAL,
        active: bool = True,
        offset: int | None = None,
    ) -> None:
        stored = await self.store.put_workspace(
            workspace_id,
            name=workspace_id.title(),
            active=active,
            poll_interval_seconds=interval,
            policy=Policy(),
            start_offset_seconds=offset,
        )
        assert isinstance(stored, Stored), stored

    async def add_connection(self, connection: ProviderConnection, *device_ids: str) -> None:
        assert isinstance(await self.store.put_provider(connection), Stored)
        drafts = [draft(device_id, connection.provider_id) for device_id in device_ids]
        stored = await self.store.put_devices(connection.workspace_id, drafts)
        assert isinstance(stored, list)
        assert all(isinstance(answer, Stored) for answer in stored), stored

    async def values(self, device_id: str, workspace_id: str = HARBOUR) -> dict[str, Value]:
        """The snapshot's."""
        found = await self.store.get_snapshot(workspace_id, device_id)
        assert found is not None
        return {signal: held.value for signal, held in found[1].document.items()}

    async def sequences(self, device_id: str, workspace_id: str = HARBOUR) -> list[int]:
        """Sequences of the events, oldest first."""
        events = await self.store.list_events(workspace_id, device_id, before=None, limit=10_000)
        return [event.sequence for event in reversed(events)]

    async def cycles(self, workspace_id: str = HARBOUR) -> list[CycleRow]:
        """Oldest first."""
        return list(reversed(await self.store.list_cycles(workspace_id, before=None, limit=10_000)))

    def edges(self) -> list[tuple[str, str, str | None]]:
        """provider_id, kind and fault of every row of connection_events, in order."""
        rows = sorted(self.store.tables.connection_events.items(), key=lambda item: item[0][1])
        return [(row.provider_id, row.kind, row.fault) for _, row in rows]

    def quarantined(self) -> list[str | None]:
        """Device ids, in order."""
        rows = sorted(self.store.tables.quarantine.items(), key=lambda item: item[0][1])
        return [row.device_id for _, row in rows]


async def build_harness() -> Harness:
    """Return a harness with the harbour in it. Needs a MockClock that begins at 0."""
    assert trio.current_time() < 1.0, "the test must ask for autojump_clock"
    harness = Harness(MemoryStore(VirtualClock(NOON)))
    await harness.add_workspace(HARBOUR)
    await harness.add_connection(polled(), *BUSES)
    await harness.add_connection(streamed(), *FERRIES)
    return harness


def update(device_id: str, seconds: float, /, **values: Value) -> CanonicalUpdate:
    """Observed and received so many seconds after noon."""
    provider_id = LIVE if device_id in FERRIES else STEADY
    readings = tuple(Reading(signal, value, at(seconds)) for signal, value in values.items())
    return CanonicalUpdate(
        HARBOUR, provider_id, device_id, None, None, readings, at(seconds), "trace-1"
    )


def submission(*updates: CanonicalUpdate, **rest: Any) -> tuple[Submission, Reply[Receipt | None]]:
    reply: Reply[Receipt | None] = Reply()
    plain: dict[str, Any] = {"origin": "stream", "trace_id": "trace-1", "resolve": reply.resolve}
    return Submission(updates=updates, **{**plain, **rest}), reply


def owned_by(session: SessionRef, workspace_id: str = HARBOUR) -> Ownership:
    return Ownership(workspace_resource(workspace_id), session.shard_id, session.epoch, 1)


def said(receipt: Receipt | None) -> list[str]:
    """Return the result of each update, as `outcome` or `outcome:reason`."""
    assert receipt is not None, "there is no verdict"
    return [f"{r.outcome}:{r.reason}" if r.reason else str(r.outcome) for r in receipt.results]


async def until(condition: Callable[[], bool], *, seconds: float = 7200) -> None:
    """Wait in virtual time until something is so; fails after as much of it."""
    with trio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110 - any condition, and the time is virtual
            await trio.sleep(0.05)
