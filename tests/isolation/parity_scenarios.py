"""The scenarios of parity: what core shows, and what comparisons found."""

from __future__ import annotations

from typing import Any

from domain.parity import ParityCounts, ParityVerdict
from ports.parity import ParityCycle
from storage.queries import sql
from tests.isolation.fleets import OURS, SESSION, Harness, ago
from tests.isolation.scenario import drives

COUNTS = ParityCounts(3, {ParityVerdict.EQUAL: 3})


@drives("get_workspace", "list_providers", "list_core_views")
async def show_what_core_shows(harness: Harness) -> Any:
    return await harness.stores.parity.load_core_views(OURS)


@drives("record_parity")
async def record_a_comparison(harness: Harness) -> Any:
    cycle = ParityCycle(ago(1), "cycle-1", ago(1), COUNTS, [{"device_id": "bus-1"}])
    return await harness.stores.parity.record_parity(SESSION, OURS, cycle)


@drives("list_parity")
async def list_comparisons(harness: Harness) -> Any:
    found = await harness.stores.parity_reads.list_parity(OURS, limit=10)
    return [(one.cycle_id, one.counts, one.why) for one in found]


@drives("load_parity_counts")
async def count_for_the_gate(harness: Harness) -> Any:
    return await harness.fetch(sql("load_parity_counts"), OURS, 12)
