"""How often a request waits for PostgreSQL, counted on the wire; `SELECT 1` is one round trip."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest

from api.app import PREFIX, create_app
from api.keys import Scope, mint_key
from storage.gateway import Database, open_bridge
from tests.conftest import make_postgres_stores
from tests.storage.fixtures import WORKSPACE, populate
from tests.storage.proxy import open_proxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from quart.typing import TestClientProtocol

    from storage.gateway import Connection
    from tests.api.harness import Harness
    from tests.storage.proxy import Proxy

# The first is the key and the workspace; one more each for what the handler asks.
MOST = {
    "": 1,
    "/health": 2,
    "/issues": 2,
    "/connections": 2,
    "/trends?device_id=bus-1": 2,
    "/snapshots": 3,
    "/snapshots/bus-1": 3,
    "/devices": 2,
    "/devices/bus-1": 2,
    "/devices/bus-1/day": 2,
    "/devices/bus-1/assignments": 2,
    "/snapshots/bus-1/soc_percent/event": 3,
    "/providers": 2,
    "/cycles": 2,
    "/rejections": 2,
    "/indicators": 12,
    "/quarantine": 2,
    "/policy/history": 2,
    "/cutover": 4,
    "/cutover/parity": 5,
    "/cutover/sync": 2,
}


class Counted:
    """The API over PostgreSQL behind a proxy, and a key that opens all of it."""

    def __init__(self, harness: Harness, database: Database, proxy: Proxy) -> None:
        self.database = database
        self.stores = make_postgres_stores(database)
        self._proxy = proxy
        stores = {
            name: getattr(self.stores, name)
            for name in (
                *("registry", "reads", "indicators", "changes", "keys", "quarantine", "cutovers"),
                "legacy_syncs",
            )
        }
        stores["parity"] = self.stores.parity_reads
        services = harness.make_services(**stores)
        self._client: TestClientProtocol = create_app(services).test_client()
        self._token = ""

    async def populate(self) -> None:
        cast = await populate(self.stores)
        # One that reports: else the whole workspace is surveyed for an outage.
        assert await cast.send(cast.update("bus-1", 1190, soc_percent=50.0)) == ["accepted"]
        scopes = [Scope.READ, Scope.CONTROL, Scope.ADMIN]
        record, self._token = mint_key("all", scopes, None, None)
        await self.stores.keys.create_key(record)

    async def ask(self, path: str) -> int:
        """Return how many round trips the answer took."""
        before = self._proxy.round_trips
        headers = {"Authorization": f"Bearer {self._token}"}
        url = f"{PREFIX}/workspaces/{WORKSPACE}{path}"
        response = await self._client.get(url, headers=headers)
        assert response.status_code == 200, await response.get_data()
        return self._proxy.round_trips - before

    async def say_hello(self) -> int:
        before = self._proxy.round_trips

        async def hello(connection: Connection) -> None:
            await connection.fetch("SELECT 1")

        await self.database.run(hello, in_transaction=False)
        return self._proxy.round_trips - before


@pytest.fixture
async def counted(harness: Harness, dsn: str) -> AsyncIterator[Counted]:
    async with (
        open_proxy(dsn) as proxy,
        open_bridge(),
        aclosing(Database(proxy.dsn, pool_size=1)) as database,
    ):
        counted = Counted(harness, database, proxy)
        await counted.populate()
        yield counted


async def test_select_1_is_one_round_trip(counted: Counted) -> None:
    await counted.say_hello()
    assert await counted.say_hello() == 1


@pytest.mark.parametrize("path", MOST)
async def test_a_request_makes_few_round_trips(counted: Counted, path: str) -> None:
    """The connection is warm, and the gate has the key in memory."""
    await counted.ask(path)
    assert await counted.ask(path) <= MOST[path]
