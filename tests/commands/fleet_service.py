"""A running shard as the target of `lastheard apply` and `lastheard export`."""

from __future__ import annotations

from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from storage.gateway import Database
from tests.conftest import make_postgres_stores
from tests.processes.child import run_lastheard
from tests.processes.fleets import make_key
from tests.processes.shard import PREFIX, open_shard

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.conftest import Stores
    from tests.processes.child import Child
    from tests.processes.shard import Shard


@dataclass
class FleetService:
    """A shard, its stores, and the commands that ask it."""

    shard: Shard
    stores: Stores
    key: str

    async def run(self, *words: str) -> Child:
        """Run a command of `lastheard` against this shard, until it ends."""
        return await run_lastheard(*words, environment=self.environment)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "LASTHEARD_ADDRESS": f"http://127.0.0.1:{self.shard.port}",
            "LASTHEARD_KEY": "env:SECRET_OF_TEST",
            "SECRET_OF_TEST": self.key,
        }

    async def export(self) -> str:
        child = await self.run("export")
        assert child.exit_code == 0, child.tail()
        return child.out

    async def apply(self, path: Path, *flags: str) -> list[str]:
        """Apply the file, and return the lines of standard output."""
        child = await self.run("apply", str(path), *flags)
        assert child.exit_code == 0, child.tail()
        return child.out.splitlines()

    async def read(self, path: str) -> Any:
        answer = await self.shard.get(f"{PREFIX}{path}")
        assert answer.status_code == 200, answer.text
        return answer.json()


@asynccontextmanager
async def open_service(dsn: str, stores: Stores, **settings: str) -> AsyncIterator[FleetService]:
    """Run a shard that takes the poll intervals of the demo."""
    key = await make_key(stores)
    async with open_shard(dsn, key, min_poll_interval_seconds="2", **settings) as shard:
        await shard.wait_ready()
        yield FleetService(shard, stores, key)


@asynccontextmanager
async def open_empty_service(dsn: str) -> AsyncIterator[FleetService]:
    """The same on a database for which there are no stores yet."""
    async with (
        aclosing(Database(dsn, pool_size=2)) as database,
        open_service(dsn, make_postgres_stores(database)) as service,
    ):
        yield service
