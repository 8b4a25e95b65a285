"""Partitions ahead and retention behind."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from domain.model import ConnectionFact, ConnectionFactKind
from ports.ingest import UnitPoisoned
from ports.upkeep import Retention
from tests.conftest import database_copied
from tests.storage.contract.cast import HARBOUR, slot, submission

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.storage.contract.cast import World


@pytest.fixture
def dsn(postgres_server: str, postgres_template: str) -> Iterator[str]:
    """A migrated database of this test's own, because partitions come and go."""
    with database_copied(postgres_server, postgres_template) as dsn:
        yield dsn


async def test_partitions_are_made_once_ahead_and_without_a_gap(world: World) -> None:
    assert await world.stores.reads.check_ready() == 1
    assert await world.stores.upkeep.ensure_partitions(days_ahead=3) == 3
    assert await world.stores.upkeep.ensure_partitions(days_ahead=2) == 3
    assert await world.stores.reads.check_ready() == 3


async def test_retention_drops_only_old_cycles_that_are_over(
    world: World,
) -> None:
    days = [world.now - timedelta(days=age) for age in (31, 29)]
    await world.stores.cycles.record_missed(world.session, HARBOUR, days)
    await world.start(slot()._replace(slot_start_at=days[0] - timedelta(minutes=5)))
    await world.send(world.update("bus-77", world.now, soc_percent=50.0))
    dropped = await world.stores.upkeep.drop_expired(Retention())
    assert {table: rows for table, rows in dropped.items() if rows} == {"poll_cycles": 1}
    cycles = await world.stores.reads.list_cycles(HARBOUR, before=None, limit=10)
    assert [cycle.outcome for cycle in cycles] == ["missed", "running"]
    assert (
        len(await world.stores.reads.list_rejections(HARBOUR, before=None, reason=None, limit=10))
        == 1
    )


async def test_retention_drops_edges_and_quarantine(world: World) -> None:
    for kind in (ConnectionFactKind.STREAM_OPENED, ConnectionFactKind.STREAM_CLOSED):
        await world.commit(submission(facts=(ConnectionFact(HARBOUR, "steady", kind, world.now),)))
    await world.stores.ingest.quarantine(
        world.session,
        3,
        submission(world.update("bus-1", world.now, soc_percent=50.0)),
        UnitPoisoned("22021", "a NUL"),
    )
    young = await world.stores.upkeep.drop_expired(Retention())
    assert set(young.values()) == {0}
    await world.inside.let_pass(91 * 86_400)
    old = await world.stores.upkeep.drop_expired(Retention())
    assert (old["connection_events"], old["quarantine"]) == (1, 1)
    assert await world.inside.quarantined() == []
    assert await world.inside.edges() == [("steady", "stream_closed", None)]
