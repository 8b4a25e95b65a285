"""Rows that another transaction locks: a unit that needs one gives up soon and names the row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from domain.cycles import CycleEnd, CycleOutcome
from domain.deferral import CONNECTION, CYCLE, DEVICE, EXTERNAL, claim_of
from domain.model import ConnectionFact, ConnectionFactKind, CursorAdvance
from domain.schedule import cycle_id
from ports.ingest import RowsLocked
from tests.statements import named
from tests.storage.contract.cast import HARBOUR, ISLAND, slot, submission

if TYPE_CHECKING:
    from domain.deferral import Key
    from domain.model import Submission
    from tests.storage.contract.cast import World

CYCLE_ID = cycle_id(slot())
CASES: list[tuple[str, str, Key]] = [
    ("device_state", "bus-1", (DEVICE, HARBOUR, "bus-1")),
    ("device_state", "bus-1", (EXTERNAL, HARBOUR, "steady", "x-bus-1")),
    ("snapshots", "bus-1", (DEVICE, HARBOUR, "bus-1")),
    ("snapshots", "bus-1", (EXTERNAL, HARBOUR, "steady", "x-bus-1")),
    ("connection_state", "steady", (CONNECTION, HARBOUR, "steady")),
    ("poll_cycles", CYCLE_ID, (CYCLE, HARBOUR, CYCLE_ID)),
]


def needing(world: World, key: Key) -> Submission:
    at = world.ago(minutes=3)
    match key[0]:
        case "device":
            return submission(world.update("bus-1", at, soc_percent=50.0))
        case "external":
            return submission(
                world.update("bus-1", at, soc_percent=50.0, device_id=None, external_id="x-bus-1")
            )
        case "connection":
            return submission(cursor=CursorAdvance(HARBOUR, "steady", "page-1"))
        case _:
            return submission(
                cycle=CycleEnd(slot(), CYCLE_ID, world.now, CycleOutcome.COMPLETED, {})
            )


@pytest.mark.parametrize(("table", "name", "key"), CASES)
async def test_a_unit_with_a_locked_row_writes_nothing_and_names_it(
    world: World, table: str, name: str, key: Key
) -> None:
    await world.start(slot())
    needs, other = (
        needing(world, key),
        submission(world.update("bus-2", world.ago(minutes=3), soc_percent=1.0)),
    )
    async with world.inside.holding(table, HARBOUR, name):
        with trio.fail_after(5), pytest.raises(RowsLocked, match="55P03"):
            await world.commit(other, needs)
        rows = claim_of(needs).rows | claim_of(other).rows
        assert set(await world.stores.ingest.find_locked(rows)) == {key}
        await world.commit(other)
    assert await world.stores.ingest.find_locked(rows) == {}
    await world.commit(needs)
    assert await world.sequences("bus-2") == [1]
    assert await world.stores.ingest.load_last_unit(world.session) == 3


async def test_every_name_by_which_a_locked_row_was_asked_for_is_told(world: World) -> None:
    by_id, by_external = (DEVICE, HARBOUR, "bus-1"), (EXTERNAL, HARBOUR, "steady", "x-bus-1")
    others: list[Key] = [
        (DEVICE, ISLAND, "bus-1"),
        (DEVICE, HARBOUR, "bus-2"),
        (EXTERNAL, HARBOUR, "slow", "x-bus-1"),
        (DEVICE, HARBOUR, "nobody"),
        (DEVICE, HARBOUR, "a\x00b"),
        (EXTERNAL, HARBOUR, "steady", "a\ud800"),
        (CONNECTION, HARBOUR, "steady"),
        (CYCLE, HARBOUR, "none"),
    ]
    async with world.inside.holding("device_state", HARBOUR, "bus-1"):
        locked = await world.stores.ingest.find_locked([by_id, by_external, *others])
        again = await world.stores.ingest.find_locked([by_id])
    assert locked.keys() == {by_id, by_external}
    assert set(again.values()) == set(locked.values())  # the same transaction still holds it
    async with world.inside.holding("device_state", HARBOUR, "bus-1"):
        assert set((await world.stores.ingest.find_locked([by_id])).values()) != set(
            locked.values()
        )


async def test_asking_changes_nothing_and_holds_nothing(world: World) -> None:
    await world.start(slot())
    await world.send(world.update("bus-1", world.ago(minutes=3), soc_percent=50.0))
    rows = {key for *_, key in CASES}
    assert await world.stores.ingest.find_locked(rows) == {}
    at = world.ago(minutes=2)
    await world.commit(
        submission(
            world.update("bus-1", at, soc_percent=51.0),
            statements=(named(HARBOUR, ("bus-1",), at),),
            facts=(ConnectionFact(HARBOUR, "steady", ConnectionFactKind.CALL_SUCCEEDED, at),),
        )
    )
    assert await world.sequences("bus-1") == [2, 1]
