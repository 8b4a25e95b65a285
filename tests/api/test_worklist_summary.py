"""The worklist in numbers."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from api import worklist_summary
from ports.legacy import LegacyUnreachable
from tests.api.legacy_reads import read_from

if TYPE_CHECKING:
    from tests.api.harness import Harness

HOUR, DAY = 3600, 86_400
SUMMARY = "/worklist/summary"


async def prepare(harness: Harness) -> None:
    """Three silent buses of north since different days, and south, which was never heard."""
    for bus in ("bus-1", "bus-2", "bus-3"):
        await harness.report(bus, soc_percent=50)
        harness.let_pass(2 * DAY)


async def test_numbers_are_those_of_the_list(harness: Harness) -> None:
    await prepare(harness)
    items = (await harness.get("/worklist"))["items"]
    found = await harness.get(SUMMARY)
    assert (found["devices"], found["is_complete"]) == (len(items), True)
    for name, member in (("state", "states"), ("party", "parties"), ("reason", "reasons")):
        assert found[member] == Counter(item[name] for item in items)
    assert found["providers"] == {"live": 6}
    groups = {group["workspace_id"]: group["devices"] for group in found["workspaces"]}
    assert groups == {"north": 3, "south": 3}


async def test_ages_say_what_each_age_filter_would_show(harness: Harness) -> None:
    await prepare(harness)
    ages = (await harness.get(f"{SUMMARY}?search=bus&age=never"))["ages"]
    listed = {age: (await harness.get(f"/worklist?age={age}"))["items"] for age in ages}
    assert ages == {age: len(items) for age, items in listed.items()}
    assert ages["days_1_to_3"] == ages["days_3_to_7"] - 1 == 1


@pytest.mark.parametrize(
    ("query", "devices"),
    [
        ("state=stale", 3),
        ("age=never", 3),
        ("workspace_id=south&age=days_3_to_7", 0),
        ("search=bus-2", 2),
        ("party=customer", 0),
        ("limit=1", 6),
    ],
)
async def test_filters_are_those_of_the_list(harness: Harness, query: str, devices: int) -> None:
    await prepare(harness)
    assert (await harness.get(f"{SUMMARY}?{query}"))["devices"] == devices


async def test_counting_ends_at_its_bound(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worklist_summary, "MAX_CSV_ROWS", 4)
    monkeypatch.setattr(worklist_summary, "ROWS_PER_QUERY", 2)
    await prepare(harness)
    found = await harness.get(SUMMARY)
    assert (found["devices"], found["is_complete"]) == (4, False)


async def test_a_legacy_system_that_is_away_is_named(harness: Harness) -> None:
    await prepare(harness)
    await read_from(harness, "legacy")
    harness.legacy.fault = LegacyUnreachable("the legacy system answered 503")
    found: Any = await harness.get(SUMMARY)
    assert [one["workspace_id"] for one in found["unavailable_workspaces"]] == ["north"]
    assert found["devices"] == 3
