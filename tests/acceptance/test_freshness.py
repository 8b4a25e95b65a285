"""NFR-001: many fleets stay fresh with slow providers, and their polls never start all at once."""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
import trio

from domain.schedule import phase_of
from tests.acceptance.fleets import polled, streamed
from tests.acceptance.harness import open_harness

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from simulator.config import Tenant
    from tests.acceptance.harness import Harness
    from tests.acceptance.shard import Shard

# Its fleets fill this machine: beside other tests their cycles would be late.
pytestmark = [pytest.mark.measured, pytest.mark.processes]

WORKSPACES = 48
STREAMED = 4
DEVICES = 3
INTERVAL = 7
CONFIGURING_AT_ONCE = 4  # with more, some wait for database connections and are refused
LATENCY = 2.0
WATCHED_INTERVALS = 3
PERIOD = timedelta(seconds=INTERVAL)
CYCLES_BETWEEN = """
SELECT * FROM poll_cycles WHERE slot_start_at >= $1 AND slot_start_at < $2 ORDER BY slot_start_at
"""
FRESH = {
    "freshness_target_seconds": INTERVAL,
    "delayed_after_seconds": INTERVAL,
    "stale_after_seconds": 3 * INTERVAL,
}


async def test_nfr_001_devices_are_fresh_95_percent_of_the_time(dsn: str, tmp_path: Path) -> None:
    """Poll 48 workspaces every 7 s, not 300; each has its own provider that answers after 2 s.

    Age counts from the arrival. So between two polls it grows from 0 to one interval, whatever the
    latency. The target is one interval, as in production (300 s of 300 s). The extra minute that
    `delayed` allows for the cycle itself is left out: `delayed` begins at the target, so a device
    is within the target exactly when it is healthy. A latency of two sevenths of the interval is
    forty times its share in production. The counts of `/worklist` cover every device of every
    workspace at one instant.
    """
    slow = f"latency={LATENCY}"
    fleets = [
        streamed(f"fleet-{number:02d}", DEVICES, rate=2.0, faults=slow)
        for number in range(STREAMED)
    ]
    fleets += [
        polled(f"fleet-{number:02d}", DEVICES, every=3.0, faults=slow)
        for number in range(STREAMED, WORKSPACES)
    ]
    async with open_harness(dsn, tmp_path, *fleets, seconds=90) as harness:
        at_once = trio.CapacityLimiter(CONFIGURING_AT_ONCE)
        async with trio.open_nursery() as nursery:
            for fleet in fleets:
                nursery.start_soon(_configure, harness, fleet, at_once)
        await _wait_for_first_cycles(harness.shard)
        began_at = await harness.now()
        shares = await _watch(harness.shard, WATCHED_INTERVALS * INTERVAL)
        await trio.sleep(LATENCY + 1.0)  # the cycles of the last second end
        cycles = await harness.fetch(
            CYCLES_BETWEEN, began_at, began_at + WATCHED_INTERVALS * PERIOD
        )

    assert sum(shares) / len(shares) >= 0.95
    _check_every_slot_was_used(cycles)
    _check_starts_are_spread(
        [cycle["started_at"] for cycle in cycles if cycle["trigger"] == "schedule"]
    )


async def _configure(harness: Harness, fleet: Tenant, at_once: trio.CapacityLimiter) -> None:
    async with at_once:
        await harness.add_fleet(fleet, interval=INTERVAL, thresholds=FRESH)


async def _wait_for_first_cycles(shard: Shard) -> None:
    """Wait one interval, and then until every device was heard: some may start later than others.

    A slow machine needs more than an interval to configure all workspaces.
    """
    await trio.sleep(INTERVAL)
    with trio.fail_after(4 * INTERVAL):
        while True:
            counts = (await shard.get("/worklist", limit=1))["counts"]
            if counts["awaiting-first-data"] == 0:
                return
            await trio.sleep(1)


async def _watch(shard: Shard, seconds: int) -> list[float]:
    """Return once per second the share of all devices whose age is within the target."""
    shares = []
    began = trio.current_time()
    for second in range(seconds):
        await trio.sleep_until(began + second)
        counts = (await shard.get("/worklist", limit=1))["counts"]
        assert sum(counts.values()) == WORKSPACES * DEVICES
        shares.append(counts["healthy"] / sum(counts.values()))
    await trio.sleep_until(began + seconds)
    return shares


def _check_every_slot_was_used(cycles: list[dict[str, Any]]) -> None:
    """Check that each workspace completed exactly one cycle in each of its slots."""
    slots = defaultdict(list)
    for cycle in cycles:
        slots[cycle["workspace_id"]].append((cycle["slot_start_at"], cycle["outcome"]))
    assert len(slots) == WORKSPACES
    for of_one in slots.values():
        first = of_one[0][0]
        assert of_one == [
            (first + number * PERIOD, "completed") for number in range(WATCHED_INTERVALS)
        ]


def _check_starts_are_spread(starts: list[datetime]) -> None:
    """Check that no span of one second has more than 1.3 N / interval + 3 starts.

    Phases must also differ by more than 50 ms.
    """
    starts.sort()
    second = timedelta(seconds=1)
    worst = max(sum(start <= other < start + second for other in starts) for start in starts)
    assert worst <= 1.3 * WORKSPACES / INTERVAL + 3
    phases = sorted(phase_of(ordinal, INTERVAL) for ordinal in range(WORKSPACES))
    assert min(later - earlier for earlier, later in pairwise(phases)) > 0.05
