"""The scenarios of parity and guardrails."""

from __future__ import annotations

from typing import Any

from domain.guardrails import Crossing, Guardrail
from domain.model import Ownership
from domain.parity import ParityCounts, ParityVerdict
from domain.resource import workspace_resource
from ports.guardrails import GuardrailFinding
from ports.parity import ParityCycle
from tests.isolation.fleets import OURS, SESSION, THEIRS, Harness, ago
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


@drives("load_cycle_ends")
async def look_at_ended_cycles(harness: Harness) -> Any:
    return await harness.stores.guardrails.load_cycle_ends(OURS, 12)


@drives("load_gate_cycles")
async def look_at_comparisons(harness: Harness) -> Any:
    return await harness.stores.guardrails.load_comparisons(OURS, 12)


IN_SHADOW = f"""
    UPDATE workspaces SET poll_owner = 'both_shadow', cutover_revision = 7
    WHERE workspace_id = '{OURS}'
"""
OWNERSHIP = Ownership(workspace_resource(OURS), *SESSION, 1)
CROSSING = Crossing(Guardrail.CYCLES, 9.0, 10.0, "9 of the last 12 cycles completed")
FINDING = GuardrailFinding("cycle-1", "trace-9", 7, (CROSSING,), THEIRS)


@drives("hold_lease", "record_rollback", "note_rollback", prepared=(IN_SHADOW,))
async def roll_back_by_a_guardrail(harness: Harness) -> Any:
    guardrails = harness.stores.guardrails
    theirs = OWNERSHIP._replace(token=2)  # of which only theirs has one
    return [await guardrails.roll_back(owner, OURS, FINDING) for owner in (theirs, OWNERSHIP)]


# The same alert of theirs is no reason to leave out ours.
THEIR_ALERT = f"""
    UPDATE guardrail_events SET at = now(), why_not = '{THEIRS}',
        crossings = '[{{"guardrail": "cycles"}}]'
    WHERE workspace_id = '{THEIRS}'
"""


@drives("hold_lease", "record_alert", prepared=(THEIR_ALERT,))
async def alert_by_a_guardrail(harness: Harness) -> Any:
    guardrails = harness.stores.guardrails
    return [await guardrails.record_alert(OWNERSHIP, OURS, FINDING) for _ in range(2)]
