"""Each workspace has its cycle in its own slot, staggered, without the stream transport.

Acceptance 1, FR-001, FR-002 and FR-003.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import trio

from tests.acceptance.fleets import polled, streamed
from tests.acceptance.harness import QUICK, eventually, open_harness, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.harness import Harness
    from tests.acceptance.shard import Answer

SECOND = timedelta(seconds=1)
# The database's clock gives started_at; slots are cut by the process's reading of that clock.
CLOCK_ERROR = timedelta(seconds=0.25)


async def test_acceptance_1_fr_001_sc_01_every_workspace_has_a_cycle_in_every_slot(
    dsn: str, tmp_path: Path
) -> None:
    interval = 2
    fleets = [polled(f"fleet-{number}") for number in range(6)]
    async with open_harness(dsn, tmp_path, *fleets) as harness:
        for fleet in fleets:
            await harness.add_fleet(fleet, interval=interval, thresholds=QUICK)
        began_at = await harness.now() + interval * SECOND
        await trio.sleep(3 * interval + 0.5)
        cycles = await _cycles(
            harness,
            "slot_start_at >= $1 AND slot_start_at < $2",
            began_at,
            began_at + 2 * interval * SECOND,
        )

    for of_one in cycles.values():
        first, second = of_one
        assert second["slot_start_at"] - first["slot_start_at"] == interval * SECOND
        for cycle in of_one:
            assert (cycle["trigger"], cycle["attempt"], cycle["outcome"]) == (
                "schedule",
                1,
                "completed",
            )
            late = cycle["started_at"] - cycle["slot_start_at"]
            assert -CLOCK_ERROR <= late < interval * SECOND
    assert len(cycles) == len(fleets)
    phases = sorted(of_one[0]["slot_start_at"].timestamp() % interval for of_one in cycles.values())
    around = [*phases, phases[0] + interval]
    assert min(later - earlier for earlier, later in pairwise(around)) > 0.15


async def test_acceptance_9_sc_09_a_running_shard_starts_at_the_offset(
    dsn: str, tmp_path: Path
) -> None:
    """Two workspaces share a second; the third is refused, and goes on where it was."""
    interval, offset = 6, 1
    fleets = [polled(f"fleet-{number}") for number in range(3)]
    async with open_harness(dsn, tmp_path, *fleets) as harness:
        for fleet in fleets:
            await harness.add_fleet(fleet, interval=interval, thresholds=QUICK)
        await until(lambda: _is_started(harness, len(fleets)))
        answers = [
            await harness.shard.set_policy(fleet.name, start_offset_seconds=offset)
            for fleet in fleets
        ]
        moved_at = await harness.now()
        await trio.sleep(3 * interval + 1)
        cycles = await _cycles(harness, "slot_start_at > $1 AND outcome <> 'running'", moved_at)
        # before, a slow machine may not have taken up a new workspace within its first slot
        missed = await _cycles(harness, "outcome = 'missed' AND slot_start_at > $1", moved_at)

    assert [answer.status for answer in answers] == [200, 200, 422]
    assert answers[2].json["nearest_free_offset_seconds"] == offset + 1
    assert missed == {}
    for fleet in fleets[:2]:
        slots = [cycle["slot_start_at"] for cycle in cycles[fleet.name]]
        assert len(slots) in {2, 3}
        assert slots == [slots[0] + number * interval * SECOND for number in range(len(slots))]
        for cycle in cycles[fleet.name]:
            assert cycle["slot_start_at"].timestamp() % interval == offset
            late = cycle["started_at"] - cycle["slot_start_at"]
            assert -CLOCK_ERROR <= late < interval * SECOND
            assert cycle["outcome"] == "completed"
    assert {one["slot_start_at"].microsecond != 0 for one in cycles["fleet-2"]} == {True}


async def test_acceptance_1_fr_003_d_005_sc_01_polling_never_calls_the_stream_transport(
    dsn: str, tmp_path: Path
) -> None:
    """Only the fleet with a stream is called over the stream."""
    west, harbour = polled("west"), streamed("harbour")
    async with open_harness(dsn, tmp_path, west, harbour) as harness:
        for fleet in (west, harbour):
            await harness.add_fleet(fleet, interval=2, thresholds=QUICK)

        async def cycles_of_each() -> list[bool]:
            cycles = [await harness.shard.cycles(fleet.name) for fleet in (west, harbour)]
            return [
                sum(cycle["outcome"] == "completed" for cycle in of_one) >= 2 for of_one in cycles
            ]

        async def streamed_to() -> list[str]:
            return [entry.tenant for entry in harness.simulator.connections]

        for fleet in (west, harbour):
            await harness.shard.post(f"/workspaces/{fleet.name}/cycles", {"when": "now"})
        await eventually(streamed_to, ["harbour"])
        await eventually(cycles_of_each, [True, True])
        assert await streamed_to() == ["harbour"]
        assert set(harness.requests("west")) == {"GET /rfms/vehiclestatuses 200"}


async def test_a_run_that_waits_while_inactive_is_made_once_active(
    dsn: str, tmp_path: Path
) -> None:
    """It was asked for just before the workspace was switched off."""
    west = polled("west")
    async with open_harness(dsn, tmp_path, west) as harness:
        await harness.add_fleet(west)
        await harness.shard.add_workspace("west", active=False)
        await harness.fetch(
            "INSERT INTO poll_cycles (workspace_id, slot_start_at, trigger, attempt, cycle_id,"
            " trace_id, requested_at, outcome) VALUES ('west', now(), 'manual', 1, 'run-1',"
            " 'trace-1', now(), 'requested') RETURNING cycle_id"
        )
        path = "/workspaces/west/cycles/run-1"
        assert (await harness.shard.get(path))["outcome"] == "requested"
        await harness.shard.add_workspace("west", active=True)
        await eventually(lambda: _outcome(harness, path), "completed", within=4)


async def _outcome(harness: Harness, path: str) -> str:
    outcome: str = (await harness.shard.get(path))["outcome"]
    return outcome


async def test_fr_002_d_002_a_restart_makes_up_missed_cycles_without_a_wave(
    dsn: str, tmp_path: Path
) -> None:
    """Missed slots are recorded, the present slot is made up for, and starts are spread."""
    interval, count = 5, 15
    fleets = [polled(f"fleet-{number:02d}") for number in range(count)]
    async with open_harness(dsn, tmp_path, *fleets) as harness:
        for fleet in fleets:
            await harness.add_fleet(fleet, interval=interval, thresholds=QUICK)
        await until(lambda: _is_started(harness, count))
        await harness.close_shard()
        await trio.sleep(interval)
        await harness.open_shard("shard-1")
        back_at = await harness.now()
        await trio.sleep(1.2 * interval)
        cycles = await _cycles(harness, "outcome <> 'running'")
        (row,) = await harness.fetch("SELECT epoch FROM sessions WHERE shard_id = 'shard-1'")

    assert row["epoch"] == 2
    assert len(cycles) == count
    for of_one in cycles.values():
        slots = [cycle["slot_start_at"] for cycle in of_one]
        assert slots == [slots[0] + number * interval * SECOND for number in range(len(slots))]
    after = [cycle for of_one in cycles.values() for cycle in of_one if cycle["epoch"] == 2]
    assert any(cycle["outcome"] == "missed" for cycle in after)
    starts = sorted(cycle["started_at"] for cycle in after if cycle["started_at"] is not None)
    first_wave = [start for start in starts if start < back_at + interval * SECOND]
    worst = max(
        sum(start <= other < start + SECOND for other in first_wave) for start in first_wave
    )
    assert worst <= 3 * count / interval + 3  # regular starts, and twice as many late starts


async def test_acceptance_9_sc_09_a_synchronised_schedule_is_refused(
    dsn: str, tmp_path: Path
) -> None:
    """By offsets two workspaces may start in one second. A third is told the nearest free one."""
    async with open_harness(dsn, tmp_path) as harness:
        shard = harness.shard

        async def create(name: str, offset: int, *, active: bool = True) -> Answer:
            body = {"name": name, "active": active, "start_offset_seconds": offset}
            return await shard.ask("PUT", f"/workspaces/{name}", json=body)

        assert [(await create(name, 30)).status for name in ("one", "two")] == [201, 201]
        refused = await create("three", 30)
        assert (await shard.ask("GET", "/workspaces/three")).status == 404
        free = refused.json["nearest_free_offset_seconds"]
        assert (await create("three", free)).status == 201
        # A schedule that is not active may be stored. It is refused before it is activated.
        assert (await create("four", 30, active=False)).status == 201
        activated = await shard.ask("PATCH", "/workspaces/four", json={"active": True})
        assert (await shard.get("/workspaces/four"))["active"] is False

    for answer in (refused, activated):
        assert (answer.status, answer.problem) == (422, "synchronized-schedule")
        assert answer.json["starts_in_second"] == answer.json["most_in_second"] == 2
    assert free != 30


async def _is_started(harness: Harness, count: int) -> bool:
    return len(await _cycles(harness, "outcome = 'completed'")) == count


async def _cycles(
    harness: Harness, condition: str, *values: Any
) -> dict[str, list[dict[str, Any]]]:
    """Return cycles by workspace, in the order of their slots."""
    rows = await harness.fetch(
        f"SELECT * FROM poll_cycles WHERE {condition} ORDER BY slot_start_at, trigger", *values
    )
    cycles = defaultdict(list)
    for row in rows:
        cycles[row["workspace_id"]].append(row)
    return cycles
