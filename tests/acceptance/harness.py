"""Run one scenario for real: simulated providers, shards on one PostgreSQL, clients on sockets.

Owns starting and stopping them in order, and short ways to configure and wait. A scenario acts on
the service over HTTP only, as a customer does. SQL only moves stored times and reads what was
written. It must never decide what is right: that is for the tests.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import httpx
import orjson
import trio

from api.keys import Scope
from lastheard.service import Service
from lastheard.settings import Settings
from simulator.config import SimulatorConfig, Tenant, Vendor
from simulator.legacy_shape import SHAPE
from simulator.server import Simulator, serve
from storage.gateway import open_bridge
from tests.acceptance.shard import Shard

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from simulator.legacy_faults import LegacyFaults
    from storage.gateway import Connection

T = TypeVar("T")

# With these thresholds every state comes and goes within seconds.
QUICK = {
    "freshness_target_seconds": 3.0,
    "delayed_after_seconds": 3.0,
    "stale_after_seconds": 6.0,
    "grace_seconds": 4.0,
}
ASK_EVERY_SECONDS = 0.1
STOP_SECONDS = 20.0


@dataclass
class Harness:
    """Simulated providers and the shards that collect from them; `shard` is the first."""

    simulator: Simulator
    dsn: str
    folder: Path
    nursery: trio.Nursery
    tokens: dict[str, str] = field(default_factory=dict)
    shards: list[Shard] = field(default_factory=list)

    @property
    def shard(self) -> Shard:
        return self.shards[0]

    async def open_shard(self, shard_id: str, **changes: Any) -> Shard:
        """Start one more service on the same database. Every key works on every shard.

        `changes` are settings beside the usual ones.
        """
        settings = Settings(
            dsn=self.dsn,
            data_dir=self.folder,
            credentials_dir=self.folder,
            shard_id=shard_id,
            http_port=0,
            probe_port=0,
            min_poll_interval_seconds=2,
            stream_window_seconds=0.2,
            outbound_allow="127.0.0.1",
            **changes,
        )
        service = Service(settings, self.dsn)
        ended = trio.Event()

        async def run(task_status: trio.TaskStatus[None]) -> None:
            await service.run(task_status=task_status)
            ended.set()

        await self.nursery.start(run)
        client = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{service.port}", timeout=15.0, trust_env=False
        )
        shard = Shard(service, client, self.tokens, ended)
        self.shards.append(shard)
        if not self.tokens:
            await shard.add_key("all", Scope)
        await until(shard.is_ready)
        return shard

    async def close_shard(self) -> None:
        """End the first shard in order, as SIGTERM does."""
        shard = self.shards.pop(0)
        await shard.client.aclose()
        shard.service.stop()
        with trio.fail_after(STOP_SECONDS):
            await shard.ended.wait()
        assert shard.service.exit_code == 0

    async def now(self) -> datetime:
        """Return the database's time."""
        (row,) = await self.fetch("SELECT clock_timestamp() AS now")
        now: datetime = row["now"]
        return now

    async def add_fleet(
        self,
        tenant: Tenant,
        *,
        interval: int = 3600,
        thresholds: Mapping[str, float] | None = None,
        connection: Mapping[str, Any] | None = None,
        only: Sequence[str] | None = None,
    ) -> None:
        """Configure the tenant's fleet as a workspace of its name, over the first shard's API.

        The workspace is activated last, so that no vehicle is unknown at first. `only`: configure
        these vehicles and no others.
        """
        fields = self.connection_of(tenant) | dict(connection or {})
        vehicles = [vehicle.vehicle_id for vehicle in tenant.vehicles]
        configure = partial(
            self.shard.add_workspace, tenant.name, interval=interval, thresholds=thresholds
        )
        await configure(active=False)
        await self.shard.add_provider(tenant.name, tenant.vendor, **fields)
        await self.shard.add_devices(tenant.name, tenant.vendor, vehicles if only is None else only)
        await configure(active=True)

    def connection_of(self, tenant: Tenant) -> dict[str, Any]:
        """Return the body of a provider connection to a tenant. Writes its credential to a file."""
        secret = self.folder / f"{tenant.name}.secret"
        secret.write_text(tenant.credential)
        streams = tenant.vendor is Vendor.VIRICITI
        return {
            "provider_type": str(tenant.vendor),
            "transport": "stream" if streams else "poll",
            "base_url": self.simulator.http_url if streams else f"{self.simulator.http_url}/rfms",
            "credential": f"file:{secret}",
        }

    async def change_faults(self, tenant: str, faults: str = "", **order: Any) -> None:
        """Replace the tenant's faults by these. `reporting`: how single vehicles behave, by id."""
        await self._control("faults", {"tenant": tenant, "faults": faults, **order})

    async def disconnect(self, *, abrupt: bool = True) -> None:
        """Cut every open stream at once."""
        await self._control("disconnect", {"abrupt": abrupt})

    async def change_legacy(self, tenant: str, faults: str = "") -> None:
        """Replace the faults of the tenant's legacy system by these."""
        await self._control("legacy", {"tenant": tenant, "faults": faults})

    def legacy_of(self) -> dict[str, Any]:
        """Return the legacy system as a cutover has it. Writes its credential to a file."""
        legacy = self.simulator.legacy
        assert legacy is not None, "open the harness with `legacy`"
        secret = self.folder / "legacy.secret"
        secret.write_text(legacy.token)
        return {
            "base_url": self.simulator.http_url,
            "credential": f"file:{secret}",
            "shape": SHAPE,
        }

    async def _control(self, name: str, order: dict[str, Any]) -> None:
        async with httpx.AsyncClient(timeout=5.0) as client:
            answer = await client.post(
                f"{self.simulator.http_url}/sim/{name}", content=orjson.dumps(order)
            )
        assert answer.status_code == 200, answer.content

    def requests(self, tenant: str) -> Mapping[str, int]:
        """Count the simulator's answers to this tenant, by `METHOD path status`."""
        return dict(self.simulator.provider_of(tenant).requests)

    async def fetch(self, statement: str, *values: Any) -> list[dict[str, Any]]:
        async def work(connection: Connection) -> list[dict[str, Any]]:
            return [dict(row) for row in await connection.fetch(statement, *values)]

        return await self.shard.service.database.collecting.run(work, in_transaction=False)

    async def execute(self, statement: str, *values: Any) -> None:
        async def work(connection: Connection) -> None:
            await connection.execute(statement, *values)

        await self.shard.service.database.collecting.run(work)


@asynccontextmanager
async def open_harness(
    dsn: str,
    folder: Path,
    *tenants: Tenant,
    shards: Sequence[str] = ("shard-1",),
    seconds: float = 90.0,
    legacy: LegacyFaults | None = None,
) -> AsyncIterator[Harness]:
    """Run simulator and shards during the block, then stop them in order.

    `legacy`: the faults with which a legacy system of the same fleets begins; None for no such one.

    Raises TooSlowError if the block does not end within `seconds`.
    """
    failure: Exception | None = None
    with trio.fail_after(seconds):
        async with open_bridge(), trio.open_nursery() as nursery:
            simulator = await nursery.start(
                partial(serve, SimulatorConfig(tenants=tenants, seed=7, legacy=legacy))
            )
            harness = Harness(simulator, dsn, folder, nursery)
            for shard_id in shards:
                await harness.open_shard(shard_id)
            try:
                yield harness
            except Exception as error:
                failure = error  # raised below: the nursery would wrap it in a group
            while harness.shards:
                await harness.close_shard()
            nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


# --- short ways to say things


async def until(fact: Callable[[], Awaitable[bool]], *, within: float = 30.0) -> None:
    """Poll until the fact holds. Raises TooSlowError."""
    with trio.fail_after(within):
        while not await fact():  # noqa: ASYNC110 - no event tells of changes in the database
            await trio.sleep(ASK_EVERY_SECONDS)


async def eventually(
    read: Callable[[], Awaitable[T]], expected: T, *, within: float = 30.0
) -> None:
    """Poll until the value is the expected one. Fails with the last value."""
    with trio.move_on_after(within):
        while await read() != expected:  # noqa: ASYNC110 - as above
            await trio.sleep(ASK_EVERY_SECONDS)
        return
    assert await read() == expected
