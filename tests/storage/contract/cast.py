"""The fixed cast of the contract suite, and short ways to say what it does.

Workspace `harbour` has three provider connections: `steady`, which behaves; `slow`, which promises
one record an hour; `liar`, whose facts and identities are not to be trusted. Its devices are bus-1
and bus-2 (steady), ferry-1 (slow) and tram-1 (liar). Workspace `island` has a `steady` of its own
with another bus-1. External ids are `x-` and the device id. All were activated two hours before
`now`, the database's time when the cast was made; nothing has reported yet.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from domain.cycles import CycleEnd, CycleKey, CycleOutcome, CycleTrigger
from domain.model import (
    CanonicalUpdate,
    Policy,
    ProviderConnection,
    Reading,
    Receipt,
    SessionRef,
    Submission,
)
from domain.registry import DeviceDraft, Stored
from domain.resource import workspace_resource
from domain.schedule import cycle_id
from ports.cycles import WantedCycle
from ports.reads import HealthQuery
from storage.unit.rows import LockedDevice

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from domain.model import Workspace
    from ports.cycles import CycleStart
    from ports.reads import CycleRow, HealthPage, SnapshotRow
    from ports.sessions import SessionStart
    from tests.conftest import Stores
    from tests.storage.contract.stores import ContractStores

HARBOUR, ISLAND = "harbour", "island"
HARBOUR_LEASE, ISLAND_LEASE = workspace_resource(HARBOUR), workspace_resource(ISLAND)
DEVICES = {"bus-1": "steady", "bus-2": "steady", "ferry-1": "slow", "tram-1": "liar"}
SLOT = datetime(2026, 5, 1, 9, tzinfo=UTC)


class TickingClock:
    """A clock that advances by a millisecond each time it is read."""

    def __init__(self) -> None:
        self.now = datetime(2026, 5, 1, 12, tzinfo=UTC)

    def wall(self) -> datetime:
        self.now += timedelta(milliseconds=1)
        return self.now


class SessionRow(NamedTuple):
    """What is stored of a shard's newest session and its heartbeat."""

    state: str
    ended_at: datetime | None
    beat_at: datetime
    expires_at: datetime
    draining: bool


class Inside(Protocol):
    """State that no protocol shows, read from the tables themselves."""

    async def edges(self) -> list[tuple[Any, ...]]:
        """Return provider_id, kind and fault of every row of connection_events, in order."""

    async def device_edges(self) -> list[tuple[Any, ...]]:
        """Return device_id, kind, detail and instant of every row of device_events, in order."""

    async def quarantined(self) -> list[tuple[Any, ...]]:
        """Return device_id, reason and sample of every row of quarantine, in order."""

    async def session_row(self, shard_id: str) -> SessionRow: ...

    async def ask(self, statement: str, *args: Any) -> list[tuple[Any, ...]]:
        """Return the rows of this statement of the unit."""

    async def let_pass(self, seconds: float) -> None:
        """Let database time pass: heartbeats expire, and what is stored gets older."""

    def holding(
        self, table: str, workspace_id: str, name: str
    ) -> AbstractAsyncContextManager[None]:
        """Lock this row in another transaction during the block.

        `name` is the rest of its key.
        """

    async def set_clock_back(self, seconds: float) -> None:
        """Set the database's clock back, as a failover may: stored events are in the future."""


@dataclass
class World:
    """Stores with the cast in them, and a live session of `shard-1`. `populate` makes it."""

    stores: ContractStores
    inside: Inside
    session: SessionRef
    now: datetime
    unit: int = 0

    # --- configuration

    async def put_workspace(self, workspace_id: str, **changes: Any) -> Any:
        plain = {
            "name": workspace_id.title(),
            "active": True,
            "poll_interval_seconds": 300,
            "policy": Policy(),
        }
        return await self.stores.registry.put_workspace(workspace_id, **{**plain, **changes})

    def draft(self, device_id: str, **changes: Any) -> DeviceDraft:
        plain = DeviceDraft(
            device_id, "steady", f"x-{device_id}", f"v-{device_id}", device_id.title()
        )
        return plain._replace(**{"activated_at": self.ago(hours=2), **changes})

    async def config_version(self, workspace_id: str = HARBOUR) -> int:
        return (await self.stores.sessions.load_config_versions())[workspace_id]

    async def begin(self, shard_id: str, ttl_seconds: float = 15) -> SessionRef:
        return (await begin(self.stores, shard_id, ttl_seconds)).session

    # --- time

    def ago(self, **parts: float) -> datetime:
        return self.now - timedelta(**parts)

    # --- submissions

    def update(self, device_id: str, at: datetime, /, **values: Any) -> CanonicalUpdate:
        """Make an update received and observed at that instant. `fields` replaces single fields."""
        claims = {name: values.pop(name) for name in CanonicalUpdate._fields if name in values}
        readings = tuple(Reading(signal, value, at) for signal, value in values.items())
        provider_id = DEVICES.get(device_id, "steady")
        return CanonicalUpdate(
            HARBOUR, provider_id, device_id, None, None, readings, at, "trace-1"
        )._replace(**claims)

    async def commit(
        self, *submissions: Submission, session: SessionRef | None = None
    ) -> list[Receipt]:
        """Commit submissions as the next unit."""
        self.unit += 1
        return list(
            await self.stores.ingest.commit_unit(session or self.session, self.unit, submissions)
        )

    async def send(self, *updates: CanonicalUpdate) -> list[str]:
        """Commit updates as one unit. Returns each result as `outcome` or `outcome:reason`."""
        (receipt,) = await self.commit(submission(*updates))
        return [said(result) for result in receipt.results]

    # --- cycles

    async def start(self, key: CycleKey, session: SessionRef | None = None) -> CycleStart:
        return await self.stores.cycles.start_cycle(
            session or self.session, WantedCycle(key, cycle_id(key), "trace-c")
        )

    async def end(
        self, start: CycleStart, outcome: CycleOutcome = CycleOutcome.COMPLETED, **summary: Any
    ) -> datetime:
        """End a cycle by a unit of its own. Returns when."""
        ended_at = start.key.slot_start_at + timedelta(seconds=10)
        await self.commit(
            submission(cycle=CycleEnd(start.key, start.cycle_id, ended_at, outcome, summary))
        )
        return ended_at

    async def outcomes(self) -> list[str]:
        """Return the outcomes of the harbour's cycles, newest slot first."""
        cycles = await self.stores.reads.list_cycles(HARBOUR, before=None, limit=100)
        return [str(cycle.outcome) for cycle in cycles]

    # --- reads

    async def snapshot(self, device_id: str, workspace_id: str = HARBOUR) -> SnapshotRow:
        found = await self.stores.reads.get_snapshot(workspace_id, device_id)
        assert found is not None
        return found[1]

    async def values(self, device_id: str) -> dict[str, Any]:
        return {
            signal: held.value for signal, held in (await self.snapshot(device_id)).document.items()
        }

    async def sequences(self, device_id: str) -> list[int]:
        """Return the sequences of a device's events, newest first."""
        events = await self.stores.reads.list_events(HARBOUR, device_id, before=None, limit=1000)
        return [event.sequence for event in events]

    async def workspace(self, workspace_id: str) -> Workspace:
        fleet = await self.stores.sessions.load_fleet(workspace_id)
        assert fleet is not None
        return fleet.workspace

    async def cycle(self, cycle_id: str) -> CycleRow:
        """Return the harbour's cycle of this id."""
        cycles = await self.stores.reads.list_cycles(HARBOUR, before=None, limit=100)
        (found,) = [cycle for cycle in cycles if cycle.cycle_id == cycle_id]
        return found

    async def device_row(self, device_id: str) -> LockedDevice:
        """Return what is stored of a device of the harbour."""
        (row,) = await self.inside.ask("lock_devices", [HARBOUR], [device_id], [True])
        return LockedDevice._make(row)


@dataclass
class PostgresWorld(World):
    """The same on PostgreSQL, with all of the registry and the reads."""

    stores: Stores

    async def health(self, *workspaces: str, **query: Any) -> HealthPage:
        """Return the health facts of those workspaces, or of all, at `now`."""
        pinned = {"now": self.now, **query}
        return await self.stores.reads.load_health(
            frozenset(workspaces) or None, HealthQuery(**pinned)
        )


async def populate(stores: ContractStores, inside: Inside) -> World:
    """Partitions, a session, and the cast."""
    world = World(stores, inside, *(await begin(stores, "shard-1")))
    await store_cast(world)
    return world


async def populate_postgres(stores: Stores, inside: Inside) -> PostgresWorld:
    """The same on PostgreSQL."""
    world = PostgresWorld(stores, inside, *(await begin(stores, "shard-1")))
    await store_cast(world)
    return world


async def store_cast(world: World) -> None:
    stores = world.stores
    await stores.upkeep.ensure_partitions(days_ahead=1)
    for workspace_id in (HARBOUR, ISLAND):
        await world.put_workspace(workspace_id)
        await stores.registry.put_provider(connection("steady", workspace_id))
    await stores.registry.put_provider(connection("slow", expected_update_seconds=3600.0))
    await stores.registry.put_provider(connection("liar"))
    fleet = [
        world.draft(device_id, provider_id=provider_id)
        for device_id, provider_id in DEVICES.items()
    ]
    assert await stores.registry.put_devices(HARBOUR, fleet) == [Stored(created=True)] * 4
    assert await stores.registry.put_devices(ISLAND, [world.draft("bus-1")]) == [
        Stored(created=True)
    ]


async def begin(stores: ContractStores, shard_id: str, ttl_seconds: float = 15) -> SessionStart:
    start = await stores.sessions.begin_session(shard_id, ttl_seconds=ttl_seconds)
    assert start is not None
    return start


def connection(provider_id: str, workspace_id: str = HARBOUR, **rest: Any) -> ProviderConnection:
    return ProviderConnection(
        workspace_id, provider_id, "simulated", "stream", "http://127.0.0.1:1", None, **rest
    )


def submission(*updates: CanonicalUpdate, **rest: Any) -> Submission:
    return Submission("stream", "trace-1", updates=updates, **rest)


def said(result: Any) -> str:
    return f"{result.outcome}:{result.reason}" if result.reason else str(result.outcome)


def slot(
    number: int = 0, trigger: CycleTrigger = CycleTrigger.SCHEDULE, attempt: int = 1
) -> CycleKey:
    """Return the harbour's slot of this number; slots are five minutes apart."""
    return CycleKey(HARBOUR, SLOT + timedelta(minutes=5 * number), trigger, attempt)
