"""Sign-ins of people who look at the pages, as stored."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import trio

from domain.changes import Author
from ports.keys import KeyRecord
from ports.sign_ins import FoundSignIn, SignInRecord
from ports.upkeep import Retention
from storage.keys import PostgresKeys
from storage.sign_ins import MAX_OF_ONE_KEY
from tests.conftest import execute, fetch

if TYPE_CHECKING:
    from tests.storage.contract.cast import PostgresWorld

BROWSER = "Mozilla/5.0"


@pytest.fixture
def place(dsn: str) -> str:
    """The twin does not have these ports."""
    return dsn


@pytest.fixture
async def world(world: PostgresWorld) -> PostgresWorld:
    """The cast, with the keys `k1` and `k2`."""
    for key_id in ("k1", "k2"):
        await world.stores.keys.create_key(key(key_id))
    return world


async def test_a_sign_in_comes_back_with_its_key(world: PostgresWorld) -> None:
    record = sign_in(world, "a", address="192.0.2.7", user_agent=BROWSER)
    await world.stores.sign_ins.create_sign_in(record)
    assert await world.stores.sign_ins.find_sign_in("a") == FoundSignIn(record, key("k1"))
    assert await world.stores.sign_ins.find_sign_in("b") is None


async def test_a_sign_in_with_a_replaced_key_has_none(world: PostgresWorld) -> None:
    record = await make(world, "a")
    keys, replaced = world.stores.keys, key("k3")._replace(name="k1")
    assert isinstance(keys, PostgresKeys)
    await keys.replace_key(replaced, by=Author("lastheard demo"))
    assert await world.stores.sign_ins.find_sign_in("a") == FoundSignIn(record, None)


async def test_a_revoked_key_is_found_as_revoked(world: PostgresWorld) -> None:
    await make(world, "a")
    await world.stores.keys.revoke_key("k1", within=None, by=Author("k2"))
    found = await world.stores.sign_ins.find_sign_in("a")
    assert found is not None
    assert found.key is not None
    assert found.key.revoked_at is not None


async def test_the_sign_ins_of_a_key_are_listed_newest_first(world: PostgresWorld) -> None:
    await make(world, "a", address="192.0.2.7", user_agent=BROWSER)
    await make(world, "b")
    await make(world, "over", expires_at=world.now)
    await make(world, "ended")
    await make(world, "foreign", key_id="k2")
    await world.stores.sign_ins.end_sign_in("k1", "ended")
    listed = await world.stores.sign_ins.list_sign_ins("k1", world.now)
    assert [each.sign_in_id for each in listed] == ["b", "a"]
    assert (listed[1].address, listed[1].user_agent) == ("192.0.2.7", BROWSER)
    assert listed[1].created_at >= world.now


async def test_a_sign_in_ends_once_and_only_for_its_key(world: PostgresWorld) -> None:
    await make(world, "a")
    store = world.stores.sign_ins
    assert not await store.end_sign_in("k2", "a")
    assert await store.end_sign_in("k1", "a")
    assert not await store.end_sign_in("k1", "a")
    found = await store.find_sign_in("a")
    assert found is not None
    assert found.sign_in.ended_at is not None


async def test_all_sign_ins_of_a_key_end_and_no_others(world: PostgresWorld) -> None:
    for sign_in_id, key_id in (("a", "k1"), ("b", "k1"), ("foreign", "k2")):
        await make(world, sign_in_id, key_id=key_id)
    store = world.stores.sign_ins
    assert await store.end_sign_ins("k1") == 2
    assert await store.end_sign_ins("k1") == 0
    assert await store.list_sign_ins("k1", world.now) == []
    assert [each.sign_in_id for each in await store.list_sign_ins("k2", world.now)] == ["foreign"]


async def test_a_key_keeps_only_its_newest_sign_ins(world: PostgresWorld, place: str) -> None:
    await make(world, "foreign", key_id="k2")
    ids = [f"{number:03}" for number in range(MAX_OF_ONE_KEY + 2)]
    for sign_in_id in ids:
        await make(world, sign_in_id)
    ended = await rows(
        place, "SELECT sign_in_id FROM sign_ins WHERE ended_at IS NOT NULL ORDER BY 1"
    )
    assert [row["sign_in_id"] for row in ended] == ids[:2]


async def test_sign_ins_are_deleted_a_day_after_they_were_over(
    world: PostgresWorld, place: str
) -> None:
    day = timedelta(days=1)
    await make(world, "expired", expires_at=world.now - day)
    await make(world, "fresh", expires_at=world.now - day + timedelta(hours=1))
    await make(world, "ended", expires_at=world.now + day)
    await make(world, "open", expires_at=world.now + day)
    past = "UPDATE sign_ins SET ended_at = now() - interval '25 hours' WHERE sign_in_id = 'ended'"
    await trio.to_thread.run_sync(execute, place, past)
    dropped = await world.stores.upkeep.drop_expired(Retention())
    assert dropped["sign_ins"] == 2
    left = await rows(place, "SELECT sign_in_id FROM sign_ins ORDER BY 1")
    assert [row["sign_in_id"] for row in left] == ["fresh", "open"]


async def rows(dsn: str, statement: str) -> list[Any]:
    return await trio.to_thread.run_sync(fetch, dsn, statement)


def key(key_id: str) -> KeyRecord:
    return KeyRecord(key_id, key_id, b"hash", frozenset({"read"}), None, None, None)


def sign_in(world: PostgresWorld, sign_in_id: str, **changes: Any) -> SignInRecord:
    plain = {"key_id": "k1", "expires_at": world.now + timedelta(hours=12)}
    return SignInRecord(sign_in_id, secret_hash=b"secret", **{**plain, **changes})


async def make(world: PostgresWorld, sign_in_id: str, **changes: Any) -> SignInRecord:
    record = sign_in(world, sign_in_id, **changes)
    await world.stores.sign_ins.create_sign_in(record)
    return record
