"""Events of before and events of today say the same to every reader."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from domain.device_day import DayQuery
from domain.indicators import HourPart
from domain.model import Ownership, Reading
from domain.resource import workspace_resource
from domain.trends import TrendQuery
from ports.ingest import UnitPoisoned
from storage.checkpoints import checkpoint_events, first_key
from storage.indicators import count_spans
from tests.storage.fixtures import WORKSPACE, Cast, populate, submission

if TYPE_CHECKING:
    from storage.gateway import Connection, Database
    from tests.conftest import Stores

HEXADECIMAL = "4bf92f3577b34da6a3ce929d0e0e4736"
# Writes each event as release 0.2 did.
AS_BEFORE = """
    UPDATE events e
    SET readings = r.readings, trace_id = r.trace_id, resource = r.resource,
        signals = NULL, observed_at = NULL, trace = NULL
    FROM readable_events r
    WHERE (r.workspace_id, r.device_id, r.sequence) = (e.workspace_id, e.device_id, e.sequence)
"""


async def fetch(database: Database, statement: str, *args: Any) -> list[Any]:
    async def work(connection: Connection) -> list[Any]:
        return [tuple(row) for row in await connection.fetch(statement, *args)]

    return await database.run(work)


@pytest.fixture
async def cast(postgres_stores: Stores) -> Cast:
    """Return a fleet with a few updates of several times, positions and claims."""
    cast = await populate(postgres_stores)
    owner = Ownership(workspace_resource(WORKSPACE), *cast.session, 7)
    await cast.commit(
        submission(
            cast.update("bus-1", 0, soc_percent=50.5, position=(52.1, 5.1), trace_id=HEXADECIMAL),
            cast.update("bus-1", 1, charging=True, charging_status="CHARGING_AC"),
            ownership=owner,
        ),
        submission(cast.update("bus-2", 2, odometer_km=1000, position=(52.2, 5.2))),
    )
    of_three_times = (
        Reading("soc_percent", 51, cast.at(59)),
        Reading("position", (52.3, 5.3), cast.at(58.000001)),
        Reading("speed_kmh", 20.25, cast.at(57)),
    )
    elsewhere = owner._replace(resource=workspace_resource("elsewhere"))
    await cast.commit(
        submission(cast.update("bus-1", 60)._replace(readings=of_three_times), ownership=elsewhere)
    )
    return cast


def day_of(cast: Cast) -> tuple[Any, Any]:
    return cast.noon - timedelta(hours=1), cast.noon + timedelta(hours=2)


async def ask_everything(cast: Cast, database: Database) -> dict[str, Any]:
    """Return what each reader of events says of the fleet."""
    reads, (begins_at, ends_at) = cast.stores.reads, day_of(cast)
    told: dict[str, Any] = {}
    for bus in ("bus-1", "bus-2"):
        told[f"events of {bus}"] = await reads.list_events(WORKSPACE, bus, before=None, limit=9)
        day = await reads.load_device_day(WORKSPACE, bus, DayQuery(begins_at, ends_at, 3))
        assert day is not None
        told[f"day of {bus}"] = day.signals
        found = await reads.get_snapshot(WORKSPACE, bus)
        assert found is not None
        for signal, held in found[1].document.items():
            told[f"behind {bus} {signal}"] = await reads.find_event_behind(
                WORKSPACE, bus, signal, held
            )
    for signal in ("soc_percent", "charging_status", "odometer_km"):
        query = TrendQuery(["bus-1", "bus-2"], [(begins_at, ends_at)], signal)
        told[f"trend of {signal}"] = sorted(await reads.load_trends(WORKSPACE, query))
    told |= await database.run(lambda connection: _compute(connection, begins_at, ends_at))
    return told


async def _compute(connection: Connection, begins_at: Any, ends_at: Any) -> dict[str, Any]:
    """Return lags, and the checkpoints that these events make; leaves nothing behind."""
    part = HourPart(begins_at, ends_at)
    (lags,) = await count_spans(connection, WORKSPACE, [part])
    await checkpoint_events(connection, begins_at, ends_at, first_key(begins_at))
    made = await connection.fetch("SELECT * FROM event_checkpoints ORDER BY device_id")
    await connection.execute("DELETE FROM event_checkpoints")
    return {"lags": lags, "checkpoints": [tuple(row) for row in made]}


async def test_every_reader_says_the_same_of_events_of_before(
    cast: Cast, database: Database
) -> None:
    told = await ask_everything(cast, database)
    assert told["lags"]
    assert len(told["checkpoints"]) == 2
    assert None not in told.values()
    await database.run(lambda connection: connection.execute(AS_BEFORE))
    assert await ask_everything(cast, database) == told


async def test_events_in_both_forms_are_one_history(cast: Cast, database: Database) -> None:
    told = await ask_everything(cast, database)
    await database.run(lambda connection: connection.execute(f"{AS_BEFORE} AND e.sequence = 1"))
    assert await ask_everything(cast, database) == told


async def test_the_view_shows_events_in_the_form_of_before(cast: Cast, database: Database) -> None:
    columns = "sequence, readings::text, trace_id, resource, observed_at"
    statement = f"SELECT {columns} FROM readable_events WHERE device_id = 'bus-1' ORDER BY sequence"
    shown = await fetch(database, statement)
    assert [row[2:4] for row in shown] == [
        (HEXADECIMAL, "workspace:harbour"),
        ("trace-1", "workspace:harbour"),
        ("trace-1", "workspace:elsewhere"),
    ]
    assert [row[4] for row in shown] == [cast.at(0), cast.at(1), cast.at(59)]
    await database.run(lambda connection: connection.execute(AS_BEFORE))
    assert await fetch(database, statement) == shown


async def test_an_event_of_five_signals_takes_240_bytes(cast: Cast, database: Database) -> None:
    five = {"soc_percent": 55.5, "odometer_km": 12345.5, "speed_kmh": 33.2, "position": (52.1, 5.1)}
    owner = Ownership(workspace_resource(WORKSPACE), *cast.session, 7)
    update = cast.update("bus-3", 90, **five, trace_id=HEXADECIMAL)
    await cast.commit(submission(update, ownership=owner))
    ((size,),) = await fetch(
        database, "SELECT pg_column_size(e.*) FROM events e WHERE device_id = 'bus-3'"
    )
    assert size <= 240


@pytest.mark.parametrize(("trace_id", "sqlstate"), [("\x00", "22021"), ("\ud800", "22000")])
async def test_poison_in_a_copy_leaves_the_connection_in_order(
    cast: Cast, database: Database, trace_id: str, sqlstate: str
) -> None:
    opened = database.statistics().opened
    poison = cast.update("bus-3", 90, soc_percent=1.0, trace_id=trace_id)
    with pytest.raises(UnitPoisoned) as poisoned:
        await cast.send(poison)
    assert poisoned.value.sqlstate == sqlstate
    assert await cast.send(cast.update("bus-3", 91, soc_percent=1.0)) == ["accepted"]
    assert database.statistics().opened == opened
