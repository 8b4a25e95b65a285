"""Indicators of fleets that are collected for real. FR-009, acceptance 11, SC-13."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from runtime.instants import format_instant
from tests.acceptance.fleets import SILENT, polled, streamed
from tests.acceptance.harness import QUICK, open_harness, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.harness import Harness


async def test_acceptance_11_fr_009_sc_13_cycles_of_a_shard_leave_shares(
    dsn: str, tmp_path: Path
) -> None:
    """Of the polled fleet one vehicle of two reports, of the streamed one both."""
    west = polled("west", 2, manners=[SILENT])
    harbour = streamed("harbour", 2)
    async with open_harness(dsn, tmp_path, west, harbour, shards=("shard-1", "shard-2")) as harness:
        for fleet in (west, harbour):
            await harness.add_fleet(fleet, interval=2, thresholds=QUICK)
        await until(lambda: _have_settled(harness))
        shown = {name: await _ask_both(harness, name) for name in ("west", "harbour")}

    for name, fresh in (("west", 1), ("harbour", 2)):
        found = shown[name]
        assert found["freshness"]["active_devices"] == 2
        assert found["freshness"]["heard_devices"] == fresh
        assert found["coverage"]["covered_share"] == fresh / 2
        assert found["objective"]["samples"] >= 3
        assert found["updates"]["accepted"] > 0
        assert found["lag"]["received_to_committed"]["p95_seconds"] < 5.0
    burnt = shown["west"]["objective"]["burn_rates"][0]
    assert 10.0 <= burnt["burn_rate"] <= 20.0  # half of the devices are not fresh, later on
    assert shown["west"]["cycles"]["success_share"] > 0.5  # in slots of 2 s
    assert shown["west"]["coalescing"]["records_per_update"] >= 1.0
    assert shown["harbour"]["coalescing"]["frames_per_update"] > 1.0
    (stream,) = shown["harbour"]["streams"]
    assert stream["open_share"] > 0.9


async def _have_settled(harness: Harness) -> bool:
    """Return whether the last two cycles of each workspace found what they will always find."""
    for name, fresh in (("west", 1), ("harbour", 2)):
        cycles = await harness.shard.cycles(name)
        ended = [one["fresh_devices"] for one in cycles if one["ended_at"] is not None]
        if len(ended) < 3 or ended[:2] != [fresh, fresh]:
            return False
    return True


async def _ask_both(harness: Harness, name: str) -> Any:
    """Return one shard's answer, after both gave the same about a span that is over."""
    to = format_instant(await harness.now() - timedelta(seconds=3))
    path = f"/workspaces/{name}/indicators"
    answers = [await shard.get(path, to=to) for shard in harness.shards]
    for member in ("updates", "lag", "streams", "begins_at", "ends_at"):
        assert answers[0][member] == answers[1][member], member
    return await harness.shard.get(path)
