"""The columns of a unit's statements: what many events share, and columns of nothing but nulls."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from domain.model import Ownership
from tests.storage.contract.cast import HARBOUR, HARBOUR_LEASE, submission

if TYPE_CHECKING:
    from tests.storage.contract.cast import World


async def test_each_event_has_the_source_it_came_from(world: World) -> None:
    owned = Ownership(HARBOUR_LEASE, world.session.shard_id, world.session.epoch, 12)
    news = [
        world.update("bus-1", world.ago(minutes=minute), soc_percent=50.0, trace_id=f"t-{minute}")
        for minute in (9, 8, 7)
    ]
    await world.commit(submission(news[0], news[1], ownership=owned), submission(news[2]))
    events = await world.stores.reads.list_events(HARBOUR, "bus-1", before=None, limit=9)
    assert [(event.trace_id, event.resource, event.token, event.sequence) for event in events] == [
        ("t-7", None, None, 3),
        ("t-8", HARBOUR_LEASE, 12, 2),
        ("t-9", HARBOUR_LEASE, 12, 1),
    ]
    assert {event.provider_id for event in events} == {"steady"}
    assert {event.assignment for event in events} == {1}


async def test_the_nulls_of_some_devices_leave_the_others_alone(world: World) -> None:
    at = world.ago(minutes=3)
    held_back = world.update("bus-2", at, soc_percent=50.0, reception_at=at)
    outdated = world.update("tram-1", at - timedelta(hours=1), soc_percent=50.0)
    await world.send(world.update("tram-1", at - timedelta(minutes=1), soc_percent=60.0))
    await world.send(world.update("bus-1", at, soc_percent=50.0), held_back, outdated)
    found = [await world.device_row(name) for name in ("bus-1", "bus-2", "tram-1")]
    assert [(row.held_back_seconds, row.last_outdated_at) for row in found] == [
        (None, None),
        (0.0, None),
        (None, at - timedelta(hours=1)),
    ]


async def test_a_unit_of_updates_alone_reads_no_start_of_statements(world: World) -> None:
    alone = await world.inside.ask("lock_devices", [HARBOUR], ["bus-1"], [])
    beside = await world.inside.ask("lock_devices", [HARBOUR], ["bus-1"], [False])
    fields = type(await world.device_row("bus-1"))
    without, with_statements = fields._make(alone[0]), fields._make(beside[0])
    assert (without.document, without.statements_count_from) == ("{}", None)
    assert (with_statements.document, with_statements.statements_count_from is None) == (
        None,
        False,
    )
