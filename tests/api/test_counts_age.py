"""How old counts may be: as the query says, and never the items beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from api import outages
from tests.api.harness import instant

if TYPE_CHECKING:
    from tests.api.harness import Harness

HEALTH = "/workspaces/north/health"
ISSUES = "/workspaces/north/issues"


@pytest.mark.parametrize("path", [HEALTH, ISSUES, "/worklist"])
async def test_counts_are_of_the_items_instant_unless_asked(harness: Harness, path: str) -> None:
    for query in ("", "?counts_max_age=0"):
        found = await harness.get(path + query)
        assert found["counted_at"] == found["evaluated_at"]


async def test_counts_may_be_as_old_as_the_query_allows(harness: Harness) -> None:
    first = await harness.get(f"{HEALTH}?counts_max_age=5")
    harness.let_pass(3)
    await harness.report("bus-1", soc_percent=80.0)
    later = await harness.get(f"{HEALTH}?counts_max_age=5")
    assert (later["counts"], later["counted_at"]) == (first["counts"], first["counted_at"])
    assert (instant(later["evaluated_at"]) - instant(later["counted_at"])).total_seconds() == 3
    assert later["items"][0]["state"] == "healthy"
    harness.let_pass(3)
    newest = await harness.get(f"{HEALTH}?counts_max_age=5")
    assert newest["counts"]["healthy"] == 1


@pytest.mark.parametrize("age", ["-1", "5.1", "nan", "old"])
async def test_an_age_that_cannot_be_is_refused(harness: Harness, age: str) -> None:
    answer = await harness.ask("GET", f"{HEALTH}?counts_max_age={age}")
    assert (answer.status, answer.pointers) == (400, ["counts_max_age"])


async def test_a_device_is_an_issue_at_once_while_counts_are_old(harness: Harness) -> None:
    """NFR-004: the keys of the list are older than the end of the grace."""
    harness.let_pass(3599)
    before = await harness.get(f"{ISSUES}?counts_max_age=5")
    harness.let_pass(2)
    after = await harness.get(f"{ISSUES}?counts_max_age=5")
    assert (before["items"], len(after["items"])) == ([], 3)
    assert after["counted_at"] == before["counted_at"]


async def test_a_large_fleet_is_not_surveyed_for_an_outage(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.let_pass(7200)
    path = f"{HEALTH}?limit=1"
    assert (await harness.get(path))["workspace_outage"] is not None
    monkeypatch.setattr(outages, "MAX_SURVEYED", 2)
    assert (await harness.get(path))["workspace_outage"] is None


async def test_a_summary_may_be_old_if_asked(harness: Harness) -> None:
    harness.let_pass(7200)
    first = await harness.get("/worklist/summary?counts_max_age=5")
    harness.let_pass(3)
    await harness.report("bus-1", soc_percent=80.0)
    assert await harness.get("/worklist/summary?counts_max_age=5") == first
    assert (await harness.get("/worklist/summary"))["devices"] == first["devices"] - 1


async def test_summaries_of_other_filters_and_keys_are_others(harness: Harness) -> None:
    harness.let_pass(7200)
    asked = "/worklist/summary?counts_max_age=5"
    found = [
        (await harness.get(f"{asked}{query}", key=key))["devices"]
        for query, key in (("", "all"), ("", "north"), ("&search=bus-1", "all"))
    ]
    assert found == [6, 3, 2]
