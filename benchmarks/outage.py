"""B7: the database is away for a minute at half of the load that it can take, and comes back.

The way from mailbox to commit, with a proxy in front of the database. Two forms of load: streams
that coalesce for a second, and senders that hand over every update. What is measured is how long
after the return everything is stored that waited. Every update must be stored once, and the process
must not grow while it waits.
"""

from __future__ import annotations

from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from random import Random
from resource import getpagesize
from typing import TYPE_CHECKING, Any, Final, Protocol

import trio

from actors.ingest import IngestActor
from actors.session import CurrentSession
from benchmarks.figure import Figure
from benchmarks.names import PROVIDER
from benchmarks.place import fetch
from benchmarks.verification import NotVerified
from domain.coalesce import CoalescingBuffer
from domain.model import CanonicalUpdate, Policy, ProviderConnection, Reading, Submission
from domain.registry import DeviceDraft
from runtime import garbage
from storage.gateway import Database, open_bridge
from storage.ingest import PostgresIngestStore
from storage.migrations import migrate
from storage.pools import Pools
from storage.registry.store import PostgresRegistry
from storage.sessions import PostgresSessionStore
from storage.upkeep import PostgresUpkeepStore
from tests.processes.database_proxy import Condition, open_proxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime

    from benchmarks.place import Place

AWAY_SECONDS, QUICK_AWAY_SECONDS = 60.0, 10.0
BEFORE_SECONDS: Final = 3.0  # of load before the database leaves
# How long a backlog may last, by the time that the database was away. In the quick form the wait
# before the next attempt (5 s at most) counts for more, and is allowed on top.
COALESCED_SHARE, PLAIN_SHARE, QUICK_EXTRA_SECONDS = 0.5, 1.25, 5.0
GROWTH_MB: Final = 24.0
WINDOW_SECONDS: Final = 1.0
GONE_SECONDS: Final = 2 * WINDOW_SECONDS  # nothing waits for longer: the backlog is gone
LOOK_SECONDS: Final = 0.05
WORKSPACES: Final = 10
DEVICES: Final = 300  # of each workspace
PART_UPDATES: Final = 100
FRAMES_A_WINDOW: Final = 4  # of each device
CAPACITY_UPDATES: Final = 10_000  # by which the capacity is measured
SIGNALS: Final = ("soc_percent", "odometer_km", "speed_kmh", "range_km", "battery_voltage_v")


class Senders(Protocol):
    """A form of the load."""

    sent: int  # updates handed over

    async def run(self) -> None:
        """Send until cancelled."""

    def waiting_seconds(self) -> float:
        """Return for how long the oldest data waits that was not handed over."""


async def measure(place: Place, quick: bool) -> list[Figure]:
    """Return for each form how long the backlog lasted, and by how much the process grew."""
    away = QUICK_AWAY_SECONDS if quick else AWAY_SECONDS
    extra = QUICK_EXTRA_SECONDS if quick else 0.0
    # As the service does: else the 20,000 updates that wait are scanned over and over.
    garbage.freeze_and_tune()
    figures = []
    for form, share in (("coalesced", COALESCED_SHARE), ("plain", PLAIN_SHARE)):
        dsn = await place.new_database()
        await migrate(dsn)
        async with open_proxy(dsn) as proxy, open_bench(dsn, proxy.dsn) as bench:
            capacity = await bench.measure_capacity()
            senders = make_senders(form, bench, capacity / 2)
            gone, growth = await bench.go_through(senders, proxy, away, limit=4 * away)
            await bench.verify(senders)
        await place.drop_database(dsn)
        seen = {"updates_a_second": capacity / 2, "away_seconds": away, "growth_mb": growth}
        must = share * away + extra
        figures += [
            Figure(f"B7 {form}, seconds of backlog", gone, must, at_most=True, seen=seen),
            Figure(f"B7 {form}, growth in MB", growth, GROWTH_MB, at_most=True),
        ]
    return figures


@asynccontextmanager
async def open_bench(dsn: str, proxied: str) -> AsyncIterator[Bench]:
    """Provide a running ingest actor behind the proxy, on a configured database."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(open_bridge())
        database = await stack.enter_async_context(aclosing(Database(dsn)))
        pools = Pools(proxied, collecting=1, api=1, application_name="outage")
        await stack.enter_async_context(aclosing(pools))
        await configure(database)
        start = await PostgresSessionStore(database).begin_session("outage", ttl_seconds=3600)
        assert start is not None
        current = CurrentSession()
        current.replace(start.session)
        ingest = IngestActor(PostgresIngestStore(pools.ingest), current, random=Random(1))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ingest.run)
            yield Bench(dsn, ingest, Times(start.server_time - timedelta(hours=1)))
            nursery.cancel_scope.cancel()


async def configure(database: Database) -> None:
    await PostgresUpkeepStore(database).ensure_partitions(days_ahead=2)
    registry = PostgresRegistry(database)
    for name in map(workspace_of, range(WORKSPACES)):
        await registry.put_workspace(
            name, name=name, active=True, poll_interval_seconds=3600, policy=Policy()
        )
        await registry.put_provider(
            ProviderConnection(name, PROVIDER, "viriciti", "stream", "http://127.0.0.1:9", None)
        )
        buses = map(bus_of, range(DEVICES))
        await registry.put_devices(
            name, [DeviceDraft(bus, PROVIDER, bus, bus, bus) for bus in buses]
        )


class Times:
    """Instants of the load. They are an hour old, so that none is from the future."""

    def __init__(self, began: datetime) -> None:
        self._began = began
        self._zero = trio.current_time()

    def at(self, moment: float) -> datetime:
        """Return the instant of a moment on trio's clock."""
        return self._began + timedelta(seconds=moment - self._zero)


@dataclass
class Bench:
    """An ingest actor that runs, and what it is measured by."""

    dsn: str
    ingest: IngestActor
    times: Times
    sent_before: int = 0

    async def measure_capacity(self) -> float:
        """Return how many updates a second are committed when they are always waiting."""
        began = trio.current_time()
        for number in range(0, CAPACITY_UPDATES, PART_UPDATES):
            workspace_id = workspace_of(number // PART_UPDATES % WORKSPACES)
            first = number // WORKSPACES // PART_UPDATES * PART_UPDATES
            updates = [
                self.make_update(workspace_id, (first + place) % DEVICES, began + number / 1e6)
                for place in range(PART_UPDATES)
            ]
            await self.ingest.submit(Submission("stream", "b7", updates=tuple(updates)))
        self.sent_before = CAPACITY_UPDATES
        await self._wait_judged()
        return CAPACITY_UPDATES / (trio.current_time() - began)

    async def _wait_judged(self) -> None:
        with trio.fail_after(AWAY_SECONDS):
            while self.ingest.statistics().pending:  # noqa: ASYNC110 - the actor has no such event
                await trio.sleep(LOOK_SECONDS)

    def make_update(self, workspace_id: str, device: int, moment: float) -> CanonicalUpdate:
        at = self.times.at(moment)
        readings = tuple(Reading(signal, device % 50 + 0.5, at) for signal in SIGNALS)
        bus = bus_of(device)
        return CanonicalUpdate(workspace_id, PROVIDER, bus, None, None, readings, at, "b7")

    async def go_through(
        self, senders: Senders, proxy: Any, away: float, *, limit: float
    ) -> tuple[float, float]:
        """Return how long the backlog lasted, in seconds, and the growth in MB while it waited."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(senders.run)
            await trio.sleep(BEFORE_SECONDS)
            proxy.change(Condition.CUT)
            await trio.sleep(away / 2)  # by now all that may wait has its room
            before = largest = resident_mb()
            leaves_at = trio.current_time() + away / 2
            while trio.current_time() < leaves_at:
                largest = max(largest, resident_mb())
                await trio.sleep(LOOK_SECONDS)
            proxy.change(Condition.OPEN)
            returned = trio.current_time()
            while self.waiting_seconds(senders) > GONE_SECONDS:
                largest = max(largest, resident_mb())
                if trio.current_time() > returned + limit:
                    raise NotVerified(f"the backlog has not gone within {limit:g} s")
                await trio.sleep(LOOK_SECONDS)
            gone = trio.current_time() - returned
            nursery.cancel_scope.cancel()
        return gone, largest - before

    def waiting_seconds(self, senders: Senders) -> float:
        if self.ingest.is_failing:
            return float("inf")
        return max(senders.waiting_seconds(), self.ingest.oldest_waiting_seconds())

    async def verify(self, senders: Senders) -> None:
        """Raise NotVerified unless each update that was handed over is stored once."""
        await self._wait_judged()
        counted = self.ingest.statistics()
        sent = self.sent_before + senders.sent
        ((events, versions),) = await fetch(
            self.dsn,
            "SELECT (SELECT count(*) FROM events), (SELECT sum(version)::bigint FROM device_state)",
        )
        found = (counted.submitted, dict(counted.outcomes), events, versions)
        if found != (sent, {"accepted": sent}, sent, sent):
            raise NotVerified(f"{sent} updates were sent; counted and stored: {found}")


def make_senders(form: str, bench: Bench, rate: float) -> Senders:
    if form == "coalesced":
        return CoalescingSenders(bench, rate)
    return PlainSenders(bench, rate)


class PlainSenders:
    """One sender for each workspace: it hands over every update, and waits for room."""

    def __init__(self, bench: Bench, rate: float) -> None:
        """`rate`: updates a second, of all senders together."""
        self._bench = bench
        self._part_seconds = PART_UPDATES * WORKSPACES / rate
        self._due: list[float] = []  # of each sender's next part, on trio's clock
        self.sent = 0

    async def run(self) -> None:
        self._due = [trio.current_time()] * WORKSPACES
        async with trio.open_nursery() as nursery:
            for number in range(WORKSPACES):
                nursery.start_soon(self._send, number)

    async def _send(self, number: int) -> None:
        first = 0
        while True:
            await trio.sleep_until(self._due[number])
            moment, places = self._due[number], range(first, first + PART_UPDATES)
            updates = [
                self._bench.make_update(workspace_of(number), place % DEVICES, moment)
                for place in places
            ]
            await self._bench.ingest.submit(Submission("stream", "b7", updates=tuple(updates)))
            self.sent += len(updates)
            self._due[number] += self._part_seconds
            first += PART_UPDATES

    def waiting_seconds(self) -> float:
        return trio.current_time() - min(self._due)


class CoalescingSenders:
    """Streams whose frames are coalesced as long as a full lane refuses them."""

    def __init__(self, bench: Bench, rate: float) -> None:
        """`rate`: updates a second that the streams hand over while the lane has room."""
        self._bench = bench
        self._devices = min(DEVICES, max(1, round(rate * WINDOW_SECONDS / WORKSPACES)))
        names = [bus_of(device) for device in range(self._devices)]
        self._buffers = [
            CoalescingBuffer(names, instant_of=bench.times.at, refuse=_refuse)
            for _ in range(WORKSPACES)
        ]
        self._handed_over = [trio.current_time()] * WORKSPACES
        self.sent = 0

    async def run(self) -> None:
        self._handed_over = [trio.current_time()] * WORKSPACES
        turn = 0
        while True:
            for number, buffer in enumerate(self._buffers):
                self._merge(buffer, turn)
                if turn % FRAMES_A_WINDOW == 0:
                    self._flush(number, buffer)
            turn += 1
            await trio.sleep(WINDOW_SECONDS / FRAMES_A_WINDOW)

    def _merge(self, buffer: CoalescingBuffer, turn: int) -> None:
        now = trio.current_time()
        at = self._bench.times.at(now)
        for device in range(self._devices):
            readings = tuple(Reading(signal, turn % 50 + 0.5, at) for signal in SIGNALS)
            buffer.merge(bus_of(device), readings, now)

    def _flush(self, number: int, buffer: CoalescingBuffer) -> None:
        """Hand over what waits, if the lane has room for all of it; else it goes on to coalesce."""
        lane = self._bench.ingest.statistics().mailbox.lanes["stream"]
        if lane.waiting_size + len(buffer) > lane.capacity:
            return
        updates = [
            CanonicalUpdate(
                workspace_of(number),
                PROVIDER,
                merged.external_id,
                None,
                None,
                merged.readings,
                self._bench.times.at(merged.received),
                "b7",
            )
            for merged in buffer.drain(len(buffer))
        ]
        for first in range(0, len(updates), PART_UPDATES):
            part = tuple(updates[first : first + PART_UPDATES])
            self._bench.ingest.submit_nowait(Submission("stream", "b7", updates=part))
            self.sent += len(part)
        self._handed_over[number] = trio.current_time()

    def waiting_seconds(self) -> float:
        return trio.current_time() - min(self._handed_over)


def workspace_of(number: int) -> str:
    return f"depot-{number}"


def bus_of(device: int) -> str:
    return f"bus-{device}"


def resident_mb() -> float:
    """Return how much memory this process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * getpagesize() / 2**20


def _refuse(external_id: str, reading: Reading, _received: float) -> None:
    raise NotVerified(f"{external_id}: {reading} was refused, and every reading is good")
