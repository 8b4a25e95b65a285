"""API keys as stored."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import trio

from domain.changes import Author
from ports.keys import KeyRecord
from storage.keys import PostgresKeys
from tests.conftest import fetch
from tests.storage.contract.cast import HARBOUR, ISLAND, SLOT

if TYPE_CHECKING:
    from tests.storage.contract.cast import PostgresWorld


@pytest.fixture
def place(dsn: str) -> str:
    """The twin does not have these ports."""
    return dsn


async def test_a_key_comes_back_as_it_was_stored(world: PostgresWorld) -> None:
    record = KeyRecord(
        "k1",
        "Accounts",
        b"\x00\xff",
        frozenset({"read", "control"}),
        frozenset({HARBOUR}),
        world.now,
        None,
    )
    await world.stores.keys.create_key(record)
    assert await world.stores.keys.find_key("k1") == record
    assert await world.stores.keys.find_key("k2") is None


async def test_a_key_and_a_workspace_are_found_together(world: PostgresWorld) -> None:
    record = KeyRecord("k1", "Accounts", b"hash", frozenset({"read"}), None, None, None)
    keys, workspace = world.stores.keys, await world.stores.registry.get_workspace(HARBOUR)
    await keys.create_key(record)
    assert workspace is not None
    assert await keys.find_access("k1", HARBOUR) == (record, workspace)
    assert await keys.find_access("k2", HARBOUR) == (None, workspace)
    assert await keys.find_access("k1", "nowhere") == (record, None)
    assert await keys.find_access("k1", None) == (record, None)


async def test_a_name_is_taken_for_ever(world: PostgresWorld) -> None:
    keys = world.stores.keys
    first = await keys.create_key(_record("k1", "Accounts"), by=Author("k0"))
    assert first is not None
    assert (first.created_by, first.last_used_at) == ("k0", None)
    await keys.revoke_key("k1", within=None, by=Author("k0"))
    assert await keys.create_key(_record("k2", "Accounts")) is None
    assert await keys.find_key("k2") is None


async def test_a_key_that_is_replaced_stops_working(world: PostgresWorld) -> None:
    keys = world.stores.keys
    assert isinstance(keys, PostgresKeys)
    await keys.create_key(_record("k1", "demo", expires_at=world.now))
    await keys.revoke_key("k1", within=None, by=Author("k0"))
    record = _record("k2", "demo", secret_hash=b"new")
    await keys.replace_key(record, by=Author("lastheard demo"))
    assert await keys.find_key("k1") is None
    assert await keys.find_key("k2") == record


async def test_keys_are_listed_by_name_within_workspaces(world: PostgresWorld) -> None:
    keys = world.stores.keys
    limits = {"a": None, "b": {HARBOUR}, "c": {HARBOUR, ISLAND}, "d": {ISLAND}}
    for name, limit in limits.items():
        await keys.create_key(_record(f"k-{name}", name, workspaces=limit and frozenset(limit)))
    await keys.revoke_key("k-d", within=None, by=Author("k0"))

    async def names(**query: Any) -> list[str]:
        plain = {"within": None, "with_revoked": True, "after": None, "limit": 9}
        return [key.name for key in await keys.list_keys(**{**plain, **query})]

    assert await names() == ["a", "b", "c", "d"]
    assert await names(with_revoked=False) == ["a", "b", "c"]
    assert await names(after="b", limit=1) == ["c"]
    assert await names(within={HARBOUR}) == ["b"]
    assert await names(within={HARBOUR, ISLAND}) == ["b", "c", "d"]


async def test_the_first_revocation_is_kept(world: PostgresWorld) -> None:
    keys = world.stores.keys
    await keys.create_key(_record("k1", "Accounts"))
    first = await keys.revoke_key("k1", within=None, by=Author("one"))
    again = await keys.revoke_key("k1", within=None, by=Author("two"))
    assert first is not None
    assert again is not None
    assert (first.before, again.before) == (False, True)
    assert first.key == again.key
    assert first.key.revoked_by == "one"


async def test_a_key_outside_the_workspaces_is_not_revoked(world: PostgresWorld) -> None:
    keys = world.stores.keys
    await keys.create_key(_record("k1", "all"))
    await keys.create_key(_record("k2", "island", workspaces=frozenset({ISLAND})))
    for key_id in ("k1", "k2", "k3"):
        within = frozenset({HARBOUR})
        assert await keys.revoke_key(key_id, within=within, by=Author("k0")) is None
    for key_id in ("k1", "k2"):
        found = await keys.find_key(key_id)
        assert found is not None
        assert found.revoked_at is None


async def test_a_key_is_found_by_id_before_by_name(world: PostgresWorld) -> None:
    keys = world.stores.keys
    await keys.create_key(_record("k1", "k2"))
    await keys.create_key(_record("k2", "other"))
    found = [await keys.find_listed_key(text) for text in ("k2", "k1", "other", "none")]
    assert [key and key.name for key in found] == ["other", "k2", "other", None]


async def test_uses_are_kept_to_the_minute_and_never_go_back(world: PostgresWorld) -> None:
    keys, minute = world.stores.keys, SLOT.replace(minute=7)
    await keys.create_key(_record("k1", "Accounts"))
    for at in (minute + timedelta(seconds=59), minute - timedelta(minutes=3)):
        await keys.note_uses({"k1": at, "unknown": at})
    found = await keys.find_listed_key("k1")
    assert found is not None
    assert found.last_used_at == minute


async def test_a_use_in_the_same_minute_writes_nothing(world: PostgresWorld, dsn: str) -> None:
    """Whatever the number of shards, the row of a busy key is written once a minute."""
    keys = world.stores.keys
    await keys.create_key(_record("k1", "Accounts"))
    written = []
    for second in (1, 30, 61):
        await keys.note_uses({"k1": SLOT + timedelta(seconds=second)})
        rows = await trio.to_thread.run_sync(fetch, dsn, "SELECT xmin::text AS writer FROM keys")
        written += [row["writer"] for row in rows]
    assert written[0] == written[1] != written[2]


def _record(key_id: str, name: str, **changes: Any) -> KeyRecord:
    plain = KeyRecord(key_id, name, b"hash", frozenset({"read"}), None, None, None)
    return plain._replace(**changes)
