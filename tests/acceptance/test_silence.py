"""A device with one silent signal is not stale, nor is one whose provider reports rarely."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from simulator.reporting import Reporting
from tests.acceptance.fleets import polled, streamed
from tests.acceptance.harness import QUICK, eventually, open_harness
from tests.acceptance.shard import update

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.shard import Shard

# The shorter a workspace's thresholds, the sooner its signals count as old. With these a state of
# charge is old after 6.8 s.
LIVELY = QUICK | {
    "freshness_target_seconds": 1.5,
    "delayed_after_seconds": 1.5,
    "stale_after_seconds": 1.7,
}
BRISK = QUICK | {
    "freshness_target_seconds": 2.0,
    "delayed_after_seconds": 2.0,
    "stale_after_seconds": 3.0,
}
HOURLY_THRESHOLDS = {
    "freshness_target_seconds": BRISK["freshness_target_seconds"],
    "delayed_after_seconds": pytest.approx(1.2 * 3602),
    "stale_after_seconds": 3.0 * 3602,
    "grace_seconds": 3.0 * 3602,
    "expected_update_seconds": 3600.0,
    "source": "expected_update_seconds",
    "period_seconds": 3602.0,
}


async def test_a_device_with_one_silent_signal_is_healthy_and_names_it(
    dsn: str, tmp_path: Path
) -> None:
    live, recorded = streamed("live", 1), polled("recorded", 1, every=0.5)
    async with open_harness(dsn, tmp_path, live, recorded) as harness:
        for fleet in (live, recorded):
            await harness.add_fleet(fleet, interval=2, thresholds=LIVELY)

        for fleet in (live, recorded):
            vehicle = fleet.vehicles[0].vehicle_id
            await eventually(partial(_has_soc, harness.shard, fleet.name, vehicle), True)
            await harness.change_faults(
                fleet.name, reporting={vehicle: {"stopped_labels": {"soc": 0.0}}}
            )

        async def look() -> list[Any]:
            verdicts = [
                await _first_verdict(harness.shard, fleet.name) for fleet in (live, recorded)
            ]
            return [
                (item["state"], item["reason"], "soc_percent" in item["old_signals"])
                for item in verdicts
            ]

        await eventually(look, [("healthy", "signal_silent", True)] * 2, within=25)
        for fleet in (live, recorded):
            values = (await harness.shard.get(f"/workspaces/{fleet.name}/snapshots"))["items"][0][
                "values"
            ]
            assert values["soc_percent"]["mark"] == "old"
            assert values["soc_percent"]["age_seconds"] > 6.8
            assert values["odometer_km"]["mark"] == "current"


async def test_an_old_signal_looks_old_under_the_default_thresholds(
    dsn: str, tmp_path: Path
) -> None:
    async with open_harness(dsn, tmp_path) as harness:
        await harness.shard.add_pushed_fleet("harbour", ["bus-1"])
        now = await harness.now()
        old, fresh = now - timedelta(hours=2), now - timedelta(seconds=5)
        sent = [
            update("harbour", "bus-1", old, soc_percent=61),
            update("harbour", "bus-1", fresh, latitude_deg=52.1, longitude_deg=5.1),
        ]
        assert await harness.shard.outcomes(*sent) == ["accepted", "accepted"]

        verdict = await _first_verdict(harness.shard, "harbour")
        snapshot = await harness.shard.get("/workspaces/harbour/snapshots/bus-1")

    assert (verdict["state"], verdict["reason"]) == ("healthy", "signal_silent")
    assert verdict["old_signals"] == ["soc_percent"]
    assert {name: entry["mark"] for name, entry in snapshot["values"].items()} == {
        "soc_percent": "old",
        "latitude_deg": "current",
        "longitude_deg": "current",
    }
    assert 7200 <= snapshot["values"]["soc_percent"]["age_seconds"] < 7260


async def test_hourly_records_do_not_make_devices_stale_if_promised_so(
    dsn: str, tmp_path: Path
) -> None:
    one_record = [Reporting(silent_after_seconds=0.9)] * 2
    plain, hourly = (polled(name, manners=one_record) for name in ("plain", "hourly"))
    async with open_harness(dsn, tmp_path, plain, hourly) as harness:
        await harness.add_fleet(plain, interval=2, thresholds=BRISK)
        await harness.add_fleet(
            hourly, interval=2, connection={"expected_update_seconds": 3600}, thresholds=BRISK
        )

        async def look() -> tuple[list[tuple[str, str]], bool]:
            items = (await harness.shard.health("hourly"))["items"]
            ages = [item["freshness_age_seconds"] or 0.0 for item in items]
            verdicts = await harness.shard.verdicts("plain")
            return list(verdicts.values()), min(ages) > BRISK["stale_after_seconds"]

        await eventually(look, ([("stale", "device_silent")] * 2, True))
        report = await harness.shard.health("hourly")

    assert {item["state"] for item in report["items"]} == {"healthy"}
    assert [item["thresholds"] for item in report["items"]] == [HOURLY_THRESHOLDS] * 2


async def _has_soc(shard: Shard, workspace_id: str, device_id: str) -> bool:
    return "soc_percent" in await shard.values(workspace_id, device_id)


async def _first_verdict(shard: Shard, workspace_id: str) -> Any:
    return (await shard.health(workspace_id))["items"][0]
