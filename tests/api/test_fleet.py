"""The fleet in one look: order, parties, outages and objectives of many workspaces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from api import fleet_parties
from domain.model import ConnectionFact, ConnectionFactKind, FaultClass, Submission
from ports.legacy import LegacyUnreachable
from tests.api.harness import BUSES, draft, later
from tests.api.legacy_reads import heard, read_from, show
from tests.api.seeded_hour import play

if TYPE_CHECKING:
    from tests.api.harness import Harness

HOUR = 3600


async def look(harness: Harness, query: str = "", **rest: Any) -> dict[str, Any]:
    """Return the workspaces of the first page by id, in their order."""
    found = await harness.get(f"/fleet{query}", **rest)
    return {item["workspace_id"]: item for item in found["items"]}


async def fail_calls(harness: Harness, workspace: str) -> None:
    """Let the provider refuse the account, after a cycle of ours has begun."""
    await harness.run_cycle(workspace, is_answered=False)
    now = harness.clock.now()
    fact = ConnectionFact(
        workspace, "live", ConnectionFactKind.CALL_FAILED, now, FaultClass.CREDENTIALS, "401"
    )
    await harness.commit(Submission("poll", "trace", facts=(fact,)))


async def test_workspaces_with_trouble_come_first(harness: Harness) -> None:
    await harness.stores.registry.put_workspace("east", name="East", active=True)
    harness.let_pass(2 * HOUR)
    for bus in BUSES:
        await harness.report(bus, workspace="south", soc_percent=50)
    assert list(await look(harness)) == ["north", "south", "east"]
    harness.let_pass(2 * HOUR)
    for bus in BUSES[:2]:
        await harness.report(bus, workspace="south", soc_percent=50)
    assert list(await look(harness)) == ["north", "south", "east"]
    for bus in BUSES:
        await harness.report(bus, soc_percent=50)
    assert list(await look(harness)) == ["south", "north", "east"]


async def test_counts_are_those_of_health(harness: Harness) -> None:
    await harness.report("bus-1", soc_percent=50)
    harness.let_pass(2 * HOUR)
    await harness.report("bus-2", soc_percent=50)
    fleet = await harness.get("/fleet")
    for item in fleet["items"]:
        health = await harness.get(f"/workspaces/{item['workspace_id']}/health")
        assert item["counts"] == health["counts"]
        late = [one["party"] for one in health["items"] if one["state"] != "healthy"]
        assert item["parties"] == {party: late.count(party) for party in sorted(set(late))}
        assert item["outage"] == health["workspace_outage"]
    total = sum(sum(item["counts"].values()) for item in fleet["items"])
    assert (fleet["workspaces"], sum(fleet["counts"].values())) == (2, total)


async def test_an_outage_is_that_of_health_and_stands_first(harness: Harness) -> None:
    harness.let_pass(2 * HOUR)
    await harness.run_cycle("north")
    await fail_calls(harness, "south")
    found = await look(harness)
    health = await harness.get("/workspaces/south/health")
    assert health["workspace_outage"]["reason"] == "credentials_rejected"
    assert list(found) == ["south", "north"]
    assert found["south"]["outage"] == health["workspace_outage"]
    assert found["north"]["outage"] is None


async def test_a_workspace_that_is_switched_off_comes_last(harness: Harness) -> None:
    harness.let_pass(2 * HOUR)
    await harness.ask("PATCH", "/workspaces/north", json={"active": False})
    found = await look(harness)
    assert list(found) == ["south", "north"]
    assert found["north"]["parties"] == {"customer": 3}


async def test_pages_have_every_workspace_once(harness: Harness) -> None:
    for number in range(5):
        await harness.stores.registry.put_workspace(f"w{number}", name="W", active=number != 2)
    pages = await harness.walk("/fleet?limit=2")
    found = [item["workspace_id"] for page in pages for item in page["items"]]
    assert found == ["north", "south", "w0", "w1", "w3", "w4", "w2"]
    assert {page["workspaces"] for page in pages} == {7}


async def test_a_limited_key_sees_its_own_workspaces(harness: Harness) -> None:
    found = await harness.get("/fleet", key="north")
    assert [item["workspace_id"] for item in found["items"]] == ["north"]
    assert (found["workspaces"], sum(found["counts"].values())) == (1, 3)


@pytest.mark.parametrize("rolled_up", [False, True])
async def test_an_objective_is_that_of_the_indicators(harness: Harness, rolled_up: bool) -> None:
    await play(harness, seed=1)
    harness.let_pass(3 * HOUR)
    await harness.run_cycle()
    if rolled_up:
        await harness.stores.rollups.build_hours(hours_back=12, most=100)
    shown = (await look(harness))["north"]["objective"]
    true = (await harness.get("/workspaces/north/indicators"))["objective"]
    assert shown["samples"] == 13
    assert shown == {**true, "burn_rates": true["burn_rates"][:2]}


async def test_a_legacy_system_shows_its_workspace(harness: Harness) -> None:
    show(harness, bus_1=heard(later(2 * HOUR)), bus_2=heard(later(0)))
    await read_from(harness, "legacy")
    harness.let_pass(2 * HOUR)
    north = (await look(harness))["north"]
    health = await harness.get("/workspaces/north/health")
    assert (north["served_by"], north["counts"]) == ("legacy", health["counts"])
    assert sum(north["parties"].values()) == 2
    harness.legacy.fault = LegacyUnreachable("the legacy system answered 503")
    fleet = await harness.get("/fleet")
    assert [one["workspace_id"] for one in fleet["unavailable_workspaces"]] == ["north"]
    assert {item["workspace_id"]: item["counts"] is None for item in fleet["items"]} == {
        "north": True,
        "south": False,
    }


async def test_parties_beyond_the_bound_are_not_known(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet_parties, "ROWS_PER_QUERY", 2)
    monkeypatch.setattr(fleet_parties, "MAX_JUDGED", 5)
    harness.let_pass(2 * HOUR)
    found = await look(harness)
    assert sum(found["north"]["parties"].values()) == 3
    assert (found["south"]["parties"], found["south"]["outage"]) == (None, None)


async def test_many_late_devices_are_judged_a_part_at_a_time(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet_parties, "ROWS_PER_QUERY", 4)
    devices = [draft(f"more-{number:02}") for number in range(20)]
    await harness.stores.registry.put_devices("north", devices)
    harness.let_pass(2 * HOUR)
    found = await look(harness)
    assert [sum(found[name]["parties"].values()) for name in ("north", "south")] == [23, 3]
