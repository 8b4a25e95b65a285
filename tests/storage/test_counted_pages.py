"""Counts beside a page are as old as the query allows, and say so; its devices are of now."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from typing import cast as cast_type

import pytest
import trio

from domain.health_state import State
from domain.model import Policy
from ports.reads import HealthPage, HealthQuery
from storage import counted_pages
from storage.reads import PostgresReads
from tests.storage.fixtures import WORKSPACE, Cast, populate

if TYPE_CHECKING:
    from storage.gateway import Connection, Database
    from tests.conftest import Stores

AGED = HealthQuery(counts_max_age=5.0)
EXACT = HealthQuery(counts_max_age=0.0)


class NotingDatabase:
    """A database that notes the name of each call."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.names: list[str] = []

    async def run(self, work: Any, *, name: str, **rest: Any) -> Any:
        self.names.append(name)
        return await self._database.run(work, name=name, **rest)


class Counted:
    """The reads of one process, and what they asked the database."""

    def __init__(self, cast: Cast, database: Database) -> None:
        self.cast = cast
        self.database = database
        self.noting = NotingDatabase(database)
        self.reads = PostgresReads(cast_type("Database", self.noting))

    async def load(self, query: HealthQuery) -> HealthPage:
        return await self.reads.load_health(frozenset([WORKSPACE]), query)

    async def load_at_once(self, query: HealthQuery) -> list[HealthPage]:
        """Return the pages of eight who ask at the same time."""
        pages: list[HealthPage] = []

        async def ask() -> None:
            pages.append(await self.load(query))

        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(ask)
        return pages

    async def hear(self, device_id: str) -> None:
        await self.execute(
            "UPDATE device_state SET last_update_received_at = clock_timestamp() "
            "WHERE device_id = $1",
            device_id,
        )

    async def execute(self, statement: str, *args: object) -> None:
        async def write(link: Connection) -> None:
            await link.execute(statement, *args)

        await self.database.run(write)


@pytest.fixture
async def counted(postgres_stores: Stores, database: Database) -> Counted:
    return Counted(await populate(postgres_stores), database)


async def test_aged_counts_say_when_they_were_made(counted: Counted) -> None:
    first = await counted.load(AGED)
    await counted.hear("bus-1")
    later = await counted.load(AGED)
    assert (later.counts, later.counted_at) == (first.counts, first.counted_at)
    assert first.counted_at < later.evaluated_at
    assert later.rows[0].last_update_received_at is not None


async def test_exact_counts_are_of_the_pages_instant(counted: Counted) -> None:
    await counted.load(AGED)
    await counted.hear("bus-1")
    page = await counted.load(EXACT)
    assert page.counts[State.HEALTHY] == 1
    assert page.counted_at == page.evaluated_at


async def test_counts_older_than_the_query_allows_are_made_anew(counted: Counted) -> None:
    await counted.load(AGED)
    await counted.hear("bus-1")
    await trio.sleep(0.05)
    page = await counted.load(AGED._replace(counts_max_age=0.04))
    assert page.counts[State.HEALTHY] == 1
    assert page.evaluated_at - page.counted_at <= timedelta(seconds=0.04)


async def test_a_change_of_configuration_is_counted_at_once(counted: Counted) -> None:
    await counted.load(AGED)
    await counted.cast.stores.registry.retire_device(WORKSPACE, "bus-1")
    page = await counted.load(AGED)
    assert (len(page.rows), sum(page.counts.values())) == (2, 2)


async def test_those_who_ask_at_once_share_a_count(counted: Counted) -> None:
    pages = await counted.load_at_once(AGED)
    assert counted.noting.names.count("count_health") == 1
    assert len({page.counted_at for page in pages}) == 1
    assert all(len(page.rows) == 3 for page in pages)


async def test_after_a_change_all_share_one_new_count(counted: Counted) -> None:
    await counted.load(AGED)
    await counted.cast.stores.registry.retire_device(WORKSPACE, "bus-1")
    counted.noting.names.clear()
    pages = await counted.load_at_once(AGED)
    assert set(counted.noting.names) == {"page_of_workspace", "count_health"}
    assert counted.noting.names.count("count_health") == 1
    assert {sum(page.counts.values()) for page in pages} == {2}
    counted.noting.names.clear()
    await counted.load(AGED)
    assert counted.noting.names == ["page_of_workspace"]


@pytest.mark.parametrize("max_age", [5.0, None])
async def test_a_later_page_has_the_counts_of_its_instant(
    counted: Counted, monkeypatch: pytest.MonkeyPatch, max_age: float | None
) -> None:
    """The grace ends just after that instant, and counts of the present are kept."""
    monkeypatch.setattr(counted_pages, "EXACT_DEVICES", 2)
    at = (await counted.load(EXACT)).evaluated_at
    await counted.execute("UPDATE devices SET activated_at = $1", at - timedelta(hours=1))
    query = HealthQuery(counts_max_age=max_age)
    assert (await counted.load(query)).counts[State.CONFIGURED_NO_DATA] == 3
    later = await counted.load(query._replace(now=at))
    assert later.counts[State.AWAITING_FIRST_DATA] == 3
    assert (later.counted_at, later.evaluated_at) == (at, at)


async def test_only_large_fleets_have_old_counts_unasked(
    counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    unasked = HealthQuery()
    for _ in range(2):
        page = await counted.load(unasked)
        assert page.counted_at == page.evaluated_at
    monkeypatch.setattr(counted_pages, "EXACT_DEVICES", 2)
    assert await counted.load(unasked)
    page = await counted.load(unasked)
    assert page.counted_at < page.evaluated_at


async def test_fleets_do_not_share_their_counts(counted: Counted) -> None:
    await counted.cast.stores.registry.put_workspace(
        "quay", name="Quay", active=True, poll_interval_seconds=300, policy=Policy()
    )
    assert sum((await counted.load(AGED)).counts.values()) == 3
    quay = await counted.reads.load_health(frozenset(["quay"]), AGED)
    assert (sum(quay.counts.values()), quay.rows) == (0, [])
