"""A worklist from kept keys is the one that a scan of all devices gives at the same instant."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest
import trio

from domain.health_state import State
from ports.reads import HealthPage, HealthQuery
from storage import counted_pages, kept_worklists
from storage.reads import PostgresReads
from tests.storage.fixtures import WORKSPACE, Cast, populate
from tests.storage.test_counted_pages import NotingDatabase
from tests.storage.test_health_query import scatter

if TYPE_CHECKING:
    from storage.gateway import Connection, Database
    from tests.conftest import Stores

LATE = HealthQuery(
    states=frozenset({State.STALE, State.CONFIGURED_NO_DATA}),
    order="silence",
    limit=30,
    counts_max_age=5.0,
)


class Worklists:
    """The reads of one process over a scattered fleet, and what they asked the database."""

    def __init__(self, cast: Cast, database: Database) -> None:
        self.cast = cast
        self.database = database
        self.noting = NotingDatabase(database)
        self.reads = PostgresReads(self.noting)  # type: ignore[arg-type]

    async def load(self, query: HealthQuery = LATE) -> HealthPage:
        return await self.reads.load_health(frozenset([WORKSPACE]), query)

    async def load_and_compare(self, query: HealthQuery = LATE) -> HealthPage:
        """Return the page, which must be that of a scan at its instant."""
        page = await self.load(query)
        scanned = await self.cast.stores.reads.load_health(
            frozenset([WORKSPACE]), query._replace(now=page.evaluated_at, counts_max_age=0.0)
        )
        assert page.rows == scanned.rows
        return page

    async def execute(self, statement: str, *args: object) -> None:
        async def write(link: Connection) -> None:
            await link.execute(statement, *args)

        await self.database.run(write)

    @property
    def scans(self) -> int:
        return self.noting.names.count("list_keys_by_state")

    @property
    def reread(self) -> int:
        """How often a page could not be had from keys."""
        return self.noting.names.count("page_by_state")


@pytest.fixture
async def worklists(postgres_stores: Stores, database: Database) -> Worklists:
    found = Worklists(await populate(postgres_stores), database)
    await scatter(found.cast, database)
    # The fleet was heard around noon of the cast: now it is around now.
    await found.execute(
        "UPDATE device_state SET last_update_received_at = last_update_received_at "
        "+ (clock_timestamp() - $1), "
        "last_observed_at = last_observed_at + (clock_timestamp() - $1)",
        found.cast.noon,
    )
    await found.execute(
        "UPDATE devices SET activated_at = activated_at + (clock_timestamp() - $1)", found.cast.noon
    )
    return found


@pytest.mark.parametrize("limit", [1, 30, 400])
async def test_a_page_from_keys_is_that_of_a_scan(worklists: Worklists, limit: int) -> None:
    for _ in range(3):
        assert (await worklists.load_and_compare(LATE._replace(limit=limit))).rows
    assert (worklists.scans, worklists.reread) == (1, 0)


async def test_exact_counts_of_a_large_fleet_stand_beside_keys(
    worklists: Worklists, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counted_pages, "EXACT_DEVICES", 2)
    exact = LATE._replace(counts_max_age=0.0)
    for _ in range(3):
        page = await worklists.load_and_compare(exact)
        scanned = await worklists.cast.stores.reads.load_health(
            frozenset([WORKSPACE]), HealthQuery(now=page.evaluated_at, counts_max_age=0.0)
        )
        assert (page.counts, page.counted_at) == (scanned.counts, page.evaluated_at)
    assert "page_of_keys_counted" in worklists.noting.names


async def test_devices_that_report_leave_it_at_once(worklists: Worklists) -> None:
    random, left = Random(3), [facts.device.device_id for facts in (await worklists.load()).rows]
    for device_id in random.sample(left, 10):
        await worklists.execute(
            "UPDATE device_state SET last_update_received_at = clock_timestamp(), "
            "last_observed_at = clock_timestamp() WHERE device_id = $1",
            device_id,
        )
        page = await worklists.load_and_compare()
        assert device_id not in [facts.device.device_id for facts in page.rows]
    assert (worklists.scans, worklists.reread) == (1, 0)


@pytest.mark.parametrize(
    "soon",
    [
        "last_update_received_at = NULL, last_observed_at = NULL",
        "last_update_received_at = clock_timestamp() - interval '899 s', last_observed_at = NULL",
    ],
    ids=["grace ends", "gets stale"],
)
async def test_a_device_that_gets_late_is_in_it_at_once(worklists: Worklists, soon: str) -> None:
    """NFR-004, although the keys were found before."""
    await worklists.execute(
        "UPDATE devices SET activated_at = clock_timestamp() - interval '3599 s', "
        "grace_seconds = NULL, stale_after_seconds = NULL, delayed_after_seconds = NULL "
        "WHERE device_id = 'bus-1'"
    )
    await worklists.execute(f"UPDATE device_state SET {soon} WHERE device_id = 'bus-1'")
    whole = LATE._replace(limit=400)
    before = [facts.device.device_id for facts in (await worklists.load(whole)).rows]
    await trio.sleep(1.2)
    page = await worklists.load_and_compare(whole)
    after = [facts.device.device_id for facts in page.rows]
    assert ("bus-1" in before, "bus-1" in after) == (False, True)
    assert (worklists.scans, worklists.reread) == (1, 0)


async def test_a_socket_that_comes_back_makes_devices_late(worklists: Worklists) -> None:
    """The limits of a connection whose socket is away are wider."""
    await worklists.execute(
        "UPDATE connection_state SET stream_down_since = clock_timestamp() - interval '9999 s'"
    )
    whole = LATE._replace(limit=400)
    before = len((await worklists.load(whole)).rows)
    await worklists.execute("UPDATE connection_state SET stream_down_since = NULL")
    assert len((await worklists.load_and_compare(whole)).rows) > before
    assert (worklists.scans, worklists.reread) == (1, 0)


async def test_after_a_change_of_configuration_no_key_is_used(worklists: Worklists) -> None:
    first = (await worklists.load()).rows[0].device.device_id
    await worklists.cast.stores.registry.retire_device(WORKSPACE, first)
    for _ in range(2):
        page = await worklists.load_and_compare()
        assert first not in [facts.device.device_id for facts in page.rows]
    assert (worklists.scans, worklists.reread) == (2, 0)


async def test_when_too_many_keys_left_all_devices_are_read(
    worklists: Worklists, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_worklists, "SPARE_KEYS", 5)
    for facts in (await worklists.load()).rows[:10]:
        await worklists.execute(
            "UPDATE device_state SET last_update_received_at = clock_timestamp() "
            "WHERE device_id = $1",
            facts.device.device_id,
        )
    await worklists.load_and_compare()
    assert worklists.reread == 1


@pytest.mark.parametrize(
    "other",
    [
        LATE._replace(states=frozenset({State.STALE, State.HEALTHY})),
        LATE._replace(order="device"),
        LATE._replace(limit=1_000),
    ],
    ids=["healthy ones", "by device", "a long page"],
)
async def test_other_lists_are_read_from_all_devices(
    worklists: Worklists, other: HealthQuery
) -> None:
    await worklists.load_and_compare(other)
    assert worklists.scans == 0
