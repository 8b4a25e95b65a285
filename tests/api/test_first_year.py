"""Instants of the year 1: refused where they come in, and harmless where they are stored already.

The driver stores 0001-01-01 as -infinity, and reads that as an instant without a zone. Releases of
before took it from clocks that were never set, and from clients.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.api.harness import BUSES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from storage.gateway import Connection
    from tests.api.harness import Harness
    from tests.api.standing_time import FrozenDatabase

DEVICE = {"provider_id": "live", "external_id": "x", "vehicle_id": "v", "vehicle_name": "V"}


# Bus 1 has a value and an event of the year 1, in the form of before.
OBSERVED = (
    "UPDATE device_state SET last_observed_at = '-infinity' WHERE device_id = 'bus-1'",
    """UPDATE snapshots SET document = '{"soc_percent": [61.5, "0001-01-01T00:00:00Z"]}'
       WHERE device_id = 'bus-1' AND workspace_id = 'north'""",
    """UPDATE events SET readings = '{"soc_percent": [61.5, "0001-01-01T00:00:00Z"]}',
           signals = NULL, observed_at = NULL
       WHERE device_id = 'bus-1' AND workspace_id = 'north'""",
)
# Bus 1 is active since the year 1.
ACTIVATED = (
    "UPDATE devices SET activated_at = '-infinity' WHERE device_id = 'bus-1'",
    "UPDATE assignments SET effective_at = '-infinity' WHERE device_id = 'bus-1'",
)


async def store(frozen: FrozenDatabase, statements: Iterable[str]) -> None:
    async def work(link: Connection) -> None:
        for statement in statements:
            await link.execute(statement)

    await frozen.run(work)


@pytest.fixture
async def observed(harness: Harness, frozen: FrozenDatabase) -> Harness:
    """Return the harness with a value of the year 1 of bus 1, and one of today of bus 2."""
    await harness.report("bus-1", soc_percent=61.5)
    await harness.report("bus-2", soc_percent=61.5)
    await store(frozen, OBSERVED)
    return harness


async def reasons_of(harness: Harness) -> dict[str, Any]:
    report = await harness.get("/workspaces/north/health")
    return {item["device_id"]: item["reason"] for item in report["items"]}


async def test_a_value_of_the_year_1_costs_its_device_only(observed: Harness) -> None:
    assert await reasons_of(observed) == {
        "bus-1": "signal_silent",
        "bus-2": "reporting",
        "bus-3": "awaiting_first_data",
    }
    report = await observed.get("/workspaces/north/health")
    times = ("last_observed_at", "away_for_seconds", "provider_lag_seconds")
    assert [report["items"][0][name] for name in times] == [None, None, None]


async def test_values_and_events_of_the_year_1_are_shown(observed: Harness) -> None:
    snapshot = await observed.get("/workspaces/north/snapshots/bus-1")
    value = snapshot["values"]["soc_percent"]
    assert (value["observed_at"], value["mark"]) == ("0001-01-01T00:00:00Z", "old")
    assert len((await observed.get("/workspaces/north/snapshots"))["items"]) == 3
    (event,) = (await observed.get("/workspaces/north/devices/bus-1/events"))["items"]
    assert event["readings"]["soc_percent"]["observed_at"] == "0001-01-01T00:00:00Z"


async def test_a_value_of_the_year_1_gives_way_to_the_next(observed: Harness) -> None:
    answer = await observed.report("bus-1", soc_percent=60.0)
    assert answer.json["results"][0]["outcome"] == "accepted"
    assert (await reasons_of(observed))["bus-1"] == "reporting"


@pytest.mark.parametrize("statements", [OBSERVED, ACTIVATED])
async def test_the_worklist_has_each_device_of_the_year_1_once(
    harness: Harness, frozen: FrozenDatabase, statements: Iterable[str]
) -> None:
    await store(frozen, statements)
    harness.let_pass(7200)
    pages = await harness.walk("/workspaces/north/issues?limit=1")
    listed = [item["device_id"] for page in pages for item in page["items"]]
    assert sorted(listed) == sorted(BUSES)


async def test_a_device_active_since_the_year_1_is_one_like_any_other(
    harness: Harness, frozen: FrozenDatabase
) -> None:
    await store(frozen, ACTIVATED)
    listed = (await harness.get("/workspaces/north/devices"))["items"]
    assert listed[0]["activated_at"] == "0001-01-01T00:00:00Z"
    await harness.run_cycle()
    assert (await reasons_of(harness))["bus-1"] == "never_reported"
    answer = await harness.report("bus-1", soc_percent=60.0)
    assert answer.json["results"][0]["outcome"] == "accepted"
    swapped = await harness.ask(
        "POST", "/workspaces/north/devices/bus-1/swap", json={"external_id": "x-new"}
    )
    assert swapped.json["former"]["effective_at"] == "0001-01-01T00:00:00Z"
    assert set(await reasons_of(harness)) == set(BUSES)


@pytest.mark.parametrize(
    ("activated_at", "status"),
    [
        ("0001-01-01T00:00:00Z", 422),
        ("1969-12-31T23:59:59.999999Z", 422),
        ("1970-01-01T00:00:00Z", 201),
    ],
)
async def test_an_activation_before_1970_is_refused(
    harness: Harness, activated_at: str, status: int
) -> None:
    body = {**DEVICE, "activated_at": activated_at}
    answer = await harness.ask("PUT", "/workspaces/north/devices/new", json=body)
    assert answer.status == status
    if status == 422:
        assert answer.pointers == ["/activated_at"]
        listed = {"devices": [{**body, "device_id": "new"}]}
        answer = await harness.ask("POST", "/workspaces/north/devices/import", json=listed)
        assert (answer.status, answer.pointers) == (422, ["/devices/0/activated_at"])
    assert len(await reasons_of(harness)) == (3 if status == 422 else 4)
