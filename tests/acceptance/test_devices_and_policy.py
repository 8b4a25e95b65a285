"""One snapshot and one state for each device, by limits that a workspace may change."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from tests.acceptance.harness import open_harness
from tests.acceptance.shard import update

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.harness import Harness
    from tests.acceptance.shard import Shard

SECOND = timedelta(seconds=1)
MINUTE = 60


async def test_fr_004_each_device_has_one_snapshot_of_newest_values(
    dsn: str, tmp_path: Path
) -> None:
    async with open_harness(dsn, tmp_path) as harness:
        shard = harness.shard
        await shard.add_pushed_fleet("harbour", ["bus-1", "bus-2", "bus-3"])
        now = await harness.now()
        sent = [
            update("harbour", "bus-1", now - 3 * SECOND, soc_percent=61, odometer_km=1000),
            update("harbour", "bus-1", now - 1 * SECOND, speed_kmh=20),
            update("harbour", "bus-1", now - 2 * SECOND, soc_percent=60, speed_kmh=10),
            update("harbour", None, now, external_id="bus-2", soc_percent=40),
        ]
        assert await shard.outcomes(*sent) == ["accepted"] * 4
        listed = (await shard.get("/workspaces/harbour/snapshots"))["items"]
        alone = [
            await shard.get(f"/workspaces/harbour/snapshots/bus-{number}") for number in (1, 2, 3)
        ]
        newest = [(await shard.events("harbour", f"bus-{number}"))[-1] for number in (1, 2)]

    assert [_current(each) for each in listed] == [_current(each) for each in alone]
    assert [_current(each) for each in listed] == [
        ("bus-1", 3, {"soc_percent": 60, "odometer_km": 1000, "speed_kmh": 20}),
        ("bus-2", 1, {"soc_percent": 40}),
        ("bus-3", 0, {}),
    ]
    times = [each["last_update_received_at"] for each in listed]
    assert times == [*(event["received_at"] for event in newest), None]


def _current(snapshot: dict[str, Any]) -> tuple[str, int, dict[str, Any]]:
    values = {name: entry["value"] for name, entry in snapshot["values"].items()}
    return snapshot["device_id"], snapshot["version"], values


async def test_fr_005_fr_006_d_004_each_device_has_one_state_and_its_time(
    dsn: str, tmp_path: Path
) -> None:
    """A device that never reported has a state of its own, apart from those that fell silent."""
    states = {
        "fresh": "healthy",
        "late": "delayed",
        "never": "configured-no-data",
        "new": "awaiting-first-data",
        "silent": "stale",
    }
    async with open_harness(dsn, tmp_path) as harness:
        shard, now = harness.shard, await harness.now()
        await shard.add_pushed_fleet("harbour", [*states, "retired"])
        sent = [
            update("harbour", bus, now, soc_percent=61)
            for bus in ("fresh", "late", "silent", "retired")
        ]
        assert await shard.outcomes(*sent) == ["accepted"] * 4
        assert (await shard.ask("DELETE", "/workspaces/harbour/devices/retired")).status == 200
        await _heard(harness, "late", 9 * MINUTE)
        await _heard(harness, "silent", 22 * MINUTE)
        await _configured(harness, "never", 65 * MINUTE)
        report = await shard.health("harbour")
        snapshots = (await shard.get("/workspaces/harbour/snapshots"))["items"]
        only = await shard.get("/workspaces/harbour/health", state="configured-no-data")

    items = report["items"]
    assert [(item["device_id"], item["state"]) for item in items] == sorted(states.items())
    assert report["counts"] == dict.fromkeys(states.values(), 1)
    assert [item["device_id"] for item in only["items"]] == ["never"]
    for item, snapshot in zip(items, snapshots, strict=True):
        for name in ("device_id", "vehicle_id", "vehicle_name", "last_update_received_at"):
            assert item[name] == snapshot[name]
        never_heard = item["device_id"] in ("never", "new")
        assert (item["last_update_received_at"] is None) == never_heard


async def test_d_001_five_minutes_are_the_target_that_is_told(dsn: str, tmp_path: Path) -> None:
    """`delayed` begins a minute after the target, which the cycle itself may take."""
    async with open_harness(dsn, tmp_path) as harness:
        await harness.shard.add_pushed_fleet("harbour", ["bus-1", "bus-2"])
        now = await harness.now()
        sent = [update("harbour", bus, now, soc_percent=61) for bus in ("bus-1", "bus-2")]
        await harness.shard.ingest(*sent)
        await _heard(harness, "bus-1", 5 * MINUTE)
        await _heard(harness, "bus-2", 6 * MINUTE + 1)
        policy = await harness.shard.get("/workspaces/harbour/policy")
        items = (await harness.shard.health("harbour"))["items"]

    assert (policy["freshness_target_seconds"], policy["poll_interval_seconds"]) == (300, 3600)
    assert [item["thresholds"]["freshness_target_seconds"] for item in items] == [300, 300]
    assert [item["state"] for item in items] == ["healthy", "delayed"]


async def test_d_006_d_007_limits_are_15_and_60_minutes_unless_changed(
    dsn: str, tmp_path: Path
) -> None:
    """Two workspaces with the same devices; the limits of one are doubled."""
    async with open_harness(dsn, tmp_path) as harness:
        shard = harness.shard
        for name in ("plain", "patient"):
            await shard.add_pushed_fleet(name, ["heard-14", "heard-16", "new-59", "new-61"])
            now = await harness.now()
            heard = [update(name, bus, now, soc_percent=61) for bus in ("heard-14", "heard-16")]
            await shard.ingest(*heard)
        for minutes in (14, 16):
            await _heard(harness, f"heard-{minutes}", minutes * MINUTE)
        for minutes in (59, 61):
            await _configured(harness, f"new-{minutes}", minutes * MINUTE)
        limits = {"stale_after_seconds": 30 * MINUTE, "grace_seconds": 120 * MINUTE}
        defaults = await shard.get("/workspaces/plain/policy")
        before = [await _states(shard, name) for name in ("plain", "patient")]
        await shard.set_thresholds("patient", limits)
        after = [await _states(shard, name) for name in ("plain", "patient")]

    assert (defaults["stale_after_seconds"], defaults["grace_seconds"]) == (900, 3600)
    by_default = ["delayed", "stale", "awaiting-first-data", "configured-no-data"]
    patient = ["delayed", "delayed", "awaiting-first-data", "awaiting-first-data"]
    assert before == [by_default, by_default]
    assert after == [by_default, patient]


async def _states(shard: Shard, workspace_id: str) -> list[str]:
    """Return the state of each device, in the order of their names."""
    return [state for _, (state, _) in sorted((await shard.verdicts(workspace_id)).items())]


async def _heard(harness: Harness, device_id: str, seconds: float) -> None:
    """Move the arrival of the device's newest update to so many seconds ago."""
    await harness.execute(
        "UPDATE device_state SET last_update_received_at ="
        " clock_timestamp() - make_interval(secs => $2) WHERE device_id = $1",
        device_id,
        seconds,
    )


async def _configured(harness: Harness, device_id: str, seconds: float) -> None:
    """Move the device's activation to so many seconds ago."""
    await harness.execute(
        "UPDATE devices SET activated_at = clock_timestamp() - make_interval(secs => $2)"
        " WHERE device_id = $1",
        device_id,
        seconds,
    )
