"""The ledger's rows: one for each device, reason and signal an hour, counted up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain.model import InvalidItem, Reason
from domain.refusals import RefusalCounts
from tests.storage.contract.cast import HARBOUR, submission

if TYPE_CHECKING:
    from domain.model import Submission
    from ports.reads import RejectionRow
    from tests.storage.contract.cast import World

TOO_FULL = 102.5


async def commit(world: World, counts: RefusalCounts, *submissions: Submission) -> None:
    """Commit the next unit and confirm its counts, as the ingest actor does."""
    world.unit += 1
    await world.stores.ingest.commit_unit(world.session, world.unit, submissions, counts)
    counts.confirm()


async def refuse(world: World, counts: RefusalCounts, minutes: float) -> None:
    """Send a refused state of charge beside a good speed."""
    at = world.ago(minutes=minutes)
    await commit(
        world, counts, submission(world.update("bus-1", at, soc_percent=TOO_FULL, speed_kmh=9.0))
    )


async def rows(world: World) -> list[RejectionRow]:
    return await world.stores.reads.list_rejections(HARBOUR, before=None, reason=None, limit=99)


async def test_a_refused_reading_of_an_accepted_update_has_a_row(world: World) -> None:
    await refuse(world, RefusalCounts(), 5)
    (row,) = await rows(world)
    assert (row.device_id, row.outcome, row.reason, row.signal, row.occurrences) == (
        "bus-1",
        "rejected",
        "invalid",
        "soc_percent",
        1,
    )
    assert row.hour == row.recorded_at.replace(minute=0, second=0, microsecond=0)
    assert b"102.5" in (row.sample or b"")


async def test_refusals_of_an_hour_are_one_row_with_the_first_sample(world: World) -> None:
    counts = RefusalCounts()
    for minutes in (9, 8, 7):
        await refuse(world, counts, minutes)
    (first,) = await rows(world)
    assert (first.occurrences, counts.waiting) == (1, 2)
    counts.writes_all = True
    await commit(world, counts)
    (row,) = await rows(world)
    assert row == first._replace(occurrences=3, last_at=row.last_at)
    assert (row.last_at >= first.last_at, counts.waiting) == (True, 0)


async def test_two_processes_count_into_one_row(world: World) -> None:
    for minutes in (9, 8):
        await refuse(world, RefusalCounts(), minutes)
    (row,) = await rows(world)
    assert row.occurrences == 2


async def test_items_of_one_record_are_counted_by_signal(world: World) -> None:
    item = InvalidItem(
        HARBOUR,
        "steady",
        "x-bus-1",
        Reason.MALFORMED,
        "speed is text",
        b"{}",
        signal="speed_kmh",
        refused_whole=False,
    )
    await commit(world, RefusalCounts(), submission(invalid=(item, item)))
    (row,) = await rows(world)
    assert (row.device_id, row.reason, row.signal, row.occurrences) == (
        "bus-1",
        "malformed",
        "speed_kmh",
        2,
    )
    assert (await world.device_row("bus-1")).last_rejected_at is None
