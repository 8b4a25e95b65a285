"""What the simulator says that it sent is what the service counted, with every kind of bad data."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import trio

from domain.position import wire_names
from providers.viriciti.wire import signal_of
from simulator.frames import FrameKind
from simulator.quirks import Quirk
from tests.acceptance.fleets import polled, streamed
from tests.acceptance.harness import eventually, open_harness, until
from tests.conftest import fetch

if TYPE_CHECKING:
    from collections.abc import Mapping
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
Row = tuple[str, str, str | None]  # outcome, reason, signal
REASONS = {
    Quirk.MALFORMED_RECORDS: "malformed",
    Quirk.BAD_BYTES: "malformed",
    Quirk.CLOCK_AHEAD: "future_timestamp",
    Quirk.REFUSED_SIGNAL: "invalid",
    Quirk.HALF_POSITION: "invalid",
    Quirk.FILL_VALUES: "not_available",
}
# Of rFMS a whole record has a fault. These rows count each such record once.
ROWS_OF_RECORDS: dict[str, Row] = {
    "clock_ahead": ("rejected", "future_timestamp", "soc_percent"),
    "refused_signal": ("rejected", "invalid", "soc_percent"),
    "half_position": ("rejected", "invalid", "longitude_deg"),
    "fill_values": ("rejected", "not_available", "odometer_km"),
}
# A frame that was cut off, or that is no object, is malformed without a signal of its own, or is of
# a vehicle that sends good frames, too.
LEDGER = """
    SELECT r.reason, r.signal, sum(r.occurrences)::bigint AS occurrences
    FROM rejections r LEFT JOIN device_state s USING (workspace_id, device_id)
    WHERE r.outcome = 'rejected'
      AND r.signal IS DISTINCT FROM 'charging' -- we tell it from the power; no vehicle sends it
      AND (r.reason <> 'malformed' OR r.origin = 'poll' OR s.version = 0)
    GROUP BY r.reason, r.signal"""


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
        quirks, written = live.written_with_quirk, live.written
        unreadable = quirks["malformed_records"] + quirks["bad_bytes"]
        cut_off = written[FrameKind.MALFORMED] + written[FrameKind.NON_OBJECT]
        assert frames["malformed"] == unreadable + cut_off > cut_off > 0
        await harness.close_shard()  # what waits to be counted is written at the end
        assert await refused(dsn) == in_the_ledgers_words(live.damaged)


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
        sent = maker.statistics(brief=True)["sent_with_quirk"]
        await harness.close_shard()
        found = await refused(dsn)
    assert {fault: found[row] for fault, row in ROWS_OF_RECORDS.items()} == {
        fault: sent[fault] for fault in ROWS_OF_RECORDS
    }
    damaged_bytes = sum(count for (_, reason, _), count in found.items() if reason == "malformed")
    assert damaged_bytes == sent["malformed_records"] + sent["bad_bytes"]


async def refused(dsn: str) -> Counter[Row]:
    """Return the refusals of the one workspace by reason and signal, without the cut-off frames.

    Those are of vehicles without a quirk, and a part of them names none.
    """
    rows = await trio.to_thread.run_sync(fetch, dsn, LEDGER)
    found: Counter[Row] = Counter()
    for row in rows:
        found["rejected", row["reason"], row["signal"]] += row["occurrences"]
    return found


def in_the_ledgers_words(damaged: Mapping[tuple[Quirk, str], int]) -> Counter[Row]:
    """Return what the simulator says it damaged, as the ledger names it."""
    found: Counter[Row] = Counter()
    for (quirk, label), count in damaged.items():
        for signal in wire_names(str(signal_of(label))):
            found["rejected", REASONS[quirk], signal] += count
    return found


async def _is_over(sent: int) -> bool:
    return sent > ENOUGH


async def _silence(harness: Harness, tenant: str) -> None:
    """Let no vehicle report any more. What was sent stays as it was."""
    vehicles = harness.simulator.provider_of(tenant).roster.vehicles
    await harness.change_faults(
        tenant, reporting={vehicle: {"never": True} for vehicle in vehicles}
    )
