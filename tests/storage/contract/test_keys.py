"""API keys as stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ports.keys import KeyRecord
from tests.storage.contract.cast import HARBOUR

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


async def test_the_same_key_again_replaces_what_is_stored(world: PostgresWorld) -> None:
    record = KeyRecord("k1", "Accounts", b"old", frozenset({"read"}), None, None, None)
    renewed = KeyRecord(
        "k1", "Books", b"new", frozenset({"ingest"}), frozenset({HARBOUR}), world.now, world.now
    )
    for each in (record, renewed):
        await world.stores.keys.create_key(each)
    assert await world.stores.keys.find_key("k1") == renewed
