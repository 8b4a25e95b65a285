"""The last 24 hours of devices in small, and the state of their connections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from api.pages.times import parse_instant
from domain.model import ConnectionFact, ConnectionFactKind, FaultClass, Submission
from tests.api.standing_time import START

if TYPE_CHECKING:
    from tests.api.harness import Harness

HOUR = 3600
TRENDS = "/workspaces/north/trends"


async def trend(harness: Harness, device: str = "bus-1", query: str = "") -> Any:
    (item,) = (await harness.get(f"{TRENDS}?device_id={device}{query}"))["items"]
    return item


async def test_an_hour_shows_its_newest_value_and_arrival(harness: Harness) -> None:
    await harness.report("bus-1", soc_percent=80)
    harness.let_pass(5 * HOUR)
    await harness.report("bus-1", soc_percent=70)
    harness.let_pass(60)
    await harness.report("bus-1", soc_percent=69, odometer_km=5)
    found = await trend(harness)
    values = {n: value for n, value in enumerate(found["values"]) if value is not None}
    assert values == {18: 80.0, 23: 69.0}
    assert [n for n, at in enumerate(found["heard_at"]) if at] == [18, 23]
    assert parse_instant(found["heard_at"][18]) == START


async def test_a_value_from_long_before_the_last_update_is_not_shown(
    harness: Harness,
) -> None:
    await harness.report("bus-1", soc_percent=80)
    harness.let_pass(91)
    await harness.report("bus-1", odometer_km=5)
    found = await trend(harness)
    assert found["values"] == [None] * 24
    assert found["heard_at"][23] is not None
    assert (await trend(harness, query="&signal=odometer_km"))["values"][23] == 5.0


async def test_what_is_older_than_a_day_is_not_shown(harness: Harness) -> None:
    await harness.report("bus-1", soc_percent=80)
    harness.let_pass(24 * HOUR + 60)
    assert (await trend(harness))["heard_at"] == [None] * 24


async def test_a_device_of_another_workspace_has_nothing(harness: Harness) -> None:
    await harness.report("bus-1", workspace="south", soc_percent=80)
    for device in ("bus-1", "nobody"):
        assert (await trend(harness, device))["heard_at"] == [None] * 24


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("device_id=b&signal=latitude_deg", "signal"),
        ("device_id=b&signal=charging", "signal"),
        ("&".join(f"device_id=b{n}" for n in range(101)), "device_id"),
    ],
)
async def test_a_wrong_request_is_named(harness: Harness, query: str, parameter: str) -> None:
    answer = await harness.ask("GET", f"{TRENDS}?{query}")
    assert (answer.status, answer.pointers) == (400, [parameter])


async def test_nothing_is_shown_without_being_asked_for(harness: Harness) -> None:
    assert (await harness.get(TRENDS))["items"] == []


async def test_connections_tell_their_faults(harness: Harness) -> None:
    await harness.run_cycle()
    harness.let_pass(60)
    now = harness.clock.now()
    fact = ConnectionFact(
        "north", "live", ConnectionFactKind.CALL_FAILED, now, FaultClass.QUOTA, "429"
    )
    await harness.commit(Submission("poll", "trace", facts=(fact,)))
    hourly, live = (await harness.get("/workspaces/north/connections"))["items"]
    assert (hourly["provider_id"], hourly["call_status"]) == ("hourly", None)
    assert (live["call_status"], live["fault"], live["fault_detail"]) == ("failed", "quota", "429")
    assert (live["transport"], live["active"]) == ("stream", True)
