"""Explicit offsets in PostgreSQL: of several writers, none takes a place too many."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from domain.model import Policy
from domain.registry import PolicyDraft, Stored
from domain.start_offsets import Synchronized
from storage.faults import DatabaseRefused
from storage.queries import sql
from tests.storage.holding import holding

if TYPE_CHECKING:
    from storage.gateway import Database
    from tests.conftest import Stores

AT_30 = PolicyDraft(Policy(), 300, 30)
NAMES = [f"fleet-{number}" for number in range(6)]


@pytest.fixture
async def stores(postgres_stores: Stores) -> Stores:
    for name in NAMES:
        await postgres_stores.registry.put_workspace(name, name=name)
    return postgres_stores


async def test_acceptance_9_writers_at_once_keep_the_limit(stores: Stores) -> None:
    answers = []

    async def move(name: str) -> None:
        answers.append(await stores.registry.put_policy(name, draft=AT_30))

    async with trio.open_nursery() as nursery:
        for name in NAMES:
            nursery.start_soon(move, name)
    refused = [answer for answer in answers if isinstance(answer, Synchronized)]
    assert (len(answers), len(refused)) == (6, 4)
    assert {(one.starting, one.most, one.nearest_free) for one in refused} == {(2, 2, 31)}
    offsets = [await offset_of(stores, name) for name in NAMES]
    assert sorted(offsets, key=str) == [30, 30, None, None, None, None]


async def test_acceptance_9_creations_and_policies_share_the_places(stores: Stores) -> None:
    """Created, activated and moved at once."""
    registry = stores.registry
    for name in ("resting-1", "resting-2"):
        await registry.put_workspace(name, name=name, active=False, start_offset_seconds=30)
    accepted: list[bool] = []

    async def activate(name: str) -> None:
        stored = await registry.put_workspace(name, name=name, active=True)
        accepted.append(isinstance(stored, Stored))

    async def create(name: str) -> None:
        stored = await registry.put_workspace(name, name=name, start_offset_seconds=30)
        accepted.append(isinstance(stored, Stored))

    async def move(name: str) -> None:
        accepted.append(isinstance(await registry.put_policy(name, draft=AT_30), Stored))

    async with trio.open_nursery() as nursery:
        for number in (1, 2):
            nursery.start_soon(activate, f"resting-{number}")
            nursery.start_soon(create, f"new-{number}")
            nursery.start_soon(move, NAMES[number])
    assert sorted(accepted) == [False] * 4 + [True] * 2


async def test_a_place_is_judged_under_the_lock_of_places(
    stores: Stores, database: Database
) -> None:
    done = []

    async def move(name: str) -> None:
        done.append(await stores.registry.put_policy(name, draft=AT_30))

    async with trio.open_nursery() as nursery, holding(database, sql("lock_ordinals")):
        nursery.start_soon(move, NAMES[0])
        await trio.sleep(0.5)
        assert done == []
    assert done == [Stored(created=False)]


async def test_a_place_that_is_held_is_not_judged_again(stores: Stores) -> None:
    """Two of the fleet hold it; other thresholds at the same place are no move."""
    for name in NAMES[:2]:
        assert await stores.registry.put_policy(name, draft=AT_30) == Stored(created=False)
    other = AT_30._replace(policy=Policy(grace_seconds=60.0))
    assert await stores.registry.put_policy(NAMES[0], draft=other) == Stored(created=False)
    assert await stores.registry.put_workspace(NAMES[0], name="Renamed") == Stored(created=False)


async def test_leaving_a_place_frees_it(stores: Stores) -> None:
    registry = stores.registry
    for name in NAMES[:2]:
        await registry.put_policy(name, draft=AT_30)
    assert isinstance(await registry.put_policy(NAMES[2], draft=AT_30), Synchronized)
    await registry.put_policy(NAMES[0], draft=AT_30._replace(start_offset_seconds=None))
    assert await registry.put_policy(NAMES[2], draft=AT_30) == Stored(created=False)
    await registry.put_workspace(NAMES[1], name="Off", active=False)
    assert await registry.put_policy(NAMES[3], draft=AT_30) == Stored(created=False)
    refused = await registry.put_workspace(NAMES[1], name="On", active=True)
    assert isinstance(refused, Synchronized)
    assert refused.field == "active"


@pytest.mark.parametrize(("interval", "offset"), [(300, 300), (60, -1), (60, 299)])
async def test_the_table_refuses_an_offset_beyond_the_interval(
    stores: Stores, database: Database, interval: int, offset: int
) -> None:
    statement = (
        f"UPDATE workspaces SET poll_interval_seconds = {interval},"
        f" start_offset_seconds = {offset} WHERE workspace_id = 'fleet-0'"
    )
    with pytest.raises(DatabaseRefused, match="23514"):
        await database.run(lambda connection: connection.execute(statement))


async def offset_of(stores: Stores, name: str) -> int | None:
    stored = await stores.registry.get_workspace(name)
    assert stored is not None
    return stored.start_offset_seconds
