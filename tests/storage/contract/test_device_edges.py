"""Edges of devices: a row when something begins or ends, and none while it lasts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain.model import ProviderStatement, StatementKind
from ports.upkeep import Retention
from tests.storage.contract.cast import HARBOUR, submission

if TYPE_CHECKING:
    from tests.storage.contract.cast import World

NAMED, LEFT_OUT, ERROR = StatementKind.NAMED, StatementKind.LEFT_OUT, StatementKind.ERROR


async def state(world: World, kind: StatementKind, minutes: float, detail: str = "") -> None:
    """Let the provider say this about bus 1, so many minutes ago."""
    at = world.ago(minutes=minutes)
    said = ProviderStatement(HARBOUR, kind, ("bus-1",), at, at, detail or None)
    await world.commit(submission(statements=(said,)))


async def kinds(world: World) -> list[str]:
    return [kind for _, kind, _, _ in await world.inside.device_edges()]


async def test_a_statement_of_another_kind_is_an_edge(world: World) -> None:
    minutes = iter(range(19, 0, -1))
    for kind in (NAMED, NAMED, LEFT_OUT, LEFT_OUT, NAMED, ERROR, ERROR):
        await state(world, kind, next(minutes), "no such vehicle" if kind is ERROR else "")
    assert await world.inside.device_edges() == [
        ("bus-1", "named", None, world.ago(minutes=19)),
        ("bus-1", "left_out", None, world.ago(minutes=17)),
        ("bus-1", "named", None, world.ago(minutes=15)),
        ("bus-1", "error", "no such vehicle", world.ago(minutes=14)),
    ]


async def test_a_refusal_has_a_begin_with_its_reason_and_an_end(world: World) -> None:
    for minutes, percent in ((19, 50), (18, 500), (17, 500), (16, 500), (15, 51), (14, 52)):
        await world.send(world.update("bus-1", world.ago(minutes=minutes), soc_percent=percent))
    assert await world.inside.device_edges() == [
        ("bus-1", "refused", "invalid", world.ago(minutes=18)),
        ("bus-1", "accepted", None, world.ago(minutes=15)),
    ]


async def test_a_device_refused_from_its_first_record_has_an_edge(world: World) -> None:
    for minutes in (19, 18):
        await world.send(world.update("bus-1", world.ago(minutes=minutes), soc_percent=500))
    assert await kinds(world) == ["refused"]


async def test_outdated_data_has_a_begin_and_an_end(world: World) -> None:
    await world.send(world.update("bus-1", world.ago(minutes=10), soc_percent=50))
    for minutes, received in ((19, 9), (18, 8)):
        old = world.update("bus-1", world.ago(minutes=minutes), soc_percent=40 + minutes)
        await world.send(old._replace(received_at=world.ago(minutes=received)))
    await world.send(world.update("bus-1", world.ago(minutes=7), soc_percent=51))
    assert await kinds(world) == ["outdated", "accepted"]


async def test_a_state_that_lasts_writes_no_row(world: World) -> None:
    """A good bus, and one that is refused and left out, over many cycles: the beginnings only."""
    for minutes in range(40, 0, -1):
        at = world.ago(minutes=minutes)
        good = world.update("bus-1", at, soc_percent=minutes)
        bad = world.update("bus-2", at, soc_percent=500)
        said = (
            ProviderStatement(HARBOUR, NAMED, ("bus-1",), at, at),
            ProviderStatement(HARBOUR, LEFT_OUT, ("bus-2",), at, at),
        )
        await world.commit(submission(good, bad, statements=said))
    assert sorted((device, kind) for device, kind, _, _ in await world.inside.device_edges()) == [
        ("bus-1", "named"),
        ("bus-2", "left_out"),
        ("bus-2", "refused"),
    ]


async def test_the_newest_old_edge_of_each_fact_is_kept(world: World) -> None:
    """It says what held when the kept days begin."""
    await state(world, NAMED, 19)
    await state(world, LEFT_OUT, 18)
    for minutes, percent in ((17, 50), (16, 500), (15, 51)):
        await world.send(world.update("bus-1", world.ago(minutes=minutes), soc_percent=percent))
    kept = Retention(edge_days=10)
    assert (await world.stores.upkeep.drop_expired(kept))["device_events"] == 0
    await world.inside.let_pass(11 * 86_400)
    assert (await world.stores.upkeep.drop_expired(kept))["device_events"] == 2
    assert await kinds(world) == ["left_out", "accepted"]
    assert (await world.stores.upkeep.drop_expired(kept))["device_events"] == 0


async def test_an_edge_is_kept_until_the_next_one_is_old_too(world: World) -> None:
    await state(world, NAMED, 19)
    await state(world, LEFT_OUT, -8 * 24 * 60)
    await world.inside.let_pass(11 * 86_400)
    kept = Retention(edge_days=10)
    assert (await world.stores.upkeep.drop_expired(kept))["device_events"] == 0
    await world.inside.let_pass(8 * 86_400)
    assert (await world.stores.upkeep.drop_expired(kept))["device_events"] == 1
    assert await kinds(world) == ["left_out"]
