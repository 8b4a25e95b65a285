"""Ids that are right only up to spelling, or only for a time; and refusals of one signal."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.acceptance.harness import Harness, eventually, open_harness, until
from tests.acceptance.maker import VIN, WORKSPACE, configure_maker, open_maker, record
from tests.acceptance.shard import update

if TYPE_CHECKING:
    from pathlib import Path

SOC = {"hybridBatteryPackRemainingCharge": 61.5}


async def item_of(harness: Harness, device_id: str) -> Any:
    items = (await harness.shard.health(WORKSPACE))["items"]
    return next(item for item in items if item["device_id"] == device_id)


def placed(provider_id: str, external_id: str) -> dict[str, Any]:
    """Return the body of a device with this id in another vehicle."""
    vehicle = {"vehicle_id": "other", "vehicle_name": "Other"}
    return {"provider_id": provider_id, "external_id": external_id, **vehicle}


async def test_a_vin_in_another_case_is_the_same_vehicle(dsn: str, tmp_path: Path) -> None:
    async with open_maker() as maker, open_harness(dsn, tmp_path) as harness:
        maker.records = [record(1, SOC, vin=VIN.lower())]
        await configure_maker(harness, maker, f"{VIN[:-1]}9")
        spaced = placed("maker", f" {VIN} ")
        configured = await harness.shard.put(f"/workspaces/{WORKSPACE}/devices/truck", **spaced)

        async def reason() -> str:
            reason: str = (await item_of(harness, "truck"))["reason"]
            return reason

        await eventually(reason, "reporting")
        rows = await harness.shard.rejections(WORKSPACE)
    assert configured["external_id"] == VIN
    assert rows == []


async def test_a_mistyped_vin_is_named_beside_what_arrives(dsn: str, tmp_path: Path) -> None:
    """The configured id has another last character than what the maker sends."""
    mistyped = f"{VIN[:-1]}2"
    async with open_maker() as maker, open_harness(dsn, tmp_path) as harness:
        maker.records = [record(1, SOC)]
        await configure_maker(harness, maker, mistyped)

        async def look_alikes() -> Any:
            return (await item_of(harness, mistyped))["evidence"]["look_alike_ids"]

        await eventually(look_alikes, [VIN])
        item = await item_of(harness, mistyped)
    assert item["last_update_received_at"] is None
    assert item["party"] != "device"


async def test_a_unit_in_another_vehicle_reports_only_for_that(dsn: str, tmp_path: Path) -> None:
    """What it saw in its former vehicle, and sends late, is no value of the present one."""
    async with open_harness(dsn, tmp_path) as harness:
        shard = harness.shard
        await shard.add_pushed_fleet(WORKSPACE, ["unit-a"])
        now = await harness.now()
        sent = update(WORKSPACE, None, now, external_id="unit-a", soc_percent=60)
        assert await shard.outcomes(sent) == ["accepted"]
        path = f"/workspaces/{WORKSPACE}/devices"
        assert (await shard.ask("DELETE", f"{path}/unit-a")).status == 200
        moved = placed("push", "unit-a")
        await shard.put(f"{path}/unit-b", **moved)

        buffered = now - timedelta(hours=2)
        late = update(WORKSPACE, None, buffered, external_id="unit-a", soc_percent=11)
        assert await shard.outcomes(late) == ["rejected:outside_assignment"]
        assert await shard.values(WORKSPACE, "unit-b") == {}
        item = await item_of(harness, "unit-b")
        assert (item["state"], item["reason"] == "updates_rejected") == (
            "awaiting-first-data",
            False,
        )

        present = update(WORKSPACE, None, await harness.now(), external_id="unit-a", soc_percent=59)
        assert await shard.outcomes(present) == ["accepted"]
        assert (await shard.values(WORKSPACE, "unit-b"))["soc_percent"][0] == 59


@pytest.mark.parametrize(("percent", "reason"), [(102.0, "not_available"), (130.0, "invalid")])
async def test_a_signal_that_is_always_refused_is_in_the_ledger(
    dsn: str, tmp_path: Path, percent: float, reason: str
) -> None:
    """The truck is healthy by its other signals. Its refused one is counted, in one row."""
    async with open_maker() as maker, open_harness(dsn, tmp_path) as harness:
        refused = {"hybridBatteryPackRemainingCharge": percent}
        maker.records = [record(1, refused, hrTotalVehicleDistance=34_567_000)]
        await configure_maker(harness, maker)
        await until(lambda: _has_rows(harness))
        (row,) = await harness.shard.rejections(WORKSPACE)
        values = await harness.shard.values(WORKSPACE, VIN)
        item = await item_of(harness, VIN)

    named = (row["external_id"], row["signal"], row["reason"])
    assert named == (VIN, "soc_percent", reason)
    assert row["occurrences"] >= 1
    assert str(percent) in row["sample"]["text"]
    assert set(values) == {"odometer_km"}
    assert item["reason"] == "reporting"


async def _has_rows(harness: Harness) -> bool:
    return bool(await harness.shard.rejections(WORKSPACE))
