"""Several shards as real processes on one database, under stream, poll and HTTP load.

Owns the processes and each client's address. The tests decide what is done to the processes;
`verdict.py` judges in the end.
"""

from __future__ import annotations

import os
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from random import Random
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import httpx
import trio

from domain.model import Policy
from domain.resource import workspace_of
from lastheard.simulation import configure_fleet, run_simulator
from tests.conftest import fetch
from tests.processes.fleets import DEPOT, POLL_INTERVAL_SECONDS, make_depot, make_key
from tests.processes.ownership import Window
from tests.processes.poster import Poster
from tests.processes.shard import Shard, open_shard

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
    from pathlib import Path

    from lastheard.simulation import Simulated
    from tests.conftest import Stores

# `make chaos` sets the TTL to its default in production.
TTL_SECONDS: Final = float(os.environ.get("LASTHEARD_CHAOS_TTL", "3"))
# With these names each shard should own three fleets; test_shares.py says so.
SHARDS: Final = ("shard-1", "shard-10", "shard-19")
VICTIM: Final = "shard-19"  # with all three shards: two streams, a polled fleet and the depot
NEWCOMER: Final = "shard-15"
STREAMED_FLEET: Final = "fleet-02"  # owned by the victim
SLOW_FLEET: Final = "fleet-09"  # polled, and owned by the victim
TAKEOVER_SECONDS: Final = TTL_SECONDS + 10.0
AGAIN_SECONDS: Final = TAKEOVER_SECONDS + 20.0  # planned moves are made one after the other
FLEETS: Final = (
    *("--devices", "36", "--tenants", "9", "--rfms-tenants", "3"),
    *("--rate", "6", "--report-interval", "1"),
    *("--faults", "duplicates=0.05,out_of_order=0.05", "--seed", "17"),
)
NOTICING_SECONDS: Final = 3.0  # until a woken process has noticed, on a busy machine
EXIT_SECONDS: Final = 30.0
AT_WORK_SECONDS: Final = 40.0
NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})
POST_PAUSE_SECONDS: Final = 0.05  # the machine has other work as well, and the TTL is short

LEASES: Final = """
    SELECT resource, shard_id, epoch, token,
        coalesce(extract(epoch FROM acquired_at)::float8, 0) AS acquired_at
    FROM leases
"""
FENCED: Final = "SELECT coalesce(sum(occurrences), 0) FROM rejections WHERE reason = 'fenced'"


class Lease(NamedTuple):
    """The stored owner of a workspace."""

    shard_id: str | None
    epoch: int | None
    token: int
    acquired_at: float  # seconds since the epoch


@dataclass
class Process:
    """One `lastheard serve` from its start to its end."""

    shard_id: str
    shard: Shard
    killed: bool = False
    ended: trio.Event = field(default_factory=trio.Event)  # set it to let the process go


class Cluster:
    """Shards, clients and simulated providers of one test.

    `processes` has every process that was ever started; `running` has those that run, by shard_id.
    """

    def __init__(
        self,
        dsn: str,
        shard_dsns: Mapping[str, str],
        key: str,
        simulated: Simulated,
        nursery: trio.Nursery,
        **settings: str,
    ) -> None:
        self.dsn = dsn
        self.simulated = simulated
        self.processes: list[Process] = []
        self.running: dict[str, Process] = {}
        self.posters: dict[str, Poster] = {}
        self.pauses: list[Window] = []
        self._shard_dsns = shard_dsns
        self._key = key
        self._nursery = nursery
        self._settings = settings

    # --- processes

    async def start(self, *shard_ids: str) -> None:
        """Start these together. Returns when they are ready and their clients use them."""
        async with trio.open_nursery() as nursery:
            for shard_id in shard_ids:
                nursery.start_soon(self._start, shard_id)

    async def _start(self, shard_id: str) -> None:
        process: Process = await self._nursery.start(self._host, shard_id)
        self.processes.append(process)
        self.running[shard_id] = process
        await process.shard.wait_ready()
        self._direct_clients()

    async def _host(self, shard_id: str, *, task_status: trio.TaskStatus[Process]) -> None:
        dsn = self._shard_dsns.get(shard_id, self.dsn)
        async with open_shard(dsn, self._key, shard_id=shard_id, **self._settings) as shard:
            process = Process(shard_id, shard)
            task_status.started(process)
            await process.ended.wait()  # no deadline: the test sets it, or is cancelled

    def shard(self, shard_id: str) -> Shard:
        return self.running[shard_id].shard

    async def kill(self, shard_id: str) -> float:
        """Send SIGKILL, and direct its client to another shard. Returns the instant of the kill."""
        process = self.running.pop(shard_id)
        process.killed = True
        process.shard.child.send(SIGKILL)
        killed_at = time.time()
        await process.shard.child.wait_ended()
        self._direct_clients()
        return killed_at

    def stop(self, shard_id: str) -> float:
        """Send SIGSTOP: the process pauses and keeps its connections. Returns the instant."""
        self.shard(shard_id).child.send(SIGSTOP)
        return time.time()

    def go_on(self, shard_id: str, stopped_at: float) -> None:
        """Send SIGCONT.

        The streams of the process may overlap with its successors' until it has noticed that its
        session is over. The window for this is noted in `pauses`.
        """
        self.shard(shard_id).child.send(SIGCONT)
        self.pauses.append(Window(stopped_at, time.time() + NOTICING_SECONDS))

    async def terminate(self, shard_id: str, seconds: float = EXIT_SECONDS) -> None:
        """Send SIGTERM, and wait for the ordered end."""
        process = self.running.pop(shard_id)
        self._direct_clients()
        process.shard.child.send(SIGTERM)
        code = await process.shard.child.wait_ended(seconds)
        assert code == 0, process.shard.child.tail()

    def _direct_clients(self) -> None:
        """Direct each client to its own shard, or to another one if its own does not run."""
        for shard_id, poster in self.posters.items():
            if self.running:
                process = self.running.get(shard_id) or min(self.running.items())[1]
                poster.shard_port = process.shard.port

    # --- clients

    def start_posters(self, vans: Collection[str], random: Random) -> None:
        """Start a client for each shard.

        Each client has its own vehicles, so an update that is sent again was sent by the same
        client before.
        """
        shares = [list(vans)[number :: len(self.running)] for number in range(len(self.running))]
        for (shard_id, process), share in zip(sorted(self.running.items()), shares, strict=True):
            poster = Poster(
                f"to-{shard_id}", share, self._key, random, pause_seconds=POST_PAUSE_SECONDS
            )
            poster.shard_port = process.shard.port
            self.posters[shard_id] = poster
            self._nursery.start_soon(poster.run)

    async def finish_posters(self) -> None:
        for poster in self.posters.values():
            await poster.finish()

    async def order_simulator(self, path: str, **order: Any) -> None:
        async with httpx.AsyncClient(
            base_url=self.simulated.http_url, timeout=10.0, trust_env=False
        ) as client:
            (await client.post(path, json=order)).raise_for_status()

    # --- the present state

    @property
    def fleets(self) -> frozenset[str]:
        """The workspaces whose data is collected. The depot is not one: clients send its data."""
        return frozenset(tenant.name for tenant in self.simulated.tenants)

    async def count(self, query: str) -> int:
        """Return the only number in a query's result."""
        ((number,),) = await trio.to_thread.run_sync(fetch, self.dsn, query)
        return int(number)

    async def leases(self) -> dict[str, Lease]:
        rows = await trio.to_thread.run_sync(fetch, self.dsn, LEASES)
        return {
            workspace_of(row["resource"]): Lease(
                row["shard_id"], row["epoch"], row["token"], row["acquired_at"]
            )
            for row in rows
        }

    async def owned_by(self, shard_id: str) -> frozenset[str]:
        return frozenset(
            name for name, lease in (await self.leases()).items() if lease.shard_id == shard_id
        )

    def heard_since(
        self, instant: float, shard_ids: Collection[str] | None = None
    ) -> dict[str, float]:
        """Return when each workspace's collected data was first committed after this instant.

        Covers the running shards, or those of `shard_ids` that run. Workspaces without data are
        not in the result.
        """
        first: dict[str, float] = {}
        for shard_id, process in self.running.items():
            if shard_ids is None or shard_id in shard_ids:
                for workspace_id, committed_at in _commits(process):
                    if committed_at > instant:
                        first[workspace_id] = min(
                            committed_at, first.get(workspace_id, committed_at)
                        )
        return first

    async def wait_heard(
        self,
        workspace_ids: Collection[str],
        since: float,
        seconds: float,
        *,
        by: Collection[str] | None = None,
    ) -> dict[str, float]:
        """Wait until each workspace has data committed after `since`. Returns when it first had."""

        async def all_heard() -> bool:
            await trio.lowlevel.checkpoint()
            return set(workspace_ids) <= self.heard_since(since, by).keys()

        await wait_until(all_heard, f"data of {sorted(workspace_ids)}", seconds, self)
        return {
            name: at for name, at in self.heard_since(since, by).items() if name in workspace_ids
        }

    async def wait_leases(
        self, condition: Callable[[dict[str, Lease]], bool], what: str, seconds: float
    ) -> dict[str, Lease]:
        async def holds() -> bool:
            return condition(await self.leases())

        await wait_until(holds, what, seconds, self)
        return await self.leases()

    async def wait_everything_at_work(self, seconds: float = AT_WORK_SECONDS) -> None:
        """Wait until everything works again.

        Then every workspace has a running owner and new data, and every client gets its verdicts.
        """
        began = time.time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.wait_heard, self.fleets, began, seconds)
            nursery.start_soon(
                self.wait_leases, self._all_held, "an owner for each workspace", seconds
            )
            for poster in self.posters.values():
                nursery.start_soon(poster.wait_for_verdicts, 2, seconds)

    def _all_held(self, leases: dict[str, Lease]) -> bool:
        held = {name for name, lease in leases.items() if lease.shard_id in self.running}
        return held == {*self.fleets, DEPOT}


def _commits(process: Process) -> list[tuple[str, float]]:
    """Return workspace and instant of each commit of collected data."""
    return [
        (record["workspace_id"], datetime.fromisoformat(record["committed_at"]).timestamp())
        for record in process.shard.child.events("telematics_update_accepted")
        if "resource" in record
    ]


def instant(record: dict[str, Any]) -> float:
    """Return when a record was written, in seconds since the epoch."""
    return datetime.fromisoformat(record["timestamp"]).astimezone(UTC).timestamp()


async def wait_until(
    condition: Callable[[], Awaitable[bool]],
    what: str,
    seconds: float,
    cluster: Cluster | None = None,
) -> None:
    """Poll until the condition holds. Fails with the last lines of the logs.

    It polls because another process cannot set an event of this one.
    """
    with trio.move_on_after(seconds):
        while not await condition():  # noqa: ASYNC110
            await trio.sleep(0.1)
        return
    tails = "\n".join(
        f"=== {shard_id}\n{process.shard.child.tail()}"
        for shard_id, process in (cluster.running if cluster else {}).items()
    )
    raise AssertionError(f"not within {seconds:g} s: {what}\n{tails}")


@asynccontextmanager
async def open_cluster(
    dsn: str,
    stores: Stores,
    folder: Path,
    *,
    shard_ids: Collection[str] = SHARDS,
    shard_dsns: Mapping[str, str] = NOTHING,
    ttl_seconds: float = TTL_SECONDS,
    intervals: Mapping[str, int] = NOTHING,
    seed: int = 1,
) -> AsyncIterator[Cluster]:
    """Open shards that are all at work.

    `shard_dsns`: by shard_id, another DSN of the same database. `intervals`: by fleet, the poll
    interval in seconds.
    """
    key = await make_key(stores)
    settings = {"ttl_seconds": str(ttl_seconds), "min_poll_interval_seconds": "2"}
    async with run_simulator(*FLEETS) as simulated, trio.open_nursery() as nursery:
        cluster = Cluster(dsn, shard_dsns, key, simulated, nursery, **settings)
        # Start the shards before there is anything to own. Otherwise the first one would take
        # everything, and hand it over one by one.
        await cluster.start(*shard_ids)
        configure = partial(
            configure_fleet, stores.registry, simulated, credentials_dir=folder, policy=Policy()
        )
        # Configure the polled fleets first. So they get the smallest ordinals, and their late
        # starts come soonest.
        for tenant in sorted(simulated.tenants, key=lambda tenant: tenant.provider):
            await configure(
                tenant, poll_interval_seconds=intervals.get(tenant.name, POLL_INTERVAL_SECONDS)
            )
        cluster.start_posters(await make_depot(stores, 30), Random(seed))
        await cluster.wait_everything_at_work()
        yield cluster
        nursery.cancel_scope.cancel()
