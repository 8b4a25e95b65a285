"""Values of a polled maker that are no values, or that belong together, or that come late."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from tests.acceptance.harness import Harness, eventually, open_harness, until
from tests.acceptance.maker import (
    VIN,
    WORKSPACE,
    at_place,
    configure_maker,
    open_maker,
    record,
)
from tests.acceptance.shard import update

if TYPE_CHECKING:
    from pathlib import Path

NINETY_DAYS = 90 * 86_400.0


async def values(harness: Harness) -> dict[str, Any]:
    return {
        signal: value for signal, (value, _) in (await harness.shard.values(WORKSPACE, VIN)).items()
    }


async def refusals(harness: Harness) -> set[str]:
    return {row["reason"] for row in await harness.shard.rejections(WORKSPACE)}


async def test_half_a_bad_position_leaves_the_last_good_one(dsn: str, tmp_path: Path) -> None:
    async with open_maker() as maker, open_harness(dsn, tmp_path) as harness:
        maker.records = [record(60, at_place(52.09, 5.11, 60))]
        await configure_maker(harness, maker)
        good = {"latitude_deg": 52.09, "longitude_deg": 5.11}
        await eventually(lambda: values(harness), good)

        maker.records = [record(1, at_place(48.2, 655.35, 1))]
        await until(lambda: _is_refused(harness, "invalid"))

        assert await values(harness) == good


async def test_fill_values_are_no_news_and_the_last_values_stay(dsn: str, tmp_path: Path) -> None:
    async with open_maker() as maker, open_harness(dsn, tmp_path) as harness:
        known = at_place(52.09, 5.11, 60) | {"totalElectricEnergyUsed": 1_000_000}
        # The standard has the counter in the record; some makers put it into snapshotData.
        maker.records = [
            record(60, known, hrTotalVehicleDistance=34_567_000, totalElectricEnergyUsed=1_000_000)
        ]
        await configure_maker(harness, maker)
        await until(lambda: _has(harness, "odometer_km"))
        before = await values(harness)

        ones = 4_294_967_295
        maker.records = [
            record(
                1, at_place(0.0, 0.0, 1), hrTotalVehicleDistance=ones, totalElectricEnergyUsed=ones
            )
        ]
        await until(lambda: _is_refused(harness, "not_available"))

        assert await values(harness) == before
        assert before["odometer_km"] == 34_567
        (item,) = (await harness.shard.health(WORKSPACE))["items"]
        assert item["reason"] != "updates_rejected"
        assert item["evidence"]["last_rejected_at"] is None


async def test_a_first_record_of_ninety_days_has_that_age(dsn: str, tmp_path: Path) -> None:
    async with open_maker() as maker, open_harness(dsn, tmp_path) as harness:
        maker.records = [record(NINETY_DAYS, {"hybridBatteryPackRemainingCharge": 77.0})]
        await configure_maker(harness, maker)
        await until(lambda: _has(harness, "soc_percent"))

        snapshot = await harness.shard.get(f"/workspaces/{WORKSPACE}/snapshots/{VIN}")
        soc = snapshot["values"]["soc_percent"]
        assert soc["mark"] == "old"
        assert abs(soc["age_seconds"] - NINETY_DAYS) < 120
        received = datetime.now(UTC) - datetime.fromisoformat(soc["received_at"])
        assert received < timedelta(minutes=2)


async def test_a_client_with_a_fast_clock_blocks_for_one_update(dsn: str, tmp_path: Path) -> None:
    async with open_harness(dsn, tmp_path) as harness:
        shard = harness.shard
        await shard.add_pushed_fleet(WORKSPACE, ["bus-1"])
        fast = await harness.now() + timedelta(minutes=4)
        assert await shard.outcomes(update(WORKSPACE, "bus-1", fast, soc_percent=90)) == [
            "accepted"
        ]

        now = await harness.now()
        sent = update(WORKSPACE, "bus-1", now, soc_percent=50)
        assert await shard.outcomes(sent, sent) == ["accepted", "duplicate"]

        snapshot = await shard.get(f"/workspaces/{WORKSPACE}/snapshots/bus-1")
        soc = snapshot["values"]["soc_percent"]
        assert (soc["value"], soc["observed_at"] == soc["changed_at"]) == (50, True)


async def test_a_client_that_sends_half_a_position_is_told(dsn: str, tmp_path: Path) -> None:
    async with open_harness(dsn, tmp_path) as harness:
        shard = harness.shard
        await shard.add_pushed_fleet(WORKSPACE, ["bus-1"])
        now = await harness.now()
        (half,) = await shard.ingest(update(WORKSPACE, "bus-1", now, latitude_deg=5, speed_kmh=3))
        assert half["outcome"] == "accepted"
        assert half["detail"].startswith("latitude_deg: half a position")
        (whole,) = await shard.ingest(
            update(WORKSPACE, "bus-1", now, latitude_deg=5, longitude_deg=655)
        )
        assert (whole["outcome"], whole["reason"]) == ("rejected", "invalid")
        assert whole["detail"].startswith("latitude_deg: longitude_deg is above 180 deg")


async def _has(harness: Harness, signal: str) -> bool:
    return signal in await values(harness)


async def _is_refused(harness: Harness, reason: str) -> bool:
    return reason in await refusals(harness)


async def test_a_clock_that_was_never_set_is_refused(dsn: str, tmp_path: Path) -> None:
    async with open_maker() as maker, open_harness(dsn, tmp_path) as harness:
        snapshot = {"hybridBatteryPackRemainingCharge": 61.5}
        maker.records = [record(1, snapshot, createdDateTime="0001-01-01T00:00:00Z")]
        await configure_maker(harness, maker)

        async def reasons() -> list[str]:
            return [item["reason"] for item in (await harness.shard.health(WORKSPACE))["items"]]

        await eventually(reasons, ["updates_rejected"], within=60)
        (row,) = await harness.shard.rejections(WORKSPACE)
    assert (row["reason"], row["external_id"]) == ("invalid", VIN)
