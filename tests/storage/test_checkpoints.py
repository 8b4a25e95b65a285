"""What a device's dropped events said is kept: any instant since can be told from what is kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from domain.registry import Swap
from ports.upkeep import Retention
from storage.checkpoints import checkpoint_events, first_key
from storage.documents import read_values
from storage.faults import LockTimeout
from storage.upkeep import partition_name
from tests.storage.fixtures import WORKSPACE, populate
from tests.storage.holding import holding

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from domain.held import Held
    from storage.gateway import Connection, Database
    from tests.conftest import Stores
OLD_DAY = (datetime.now(UTC) - timedelta(days=100)).date()
STATE = "version, last_update_received_at, last_observed_at, last_changed_at, assignment"


def values_and_times(document: Mapping[str, Held]) -> dict[str, tuple[Any, datetime]]:
    return {name: (held.value, held.observed_at) for name, held in document.items()}


class Past:
    """Looks at a database, and makes its events older."""

    def __init__(self, database: Database, stores: Stores) -> None:
        self._database = database
        self._stores = stores

    async def fetch(self, statement: str, *args: Any) -> list[Any]:
        async def work(connection: Connection) -> list[Any]:
            return await connection.fetch(statement, *args)

        return await self._database.run(work)

    async def make_partition(self, day: Any = OLD_DAY) -> None:
        await self._database.run(
            lambda connection: connection.execute(
                f"CREATE TABLE {partition_name(day)} PARTITION OF events "
                f"FOR VALUES FROM ('{day}') TO ('{day + timedelta(days=1)}')"
            )
        )

    async def make_old(self, up_to: int, day: Any = OLD_DAY) -> None:
        """Move the events up to this sequence to a partition of a hundred days ago."""
        await self.make_partition(day)
        begins_at = datetime(day.year, day.month, day.day, tzinfo=UTC)
        await self._database.run(
            lambda connection: connection.execute(
                "UPDATE events SET recorded_at = $1::timestamptz + make_interval(secs => sequence) "
                "WHERE sequence <= $2",
                begins_at,
                up_to,
            )
        )

    async def drop(self) -> int:
        return (await self._stores.upkeep.drop_expired(Retention()))["event_partitions"]

    async def state(self, table: str, device_id: str = "bus-1") -> tuple[Any, ...]:
        (row,) = await self.fetch(f"SELECT {STATE} FROM {table} WHERE device_id = $1", device_id)
        return tuple(row)

    async def document(self, table: str, device_id: str = "bus-1") -> Mapping[str, Held]:
        (row,) = await self.fetch(
            f"SELECT document::text FROM {table} WHERE device_id = $1", device_id
        )
        return read_values(row["document"])

    async def rebuild(self) -> dict[str, tuple[Any, datetime]]:
        """Return values and times of bus 1, from its checkpoint and the events that are kept."""
        ((version, document),) = await self.fetch(
            "SELECT version, document::text FROM event_checkpoints WHERE device_id = 'bus-1'"
        )
        told = values_and_times(read_values(document))
        events = await self._stores.reads.list_events(WORKSPACE, "bus-1", before=None, limit=99)
        for event in reversed(events):
            assert event.sequence > version
            told.update(event.readings)
        return told


@pytest.fixture
def past(database: Database, postgres_stores: Stores) -> Past:
    return Past(database, postgres_stores)


ROUTE: Sequence[dict[str, Any]] = (
    {"soc_percent": 50.0, "odometer_km": 1000.5, "charging": True},
    {"soc_percent": 51.0, "position": (52.1, 5.1)},
    {"soc_percent": 51.0, "charging_status": "CHARGING_AC"},
    {"speed_kmh": 20.0},
)


async def test_a_checkpoint_is_the_device_after_its_dropped_events(
    postgres_stores: Stores, past: Past
) -> None:
    cast = await populate(postgres_stores)
    for step, values in enumerate(ROUTE[:3]):
        await cast.send(cast.update("bus-1", step * 60, **values))
    then = await past.document("snapshots"), await past.state("device_state")
    await cast.send(cast.update("bus-1", 240, **ROUTE[3]))
    await past.make_old(up_to=3)
    assert await past.drop() == 1
    kept = await past.document("event_checkpoints"), await past.state("event_checkpoints")
    assert kept == then
    assert kept[0]["odometer_km"].value == 1000.5, "the last event had no odometer"


@pytest.mark.parametrize("chunk", [1, 2, 5_000])
async def test_the_present_is_rebuilt_from_checkpoint_and_events(
    postgres_stores: Stores, past: Past, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.checkpoints.CHUNK_EVENTS", chunk)
    cast = await populate(postgres_stores)
    for step, values in enumerate(ROUTE):
        await cast.send(
            cast.update("bus-1", step * 60, **values), cast.update("bus-2", step * 60, **values)
        )
    present = await past.document("snapshots")
    for up_to in (1, 3, 4):
        await past.make_old(up_to, OLD_DAY - timedelta(days=up_to))
        assert await past.drop() == 1
        told = await past.rebuild()
        assert told == values_and_times(present)
    assert await past.document("event_checkpoints", "bus-2") == present
    assert await past.state("event_checkpoints") == await past.state("device_state")


async def test_a_checkpoint_has_no_value_of_an_earlier_assignment(
    postgres_stores: Stores, past: Past
) -> None:
    cast = await populate(postgres_stores)
    await cast.send(cast.update("bus-1", 0, soc_percent=50.0))
    await cast.send(cast.update("bus-1", 60, odometer_km=7.0))
    swap = Swap(external_id="x-new")
    await postgres_stores.registry.swap_device(WORKSPACE, "bus-1", swap)
    now = (await past.fetch("SELECT clock_timestamp() AS now"))[0]["now"]
    later = cast.update("bus-1", 0, speed_kmh=3.0)._replace(received_at=now)
    await cast.send(later._replace(readings=(later.readings[0]._replace(observed_at=now),)))
    await past.make_old(up_to=1)
    await past.drop()
    assert set(await past.document("event_checkpoints")) == {"soc_percent"}
    await past.make_old(up_to=3, day=OLD_DAY - timedelta(days=1))
    await past.drop()
    assert set(await past.document("event_checkpoints")) == {"speed_kmh"}
    assert await past.state("event_checkpoints") == await past.state("device_state")


async def test_checkpoints_come_with_the_drop_or_not_at_all(
    postgres_stores: Stores, past: Past, database: Database
) -> None:
    cast = await populate(postgres_stores)
    await cast.send(cast.update("bus-1", 0, soc_percent=50.0))
    await past.make_old(up_to=1)
    async with holding(database, "SELECT 1 FROM events LIMIT 1"):
        with pytest.raises(LockTimeout):
            await past.drop()
    assert await past.fetch("SELECT 1 FROM event_checkpoints") == []
    assert await past.drop() == 1
    assert len(await past.fetch("SELECT 1 FROM event_checkpoints")) == 1


async def test_a_run_that_begins_anew_moves_no_checkpoint_back(
    postgres_stores: Stores, past: Past, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The chunks are written, and then a reader keeps the partition from being dropped."""
    monkeypatch.setattr("storage.checkpoints.CHUNK_EVENTS", 1)
    cast = await populate(postgres_stores)
    for step, percent in enumerate((50.0, 51.0, 51.0)):
        await cast.send(cast.update("bus-1", step * 60, soc_percent=percent))
    present = await past.document("snapshots"), await past.state("device_state")
    await past.make_old(up_to=3)
    async with holding(database, "SELECT 1 FROM events LIMIT 1"):
        with pytest.raises(LockTimeout):
            await past.drop()
    begins_at = datetime(OLD_DAY.year, OLD_DAY.month, OLD_DAY.day, tzinfo=UTC)
    bounds = (begins_at, begins_at + timedelta(days=1), first_key(begins_at))
    assert await database.run(lambda connection: checkpoint_events(connection, *bounds))
    kept = await past.document("event_checkpoints"), await past.state("event_checkpoints")
    assert kept == present
    assert await past.drop() == 1
    assert await past.document("event_checkpoints") == present[0]
