"""A locked table of keys makes requests pile up, while collecting goes on as before."""

from __future__ import annotations

from contextlib import aclosing, asynccontextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

import httpx
import pytest
import trio

from lastheard.simulation import run_simulator
from storage.gateway import Database
from storage.timeouts import Timeouts
from tests.processes.fleets import make_fleets, make_key
from tests.processes.shard import PREFIX, Shard, open_shard

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from storage.gateway import Connection
    from tests.conftest import Stores

pytestmark = [pytest.mark.processes, pytest.mark.postgres]

FLEETS: Final = ("--devices", "10", "--tenants", "1", "--rate", "4", "--seed", "3")
LOCKED_SECONDS: Final = 14.0  # longer than a session lives without a heartbeat
TTL_SECONDS: Final = 9.0  # so a heartbeat is due every 3 s
CLIENTS: Final = 60
LOOK: Final = """
    SELECT (SELECT min(expires_at) > clock_timestamp() FROM heartbeats) AS alive,
           (SELECT count(*) FROM leases WHERE shard_id IS NOT NULL) AS leases,
           (SELECT count(*) FROM events) AS events,
           (SELECT count(*) FROM poll_cycles WHERE outcome = 'completed') AS cycles
"""


class Look(NamedTuple):
    """What the database shows of the shard at one instant."""

    alive: bool
    leases: int
    events: int
    cycles: int


async def test_a_locked_keys_table_does_not_pause_collecting(
    dsn: str, database: Database, postgres_stores: Stores, tmp_path: Path
) -> None:
    key = await make_key(postgres_stores)
    async with run_simulator(*FLEETS) as simulated:
        await make_fleets(postgres_stores, simulated, tmp_path)
        async with open_shard(dsn, key, ttl_seconds=str(TTL_SECONDS)) as shard:
            await shard.child.wait_until(
                lambda: bool(shard.child.events("workspace_poll_ingest_completed")), "a cycle"
            )
            async with requests_of_many_clients(shard, key), keys_locked(dsn):
                looks = await look_for(database, LOCKED_SECONDS)
            trust_lost = shard.child.events("session_trust_failed")
    assert trust_lost == []
    assert {(look.alive, look.leases) for look in looks} == {(True, looks[0].leases)}
    assert looks[0].leases >= 1
    # Each part of the time has commits of its own, not only the first, from before the lock.
    parts = [looks[at] for at in range(0, len(looks), len(looks) // 4)]
    assert all(later.events > earlier.events for earlier, later in pairwise(parts)), parts
    assert looks[-1].cycles >= looks[0].cycles + 3, (looks[0], looks[-1])


async def look_for(database: Database, seconds: float) -> list[Look]:
    """Look every quarter of a second."""
    looks = []
    with trio.move_on_after(seconds):
        while True:
            row = await database.run(lambda connection: connection.fetchrow(LOOK))
            assert row is not None
            looks.append(Look(*row))
            await trio.sleep(0.25)
    return looks


@asynccontextmanager
async def keys_locked(dsn: str) -> AsyncIterator[None]:
    """Lock the table of keys in another session during the block."""
    locked = trio.Event()

    async def hold(connection: Connection) -> None:
        for name in ("transaction_timeout", "statement_timeout"):
            await connection.execute(
                f"SELECT set_config('{name}', '0', false) FROM pg_settings WHERE name = '{name}'"
            )
        await connection.execute("BEGIN")
        await connection.execute("LOCK TABLE keys IN ACCESS EXCLUSIVE MODE")
        locked.set()
        await connection.execute("SELECT pg_sleep(60)")

    async def run() -> None:
        await other.run(hold, in_transaction=False, deadline_seconds=60)

    async with (
        aclosing(Database(dsn, pool_size=1, timeouts=Timeouts(command=60))) as other,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(run)
        with trio.fail_after(10):
            await locked.wait()
        yield
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def requests_of_many_clients(shard: Shard, key: str) -> AsyncIterator[None]:
    """Run clients that each ask again as soon as they are answered, with any status."""

    async def ask_for_ever(client: httpx.AsyncClient) -> None:
        while True:
            await client.get(f"{PREFIX}/workspaces")
            await trio.sleep(0.05)

    client = httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{shard.port}",
        headers={"authorization": f"Bearer {key}"},
        timeout=60.0,
        trust_env=False,
        limits=httpx.Limits(max_connections=CLIENTS),
    )
    async with client, trio.open_nursery() as nursery:
        for _ in range(CLIENTS):
            nursery.start_soon(ask_for_ever, client)
        yield
        nursery.cancel_scope.cancel()
