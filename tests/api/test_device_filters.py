"""The filters of health, issues and the worklist: search, age, connection, reason and party."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from api import verdicts
from domain.ageing import AgeGroup
from tests.api.harness import draft
from tests.api.legacy_reads import heard, read_from, show
from tests.api.standing_time import START

if TYPE_CHECKING:
    from tests.api.harness import Harness

HEALTH = "/workspaces/north/health"
LISTS = (HEALTH, "/workspaces/north/issues", "/worklist?workspace_id=north")
DAY = 86_400


async def ids(harness: Harness, path: str, query: str) -> list[str]:
    joined = f"{path}{'&' if '?' in path else '?'}{query}"
    return [item["device_id"] for item in (await harness.get(joined))["items"]]


async def walk(harness: Harness, query: str) -> list[str]:
    pages = await harness.walk(f"{HEALTH}?{query}")
    return [item["device_id"] for page in pages for item in page["items"]]


async def rows(harness: Harness, path: str, query: str) -> int:
    joined = f"{path}{'&' if '?' in path else '?'}{query}&format=csv"
    return (await harness.ask("GET", joined)).body.count(b"\r\n") - 1


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("search=BUS-2", ["bus-2"]),
        ("search=x-bus", ["bus-1", "bus-2", "bus-3"]),
        ("search=%20vehicle-bus-3%20", ["bus-3"]),
        ("search=%25", []),
        ("provider_id=hourly", []),
        ("reason=collector_late&search=bus-1", ["bus-1"]),
        ("reason=device_silent", []),
        ("party=unknown&party=ours", ["bus-1", "bus-2", "bus-3"]),
        ("party=customer", []),
        ("age=never", ["bus-1", "bus-2", "bus-3"]),
        ("age=under_1_day", []),
    ],
)
async def test_a_list_shows_the_devices_that_a_filter_names(
    harness: Harness, path: str, query: str, expected: list[str]
) -> None:
    harness.let_pass(2 * DAY)
    assert await ids(harness, path, query) == expected
    assert await rows(harness, path, query) == len(expected)


@pytest.mark.parametrize(
    ("days", "group"),
    [(0.5, "under_1_day"), (1, "days_1_to_3"), (3, "days_3_to_7"), (29, "days_7_to_30")],
)
@pytest.mark.parametrize("owner", ["core", "legacy"])
async def test_a_device_belongs_to_one_age_group(
    harness: Harness, owner: str, days: float, group: str
) -> None:
    await harness.report("bus-1", soc_percent=50)
    if owner == "legacy":
        show(harness, bus_1=heard(START, soc_percent=50))
        await read_from(harness, owner)
    harness.let_pass(days * DAY)
    found = {age: await ids(harness, HEALTH, f"search=bus-1&age={age}") for age in AgeGroup}
    assert [age for age, devices in found.items() if devices] == [group]


async def test_a_search_of_a_legacy_system_finds_the_same(harness: Harness) -> None:
    show(harness, bus_1=heard(START), bus_2=heard(START))
    await read_from(harness, "legacy")
    for query in ("search=BUS-2", "provider_id=live&search=bus-2", "party=none&search=-2"):
        assert await ids(harness, HEALTH, query) == ["bus-2"]
    assert await ids(harness, HEALTH, "provider_id=hourly") == []


async def test_health_can_begin_with_the_device_that_is_away_longest(harness: Harness) -> None:
    for bus in ("bus-2", "bus-3", "bus-1"):
        harness.let_pass(60)
        await harness.report(bus, soc_percent=50)
    walked = await walk(harness, "order=away&limit=2")
    assert walked == ["bus-2", "bus-3", "bus-1"]


async def test_pages_of_a_reason_join_without_a_gap(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verdicts, "ROWS_PER_QUERY", 4)
    monkeypatch.setattr(verdicts, "MAX_SIFTED", 8)
    more = [draft(f"more-{n:02}") for n in range(30)]
    await harness.stores.registry.put_devices("north", more)
    silent = [f"more-{n:02}" for n in range(30) if n % 3]
    harness.let_pass(60)
    for bus in silent:
        await harness.report(bus, soc_percent=50)
    assert await walk(harness, "reason=reporting&limit=3") == silent


async def test_health_shows_the_values_that_are_asked_for(harness: Harness) -> None:
    await harness.report("bus-1", soc_percent=50, odometer_km=7)
    harness.let_pass(2 * 3600)
    report = await harness.get(f"{HEALTH}?signal=soc_percent&signal=speed_kmh")
    expected = {
        "value": 50.0,
        "unit": "%",
        "at": START.isoformat().replace("+00:00", "Z"),
        "age_seconds": timedelta(hours=2).total_seconds(),
        "mark": "old",
    }
    assert [item["values"] for item in report["items"]] == [{"soc_percent": expected}, {}, {}]
    assert (await harness.get(HEALTH))["items"][0]["values"] is None


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("signal=nonsense", "signal"),
        ("age=old", "age"),
        ("party=nobody", "party"),
        ("search=%00", "search"),
        (f"search={'x' * 101}", "search"),
    ],
)
async def test_a_wrong_filter_is_named(harness: Harness, query: str, parameter: str) -> None:
    answer = await harness.ask("GET", f"{HEALTH}?{query}")
    assert (answer.status, answer.pointers) == (400, [parameter])


async def test_a_cursor_is_refused_under_other_filters(harness: Harness) -> None:
    cursor = (await harness.get(f"{HEALTH}?limit=1&search=bus"))["next_cursor"]
    for query in ("search=bus-1", "party=ours&search=bus", "order=away&search=bus", ""):
        answer = await harness.ask("GET", f"{HEALTH}?limit=1&cursor={cursor}&{query}")
        assert answer.status == 400, query
