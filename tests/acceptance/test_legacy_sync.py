"""Devices follow the registry of a real, simulated legacy system, whatever is wrong with it.

Decision 0045 has the rules.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from simulator.legacy_faults import LegacyFaults
from tests.acceptance.fleets import bus, streamed
from tests.acceptance.harness import ASK_EVERY_SECONDS, eventually, open_harness, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.harness import Harness

VEHICLES = 30
GONE = "bus_gone"
SYNC = "/workspaces/harbour/cutover/sync"


async def test_d_010_devices_follow_the_legacy_registry(dsn: str, tmp_path: Path) -> None:
    fleet = streamed("harbour", VEHICLES, rate=1.0)
    async with open_harness(dsn, tmp_path, fleet, legacy=LegacyFaults()) as harness:
        await harness.add_fleet(fleet, interval=2, only=[GONE])
        await follow_legacy(harness)
        everybody = {bus(number) for number in range(VEHICLES)}
        # All are created at once. A device of ours that the legacy system does not have is retired.
        await eventually(partial(active_devices, harness), everybody)
        await keep_all_through(harness, "registry=empty", "doubted", everybody)
        await keep_all_through(harness, "registry=halved", "doubted", everybody)
        await keep_all_through(harness, "registry=flapping", "doubted", everybody)
        await keep_all_through(harness, "outage=1", "unreachable", everybody)
        await keep_all_through(harness, "", "synced", everybody)
        assert (await sync(harness))["counts"]["unchanged"] == VEHICLES
        outcomes = {cycle["outcome"] for cycle in await harness.shard.cycles("harbour")}
        assert "skipped" in outcomes <= {"skipped", "missed"}


async def test_d_010_force_retires_what_a_legacy_registry_leaves_out(
    dsn: str, tmp_path: Path
) -> None:
    fleet = streamed("harbour", VEHICLES, rate=1.0)
    async with open_harness(dsn, tmp_path, fleet, legacy=LegacyFaults()) as harness:
        await harness.add_fleet(fleet, interval=2)
        await follow_legacy(harness)
        await harness.change_legacy("harbour", "registry=halved")
        await until(partial(has_outcome, harness, "doubted"))
        half = {bus(number) for number in range(0, VEHICLES, 2)}
        forced = await sync(harness, force={"reason": "every second bus was sold"})
        assert forced["counts"]["retired"] == VEHICLES - len(half)
        assert await active_devices(harness) == half
        # They are still there after all: each continues its assignment.
        await harness.change_legacy("harbour")
        await until(partial(has_all, harness))
        page = await harness.shard.get("/workspaces/harbour/devices", limit=500)
        assert {one["assignment"] for one in page["items"]} == {1}


async def follow_legacy(harness: Harness) -> None:
    """Let the legacy system say which devices there are. It alone collects, and is read."""
    flags = {
        "device_registry_source": "legacy_sync",
        "poll_owner": "legacy",
        "read_owner": "legacy",
        "legacy": harness.legacy_of(),
    }
    path = "/workspaces/harbour/cutover"
    answer = await harness.shard.ask("PUT", path, json=flags, headers={"If-Match": "*"})
    assert answer.status == 200, answer.body


async def keep_all_through(
    harness: Harness, faults: str, outcome: str, everybody: set[str]
) -> None:
    """Assert that nobody is retired in the next four syncs, one of which ends like this."""
    await harness.change_legacy("harbour", faults)
    seen: dict[str, str] = {}
    while len(seen) < 4:
        state = await harness.shard.get(SYNC)
        seen[state["synced_at"]] = state["outcome"]
        assert await active_devices(harness) == everybody
        await trio.sleep(ASK_EVERY_SECONDS)
    assert outcome in seen.values()


async def sync(harness: Harness, **body: Any) -> Any:
    return await harness.shard.post(SYNC, body)


async def active_devices(harness: Harness) -> set[str]:
    page = await harness.shard.get("/workspaces/harbour/devices", limit=500)
    return {one["device_id"] for one in page["items"]}


async def has_outcome(harness: Harness, outcome: str) -> bool:
    return bool((await harness.shard.get(SYNC))["outcome"] == outcome)


async def has_all(harness: Harness) -> bool:
    return len(await active_devices(harness)) == VEHICLES
