"""The scenarios of cutovers."""

from __future__ import annotations

from typing import Any

from domain.cutover import Cutover, PollOwner, ReadOwner
from domain.parity_gate import GateSettings
from ports.cutovers import CutoverDraft, UnfitNote, new_draft
from ports.legacy import LegacyConfiguration
from tests.isolation.fleets import OURS, SESSION, Harness, ago
from tests.isolation.scenario import drives

LEGACY = LegacyConfiguration("https://ours.example/other", "env:OURS", {"values": {}})
SHADOW = Cutover(poll_owner=PollOwner.BOTH_SHADOW, read_owner=ReadOwner.LEGACY)
# Without a legacy system of ours, a statement that looks too far finds theirs.
NO_LEGACY = f"DELETE FROM cutovers WHERE workspace_id = '{OURS}'"


# Comparisons count while they are recent. Only ours reads the legacy system's values.
RECENT = (
    "UPDATE parity_cycles SET compared_at = clock_timestamp()",
    f"UPDATE workspaces SET read_owner = 'legacy' WHERE workspace_id = '{OURS}'",
)


def make(flags: Cutover, **rest: Any) -> CutoverDraft:
    return new_draft(flags)._replace(legacy=LEGACY, **rest)


@drives("get_cutover", "load_cutovers", prepared=(NO_LEGACY,))
async def read_cutovers(harness: Harness) -> Any:
    cutovers = harness.stores.cutovers
    return [
        (await cutovers.get_cutover(name), await cutovers.load_cutovers(SESSION, [name]))
        for name in (OURS, "nowhere")
    ]


@drives("get_cutover", "load_gate_cycles", "list_guardrail_events", prepared=RECENT)
async def describe_a_cutover(harness: Harness) -> Any:
    report = await harness.stores.cutovers.describe_cutover(OURS, events=9)
    assert report is not None
    events = [event._replace(event_id=0) for event in report.guardrail_events]
    return report.stored, report.view, events


@drives("lock_workspace", "get_cutover", "update_flags", "save_cutover", "append_changes")
async def put_a_cutover(harness: Harness) -> Any:
    return await harness.stores.cutovers.put_cutover(OURS, draft=make(SHADOW))


@drives("save_cutover", "update_flags", prepared=(NO_LEGACY,))
async def put_a_first_cutover_and_roll_back(harness: Harness) -> Any:
    cutovers = harness.stores.cutovers
    answers = [
        await cutovers.put_cutover(OURS, draft=make(Cutover())),
        await cutovers.roll_back(OURS, reason="tried out"),
    ]
    return answers, await cutovers.get_cutover(OURS)


@drives("load_gate_cycles", prepared=RECENT)
async def knock_at_the_gate(harness: Harness) -> Any:
    cutovers = harness.stores.cutovers
    core_reads = make(Cutover(), gate=GateSettings(cycles=9))
    return await cutovers.put_cutover(OURS, draft=core_reads)


@drives("note_legacy_answer", "note_legacy_failure", "note_legacy_unfit")
async def note_answers_of_the_legacy_system(harness: Harness) -> Any:
    cutovers = harness.stores.cutovers
    await cutovers.note_legacy_answer(OURS, ago(0.5))
    await cutovers.note_legacy_answer(OURS, ago(0.4), "no answer")
    unfit = UnfitNote(ago(0.3), 1, "bus-7", "/values/received_at", "no instant", "{}")
    await cutovers.note_legacy_unfit(OURS, unfit)
    return await harness.stores.cutovers.get_cutover(OURS)
