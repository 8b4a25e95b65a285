"""What is refused is in the ledger by reason and signal, in the cycle and in the log."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from tests.acceptance.harness import Harness, open_harness, until
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


async def ledger(harness: Harness) -> set[tuple[Any, ...]]:
    """Return external id (or device id), reason and signal of each row."""
    return {
        (row["external_id"] or row["device_id"], row["reason"], row["signal"])
        for row in await harness.shard.rejections(WORKSPACE)
    }


async def _has_row(harness: Harness, *row: Any) -> bool:
    return row in await ledger(harness)


async def _has_cycle(harness: Harness, refused: dict[str, dict[str, int]]) -> bool:
    cycles = await harness.shard.cycles(WORKSPACE)
    return any(cycle["summary"].get("refused_signals") == refused for cycle in cycles)


async def test_a_polled_signal_that_is_always_refused_is_seen(dsn: str, tmp_path: Path) -> None:
    async with open_maker() as maker, open_harness(dsn, tmp_path) as harness:
        maker.records = [
            record(
                1, {"hybridBatteryPackRemainingCharge": 120.0}, hrTotalVehicleDistance=34_567_000
            )
        ]
        await configure_maker(harness, maker)
        await until(partial(_has_row, harness, VIN, "invalid", "soc_percent"))
        await until(partial(_has_cycle, harness, {"soc_percent": {"invalid": 1}}))
        (row,) = await harness.shard.rejections(WORKSPACE)
        assert (row["device_id"], row["outcome"]) == (VIN, "rejected")
        assert "120" in row["sample"]["text"]
        (item,) = (await harness.shard.health(WORKSPACE))["items"]
        assert item["evidence"]["last_rejected_at"] is None  # the odometer was accepted
        assert item["evidence"]["refused_signals"].keys() == {"soc_percent"}


async def test_a_position_that_is_refused_names_both_halves(dsn: str, tmp_path: Path) -> None:
    async with open_maker() as maker, open_harness(dsn, tmp_path) as harness:
        maker.records = [record(1, at_place(48.2, 655.35, 1), hrTotalVehicleDistance=34_567_000)]
        await configure_maker(harness, maker)
        for half in ("latitude_deg", "longitude_deg"):
            await until(partial(_has_row, harness, VIN, "invalid", half))


async def test_a_code_for_not_available_is_counted_and_blames_nobody(
    dsn: str, tmp_path: Path
) -> None:
    async with open_maker() as maker, open_harness(dsn, tmp_path) as harness:
        maker.records = [record(1, {"hybridBatteryPackRemainingCharge": 102.0})]
        await configure_maker(harness, maker)
        await until(partial(_has_row, harness, VIN, "not_available", "soc_percent"))
        (item,) = (await harness.shard.health(WORKSPACE))["items"]
        assert item["evidence"]["last_rejected_at"] is None


async def test_a_record_that_cannot_be_read_is_held_against_its_device(
    dsn: str, tmp_path: Path
) -> None:
    async with open_maker() as maker, open_harness(dsn, tmp_path) as harness:
        zoneless = record(1, {"hybridBatteryPackRemainingCharge": 61.5})
        zoneless["createdDateTime"] = zoneless["createdDateTime"].rstrip("Z")
        maker.records = [zoneless]
        await configure_maker(harness, maker)
        await until(lambda: _is_held_against(harness, "malformed"))
        assert {row[:2] for row in await ledger(harness)} == {(VIN, "malformed")}


async def test_clients_and_polls_leave_the_same_rows(dsn: str, tmp_path: Path) -> None:
    async with open_harness(dsn, tmp_path) as harness:
        shard = harness.shard
        await shard.add_pushed_fleet(WORKSPACE, ["bus-1"])
        now = await harness.now()
        sent = update(WORKSPACE, "bus-1", now, soc_percent=120, speed_kmh=3, flux=1)
        assert await shard.outcomes(sent) == ["accepted"]
        assert await ledger(harness) == {
            ("bus-1", "invalid", "soc_percent"),
            ("bus-1", "invalid", "unknown"),
        }


async def _is_held_against(harness: Harness, reason: str) -> bool:
    (item,) = (await harness.shard.health(WORKSPACE))["items"]
    return bool(item["evidence"]["last_rejection_reason"] == reason)
