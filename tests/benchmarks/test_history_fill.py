"""Filled history looks like history that the product wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.history_fill import fill
from benchmarks.place import fetch
from benchmarks.progress import Progress
from tests.storage.fixtures import WORKSPACE, populate

if TYPE_CHECKING:
    from tests.conftest import Stores

PER_DEVICE = 6  # three on each of two days
COUNTED = (
    "SELECT device_id, max(sequence), count(*) FROM events GROUP BY device_id ORDER BY device_id"
)
VERSIONS = """
    SELECT device_id, s.version, n.version FROM device_state s JOIN snapshots n USING (device_id)
    ORDER BY device_id"""


async def test_filled_events_are_the_newest_one_at_other_times(
    postgres_stores: Stores, dsn: str
) -> None:
    cast = await populate(postgres_stores)
    await cast.send(
        cast.update("bus-1", 0, soc_percent=50.0), cast.update("bus-2", 5, soc_percent=7)
    )
    await cast.send(cast.update("bus-1", 9, soc_percent=51.0))
    assert await fill(dsn, days=2, per_day=3, progress=Progress()) == 2 * PER_DEVICE

    events = await postgres_stores.reads.list_events(WORKSPACE, "bus-1", before=None, limit=100)
    sample, filled = events[0], events[2:]
    assert [event.sequence for event in events] == list(range(PER_DEVICE + 2, 0, -1))
    assert {event.readings["soc_percent"][0] for event in filled} == {51.0}
    lags = {event.recorded_at - event.received_at for event in filled}
    assert lags == {sample.recorded_at - sample.received_at}
    times: dict[str, Any] = {"sequence": 0, "recorded_at": 0, "received_at": 0, "readings": 0}
    assert {event._replace(**times) for event in filled} == {sample._replace(**times)}


async def test_a_filled_device_counts_its_events_and_a_silent_none(
    postgres_stores: Stores, dsn: str
) -> None:
    cast = await populate(postgres_stores)
    await cast.send(cast.update("bus-1", 0, soc_percent=50.0))
    await fill(dsn, days=2, per_day=3, progress=Progress())
    assert await fetch(dsn, COUNTED) == [("bus-1", PER_DEVICE + 1, PER_DEVICE + 1)]
    reported, silent = ("bus-1", PER_DEVICE + 1, PER_DEVICE + 1), ("bus-2", 0, 0)
    assert (await fetch(dsn, VERSIONS))[:2] == [reported, silent]
    assert await cast.send(cast.update("bus-1", 9, soc_percent=51.0)) == ["accepted"]
    assert (await fetch(dsn, COUNTED))[0][1:] == (PER_DEVICE + 2, PER_DEVICE + 2)
