"""What the simulator says that it sent is what the service counted, with every kind of bad data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.acceptance.fleets import polled, streamed
from tests.acceptance.harness import eventually, open_harness, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.harness import Harness

FRAME_FAULTS = (
    "duplicates=0.05,malformed=0.05,non_object=0.05,malformed_records=0.1,clock_ahead=0.1,"
    "bad_bytes=0.1,refused_signal=0.1,half_position=0.1,fill_values=0.1,loose_types=0.1"
)
RECORD_FAULTS = (
    "malformed_records=0.1,clock_ahead=0.1,position_without_time=0.1,refused_signal=0.1,"
    "half_position=0.1,fill_values=0.1,loose_types=0.1,same_second=0.1,bad_bytes=0.1,legal_forms=0.3"
)
ENOUGH = 300


async def test_every_frame_that_was_sent_is_counted(dsn: str, tmp_path: Path) -> None:
    fleet = streamed("harbour", 10, rate=20.0, faults=FRAME_FAULTS)
    async with open_harness(dsn, tmp_path, fleet) as harness:
        await harness.add_fleet(fleet)
        live = harness.simulator.provider_of("harbour").live
        await until(lambda: _is_over(sum(live.written.values())))
        await _silence(harness, "harbour")

        async def missing() -> int:
            received = harness.shard.service.shard.frames()["received"]
            return sum(live.written.values()) - received

        await eventually(missing, 0)
        frames = harness.shard.service.shard.frames()
        parts = ("merged", "ignored", "malformed", "pending")
        assert frames["received"] == sum(frames[part] for part in parts)
        assert frames["malformed"] >= live.written_with_quirk["malformed_records"] > 0


async def test_every_record_that_was_sent_is_counted(dsn: str, tmp_path: Path) -> None:
    fleet = polled("west", 10, every=0.2, faults=RECORD_FAULTS, page_size=20)
    async with open_harness(dsn, tmp_path, fleet) as harness:
        await harness.add_fleet(fleet, interval=2)
        maker = harness.simulator.provider_of("west")
        await until(lambda: _is_over(maker.statistics(brief=True)["statuses_sent"]))
        await _silence(harness, "west")

        async def missing() -> int:
            cycles = await harness.shard.cycles("west")
            counted = sum(cycle["summary"].get("records", 0) for cycle in cycles)
            return int(maker.statistics(brief=True)["statuses_sent"] - counted)

        await eventually(missing, 0)
        statistics = harness.shard.service.ingest.statistics()
        assert statistics.submitted == sum(statistics.outcomes.values()) + statistics.pending


async def _is_over(sent: int) -> bool:
    return sent > ENOUGH


async def _silence(harness: Harness, tenant: str) -> None:
    """Let no vehicle report any more. What was sent stays as it was."""
    vehicles = harness.simulator.provider_of(tenant).roster.vehicles
    await harness.change_faults(
        tenant, reporting={vehicle: {"never": True} for vehicle in vehicles}
    )
