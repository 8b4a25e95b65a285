"""Quarantine over HTTP: the list, and replays through the same acceptance as every update.

PostgreSQL refuses the events of bus-1 in these tests, until the cause is mended.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from api.app import create_app
from domain.model import CanonicalUpdate, Reading, Submission
from domain.position import POSITION
from ports.ingest import UnitPoisoned
from runtime.mailbox import LaneFull
from tests.api.harness import instant, later
from tests.api.standing_time import START

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.api.harness import Answer, Harness
    from tests.api.standing_time import FrozenDatabase

NORTH = "/workspaces/north/quarantine"
BREAK = """
    CREATE FUNCTION public.refuse_bus_1() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW.device_id = 'bus-1' THEN
            RAISE EXCEPTION 'this value is refused' USING ERRCODE = '22P05';
        END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER refuse_bus_1 BEFORE INSERT ON public.events
        FOR EACH ROW EXECUTE FUNCTION public.refuse_bus_1();
"""
MEND = "DROP FUNCTION IF EXISTS public.refuse_bus_1() CASCADE"
HOUR = 3600


@pytest.fixture
async def broken(frozen: FrozenDatabase) -> AsyncIterator[FrozenDatabase]:
    """A database that refuses the events of bus-1."""
    await execute(frozen, BREAK)
    yield frozen
    await execute(frozen, MEND)


async def execute(database: FrozenDatabase, statements: str) -> None:
    await database.run(lambda connection: connection.execute(statements))


async def entries(harness: Harness) -> list[dict[str, Any]]:
    return [item for page in await harness.walk(NORTH, key="admin") for item in page["items"]]


async def set_aside(harness: Harness, **signals: Any) -> str:
    """Send an update that the database refuses; return its entry's number."""
    (result,) = (await harness.report("bus-1", **(signals or {"soc_percent": 50}))).json["results"]
    assert (result["outcome"], result["reason"]) == ("quarantined", "data_error")
    number: str = (await entries(harness))[0]["quarantine_id"]
    return number


async def replay(harness: Harness, number: str, key: str = "admin") -> Answer:
    return await harness.ask("POST", f"{NORTH}/{number}/replay", key=key)


async def outcome_of(harness: Harness, number: str) -> tuple[str, str | None, int | None]:
    answer = await replay(harness, number)
    assert answer.status == 200, answer.body
    assert answer.json["quarantine_id"] == number
    result = answer.json["result"]
    return result["outcome"], result["reason"], result["version"]


async def events(harness: Harness) -> list[dict[str, Any]]:
    found = await harness.get("/workspaces/north/devices/bus-1/events")
    items: list[dict[str, Any]] = found["items"]
    return items


async def test_a_replay_is_accepted_with_its_first_arrival(
    harness: Harness, broken: FrozenDatabase
) -> None:
    number = await set_aside(harness)
    await execute(broken, MEND)
    harness.let_pass(HOUR)
    assert await outcome_of(harness, number) == ("accepted", None, 1)
    snapshot = await harness.get("/workspaces/north/snapshots/bus-1")
    assert instant(snapshot["last_update_received_at"]) == START
    assert snapshot["freshness_age_seconds"] == HOUR
    assert snapshot["values"]["soc_percent"]["value"] == 50
    (event,) = await events(harness)
    assert (event["sequence"], instant(event["received_at"])) == (1, START)
    assert instant(event["recorded_at"]) == later(HOUR)


async def test_a_replay_leaves_newer_data_and_its_arrival_alone(
    harness: Harness, broken: FrozenDatabase
) -> None:
    number = await set_aside(harness, soc_percent=50, odometer_km=7)
    await execute(broken, MEND)
    harness.let_pass(60)
    await harness.report("bus-1", soc_percent=49)
    harness.let_pass(60)
    assert await outcome_of(harness, number) == ("accepted", None, 2)
    snapshot = await harness.get("/workspaces/north/snapshots/bus-1")
    assert instant(snapshot["last_update_received_at"]) == later(60)
    values = {name: value["value"] for name, value in snapshot["values"].items()}
    assert values == {"soc_percent": 49, "odometer_km": 7}


async def test_a_second_replay_is_a_duplicate_and_changes_nothing(
    harness: Harness, broken: FrozenDatabase
) -> None:
    number = await set_aside(harness)
    await execute(broken, MEND)
    assert await outcome_of(harness, number) == ("accepted", None, 1)
    snapshot, marked = (
        await harness.get("/workspaces/north/snapshots/bus-1"),
        await entries(harness),
    )
    assert await outcome_of(harness, number) == ("duplicate", None, 1)
    assert await harness.get("/workspaces/north/snapshots/bus-1") == snapshot
    assert await entries(harness) == marked
    assert len(await events(harness)) == 1
    assert marked[0]["replayed"]["outcome"] == "accepted"


async def test_what_fails_again_stays_one_entry_with_its_outcome(
    harness: Harness, broken: FrozenDatabase
) -> None:
    number = await set_aside(harness)
    harness.let_pass(5)
    assert await outcome_of(harness, number) == ("quarantined", "data_error", None)
    (entry,) = await entries(harness)
    assert (entry["quarantine_id"], instant(entry["recorded_at"])) == (number, START)
    assert (entry["replayed"]["outcome"], entry["replayed"]["reason"]) == (
        "quarantined",
        "data_error",
    )
    assert instant(entry["replayed"]["at"]) == later(5)
    await execute(broken, MEND)
    assert await outcome_of(harness, number) == ("accepted", None, 1)
    (entry,) = await entries(harness)
    assert entry["replayed"]["outcome"] == "accepted"


async def test_the_audit_has_each_replay_with_who_and_its_outcome(
    harness: Harness, broken: FrozenDatabase
) -> None:
    number = await set_aside(harness)
    await execute(broken, MEND)
    for _ in range(2):
        await replay(harness, number)
    listed = await harness.get("/workspaces/north/audit?kind=replay", key="control")
    shown = [
        (item["subject"], item["key_name"], item["after"]["outcome"]) for item in listed["items"]
    ]
    assert shown == [(number, "admin", "duplicate"), (number, "admin", "accepted")]
    assert {item["address"] for item in listed["items"]} == {"<local>"}
    (entry,) = await entries(harness)
    assert entry["replayed"]["who"] == listed["items"][0]["who"]


async def test_the_list_shows_entries_newest_first_in_pages(
    harness: Harness, broken: FrozenDatabase
) -> None:
    numbers = [await set_aside(harness, soc_percent=value) for value in (50, 51, 52)]
    pages = await harness.walk(f"{NORTH}?limit=2", key="admin")
    listed = [[item["quarantine_id"] for item in page["items"]] for page in pages]
    assert listed == [[numbers[2], numbers[1]], [numbers[0]]]
    entry = pages[1]["items"][0]
    assert (entry["origin"], entry["provider_id"], entry["device_id"], entry["reason"]) == (
        "http",
        "live",
        "bus-1",
        "data_error",
    )
    assert (entry["can_be_replayed"], entry["replayed"]) == (True, None)
    assert '"soc_percent",50' in entry["sample"]["text"]
    assert "this value is refused" in entry["detail"]


def collected(*readings: Reading, external_id: str = "x-bus-1") -> CanonicalUpdate:
    return CanonicalUpdate("north", "live", "bus-1", external_id, None, readings, START, "trace-1")


async def commit(harness: Harness, *updates: CanonicalUpdate) -> str:
    """Commit updates of a stream; return the newest entry's number."""
    await harness.commit(Submission("stream", "trace-1", updates))
    number: str = (await entries(harness))[0]["quarantine_id"]
    return number


async def test_what_was_collected_from_a_former_unit_blames_no_device(
    harness: Harness, broken: FrozenDatabase
) -> None:
    number = await commit(harness, collected(Reading("soc_percent", 50.0, START)))
    await execute(broken, MEND)
    harness.let_pass(60)
    swap = {"external_id": "x-new"}
    await harness.ask("POST", "/workspaces/north/devices/bus-1/swap", json=swap)
    assert await outcome_of(harness, number) == ("rejected", "unknown_device", None)
    snapshot = await harness.get("/workspaces/north/snapshots/bus-1")
    assert snapshot["last_update_received_at"] is None
    health = await harness.get("/workspaces/north/health")
    (device,) = [item for item in health["items"] if item["device_id"] == "bus-1"]
    assert device["reason"] != "updates_rejected"


async def test_a_reading_of_the_former_vehicle_is_outside_assignment(
    harness: Harness, broken: FrozenDatabase
) -> None:
    number = await commit(harness, collected(Reading("soc_percent", 50.0, START)))
    await execute(broken, MEND)
    harness.let_pass(60)
    swap = {"vehicle_id": "vehicle-9", "vehicle_name": "Bus 9"}
    await harness.ask("POST", "/workspaces/north/devices/bus-1/swap", json=swap)
    assert (await outcome_of(harness, number))[:2] == ("rejected", "outside_assignment")


async def test_a_position_and_times_of_arrival_are_kept_exactly(
    harness: Harness, broken: FrozenDatabase
) -> None:
    update = collected(Reading(POSITION, (48.1, 11.5), START), Reading("soc_percent", 50.0, START))
    arrivals = (later(-3), later(-1))
    number = await commit(harness, update._replace(arrivals=arrivals, reception_at=later(-9)))
    found = await harness.stores.quarantine.find_update("north", int(number))
    assert found is not None
    assert found.update == update._replace(arrivals=arrivals, reception_at=later(-9))


@pytest.mark.parametrize(
    "update",
    [
        pytest.param(collected(Reading("text", "x" * 66_000, START)), id="too large"),
        pytest.param(collected(Reading("soc_percent", float("nan"), START)), id="not in JSON"),
        pytest.param(collected(Reading("soc_percent", 2**70, START)), id="too many digits"),
    ],
)
async def test_what_was_not_kept_whole_cannot_be_replayed(
    harness: Harness, update: CanonicalUpdate
) -> None:
    poison = Submission("stream", "trace-1", (update,))
    await harness.stores.ingest.quarantine(harness.session, 1, poison, UnitPoisoned("22P05", "no"))
    (entry,) = await entries(harness)
    assert not entry["can_be_replayed"]
    assert len(entry["sample"]["text"]) <= 4096
    answer = await replay(harness, entry["quarantine_id"])
    assert (answer.status, answer.problem) == (409, "conflict")
    assert "65536 bytes" in answer.json["detail"]


@pytest.mark.parametrize("number", ["0", "7", "-1", "x", "9" * 40, "²"])
async def test_an_entry_that_does_not_exist_is_404(harness: Harness, number: str) -> None:
    answer = await replay(harness, number)
    assert (answer.status, answer.problem) == (404, "not-found")


async def test_an_entry_of_another_workspace_is_404(
    harness: Harness, broken: FrozenDatabase
) -> None:
    number = await set_aside(harness)
    answer = await harness.ask("POST", f"/workspaces/south/quarantine/{number}/replay")
    assert (answer.status, answer.problem) == (404, "not-found")
    assert (await harness.get("/workspaces/south/quarantine"))["items"] == []


class _Full:
    """An ingest without room."""

    def submit_nowait(self, submission: Submission) -> None:
        raise LaneFull


async def test_a_replay_without_room_is_503_and_leaves_no_mark(
    harness: Harness, broken: FrozenDatabase
) -> None:
    number = await set_aside(harness)
    harness.client = create_app(replace(harness.services, ingest=_Full())).test_client()
    answer = await replay(harness, number)
    assert (answer.status, answer.problem, answer.headers["retry-after"]) == (
        503,
        "overloaded",
        "1",
    )
    assert (await entries(harness))[0]["replayed"] is None


async def test_a_replay_is_no_news_of_its_connection(
    harness: Harness, broken: FrozenDatabase
) -> None:
    number = await set_aside(harness)
    await execute(broken, MEND)
    before = await connections(broken)
    assert before[0]["sender_at"] == START
    harness.let_pass(HOUR)
    assert await outcome_of(harness, number) == ("accepted", None, 1)
    assert await connections(broken) == before


async def connections(database: FrozenDatabase) -> list[Any]:
    query = "SELECT * FROM connection_state WHERE provider_id = 'live' ORDER BY workspace_id"
    return await database.run(lambda connection: connection.fetch(query))
