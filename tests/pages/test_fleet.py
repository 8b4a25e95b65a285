"""The fleet page: trouble first, and whether it is us."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from api.pages.is_it_us import answer_is_it_us
from ports.legacy import LegacyUnreachable
from tests.api.harness import BUSES
from tests.api.legacy_reads import read_from
from tests.pages.visiting import visit

if TYPE_CHECKING:
    from tests.api.harness import Harness

HOUR = 3600
NOW, LATER = "2026-05-01T12:00:00Z", "2026-05-01T12:00:15Z"


def shard_of(state: str = "live", expires_at: str = LATER, **vital: Any) -> dict[str, Any]:
    return {"shard_id": "a", "state": state, "expires_at": expires_at, "statistics": vital}


LIVE = shard_of()


async def test_the_page_names_each_workspace_with_its_counts(harness: Harness) -> None:
    await harness.report("bus-1", soc_percent=50)
    page = await (await visit(harness)).read("/")
    assert 'href="/workspaces/north"' in page
    assert 'aria-label="2 awaiting first data, 1 healthy, 3 in all"' in page


async def test_an_outage_of_ours_is_said_at_the_top(harness: Harness) -> None:
    for workspace in ("north", "south"):
        for bus in BUSES:
            await harness.report(bus, workspace=workspace, soc_percent=50)
    assert "Is it us? No." in await (await visit(harness, "north")).read("/")
    harness.let_pass(HOUR)
    page = await (await visit(harness, "north")).read("/")
    assert "Is it us? Yes." in page
    assert "3 of 3 devices are not healthy: us 3." in page
    assert "Outage: collector late (us), 3 devices" in page


async def test_a_limited_key_is_told_nothing_of_shards(harness: Harness) -> None:
    page = await (await visit(harness, "north")).read("/")
    assert 'href="/runtime"' not in page
    assert "shard" not in page


async def test_a_legacy_system_that_is_away_is_named(harness: Harness) -> None:
    await read_from(harness, "legacy")
    harness.legacy.fault = LegacyUnreachable("the legacy system answered 503")
    page = await (await visit(harness)).read("/")
    assert "its legacy system does not answer" in page


async def test_a_key_without_workspaces_is_told_what_to_do(harness: Harness) -> None:
    await harness.add_key("nobody", ["read"], ["nowhere"])
    assert "No workspace yet" in await (await visit(harness, "nobody")).read("/")


async def test_more_workspaces_are_on_a_next_page(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    visitor = await visit(harness)
    cursor = (await harness.get("/fleet?limit=1"))["next_cursor"]
    page = await visitor.read(f"/?cursor={cursor}")
    assert "First page" in page
    assert page.count("data-row=") == 1
    assert (await visitor.get("/?cursor=nonsense")).status == 400


def fleet_of(healthy: int = 0, **parties: int) -> dict[str, Any]:
    late = sum(parties.values())
    counts = {"healthy": healthy, "stale": late}
    return {"evaluated_at": NOW, "items": [{"counts": counts, "parties": parties}]}


@pytest.mark.parametrize(
    ("fleet", "shards", "word"),
    [
        (fleet_of(9), [LIVE], "No"),
        (fleet_of(9, device=3, provider=1), [LIVE], "No"),
        (fleet_of(9, device=3, ours=1), [LIVE], "Partly"),
        (fleet_of(9, device=2, ours=2), [LIVE], "Yes"),
        (fleet_of(9), [], "Yes"),
        (fleet_of(9), [shard_of("dead")], "Yes"),
        (fleet_of(9), [LIVE, shard_of(expires_at=NOW)], "Partly"),
        (fleet_of(9), [LIVE, shard_of("dead")], "No"),  # another one has taken its work
        (fleet_of(9), [LIVE, shard_of("ended")], "No"),
        (fleet_of(9), [shard_of(paused=True)], "Yes"),
        (fleet_of(9), [shard_of(failing=True)], "Partly"),
        (fleet_of(9), [shard_of(oldest_waiting_seconds=31)], "Partly"),
        (fleet_of(9), [shard_of(oldest_waiting_seconds=30)], "No"),
        (fleet_of(9, ours=1, device=9), None, "Partly"),
        (fleet_of(9, device=9), None, "No"),
    ],
)
def test_it_is_us_by_the_facts(fleet: Any, shards: Any, word: str) -> None:
    assert answer_is_it_us(fleet, shards).word == word
