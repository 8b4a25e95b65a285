"""The rollback of a guardrail as one fenced transaction, its alerts, and what it looks at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from domain.changes import ChangeKind
from domain.cutover import Cutover, PollOwner, ReadOwner
from domain.cycles import CycleOutcome, CycleTrigger
from domain.guardrails import Crossing, EndedCycle, Guardrail
from domain.model import Ownership
from ports.changes import AuditQuery
from ports.cutovers import CutoverDraft, new_draft
from ports.guardrails import GuardrailFinding
from ports.legacy import LegacyConfiguration
from tests.conftest import execute
from tests.storage.contract.cast import HARBOUR, HARBOUR_LEASE, ISLAND, slot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ports.changes import AuditEntry
    from ports.cutovers import GuardrailEvent, StoredCutover
    from tests.storage.contract.cast import PostgresWorld

LEGACY = LegacyConfiguration("http://127.0.0.1:9", None, {"values": {"path": "/state"}})
SHADOW = Cutover(poll_owner=PollOwner.BOTH_SHADOW)
ROLLED_BACK = Cutover(poll_owner=PollOwner.LEGACY, read_owner=ReadOwner.LEGACY)
CROSSING = Crossing(Guardrail.CYCLES, 9.0, 10.0, "9 of the last 12 cycles completed")
EVIDENCE = [
    {
        "guardrail": "cycles",
        "measured": 9.0,
        "limit": 10.0,
        "detail": "9 of the last 12 cycles completed",
    }
]
WHY_NOT = "the legacy system did not answer"


@pytest.fixture
def place(dsn: str) -> str:
    """The twin does not have these ports."""
    return dsn


def finding(revision: int, why_not: str | None = None, **rest: Any) -> GuardrailFinding:
    plain = GuardrailFinding("cycle-1", "trace-9", revision, (CROSSING,), why_not)
    return plain._replace(**rest)


def shadowed(legacy: LegacyConfiguration | None = LEGACY) -> CutoverDraft:
    return new_draft(SHADOW)._replace(legacy=legacy)


async def own(world: PostgresWorld) -> Ownership:
    """Claim the harbour."""
    tokens = await world.stores.leases.claim(world.session, [HARBOUR_LEASE])
    return Ownership(HARBOUR_LEASE, *world.session, tokens[HARBOUR_LEASE])


async def begin(world: PostgresWorld) -> tuple[Ownership, int]:
    """Claim the harbour, which reads core beside a legacy system. Returns its revision, too."""
    await world.stores.cutovers.put_cutover(HARBOUR, draft=shadowed())
    return await own(world), (await stored(world)).workspace.cutover_revision


async def stored(world: PostgresWorld) -> StoredCutover:
    found = await world.stores.cutovers.get_cutover(HARBOUR)
    assert found is not None
    return found


async def events(world: PostgresWorld) -> list[GuardrailEvent]:
    report = await world.stores.cutovers.describe_cutover(HARBOUR, events=100)
    assert report is not None
    return list(report.guardrail_events)


async def rollbacks_in_history(world: PostgresWorld) -> list[AuditEntry]:
    query = AuditQuery(
        frozenset({HARBOUR}), with_keys=False, kind=ChangeKind.CUTOVER, who="guardrail", most=10
    )
    return await world.stores.changes.list_changes(query)


async def roll_back(world: PostgresWorld, ownership: Ownership, revision: int) -> bool:
    return await world.stores.guardrails.roll_back(ownership, HARBOUR, finding(revision))


async def test_a_rollback_is_flags_history_event_and_note_at_once(world: PostgresWorld) -> None:
    ownership, revision = await begin(world)
    version = await world.config_version()
    assert await roll_back(world, ownership, revision)
    after = await stored(world)
    assert after.draft == shadowed()._replace(flags=ROLLED_BACK)
    assert after.workspace.cutover_revision == revision + 1
    assert await world.config_version() == version + 1
    assert after.rolled_back_at is not None
    (event,) = await events(world)
    assert event[2:] == ("rollback", "cycle-1", EVIDENCE, None, "trace-9")
    (entry,) = await rollbacks_in_history(world)
    assert entry.change.trace_id == "trace-9"
    assert entry.change.after["rollback"] == {"cycle_id": "cycle-1", "crossings": EVIDENCE}


async def test_a_rollback_that_is_sent_again_changes_nothing(world: PostgresWorld) -> None:
    ownership, revision = await begin(world)
    assert await roll_back(world, ownership, revision)
    after = await stored(world)
    assert not await roll_back(world, ownership, revision)
    assert not await roll_back(world, ownership, revision + 1)  # nothing is left to roll back
    assert await stored(world) == after
    assert (len(await events(world)), len(await rollbacks_in_history(world))) == (1, 1)


async def assert_untouched(world: PostgresWorld) -> None:
    after = await stored(world)
    assert (after.draft.flags, after.rolled_back_at) == (SHADOW, None)
    assert (await events(world), await rollbacks_in_history(world)) == ([], [])


async def test_a_cutover_that_changed_since_it_was_judged_stays(world: PostgresWorld) -> None:
    ownership, revision = await begin(world)
    assert not await roll_back(world, ownership, revision - 1)
    await assert_untouched(world)


async def test_a_session_that_is_over_does_not_act(world: PostgresWorld) -> None:
    ownership, revision = await begin(world)
    await world.stores.sessions.end_session(world.session)
    assert not await roll_back(world, ownership, revision)
    alert = finding(revision, WHY_NOT)
    assert not await world.stores.guardrails.record_alert(ownership, HARBOUR, alert)
    await assert_untouched(world)


async def test_a_shard_without_the_lease_does_not_act(world: PostgresWorld) -> None:
    ownership, revision = await begin(world)
    await world.stores.leases.release(world.session, {HARBOUR_LEASE: ownership.token})
    other = await world.begin("shard-2")
    await world.stores.leases.claim(other, [HARBOUR_LEASE])
    assert not await roll_back(world, ownership, revision)
    assert not await roll_back(world, ownership._replace(token=ownership.token + 1), revision)
    alert = finding(revision, WHY_NOT)
    assert not await world.stores.guardrails.record_alert(ownership, HARBOUR, alert)
    await assert_untouched(world)


async def test_of_two_that_roll_back_at_once_one_does(world: PostgresWorld) -> None:
    ownership, revision = await begin(world)
    acted = []

    async def act() -> None:
        acted.append(await roll_back(world, ownership, revision))

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(act)
    assert sorted(acted) == [False, False, False, True]
    assert len(await events(world)) == 1


async def test_without_a_legacy_system_nothing_is_rolled_back(world: PostgresWorld) -> None:
    ownership = await own(world)
    revision = (await stored(world)).workspace.cutover_revision
    assert not await roll_back(world, ownership, revision)
    assert (await stored(world)).draft == new_draft()
    assert await events(world) == []


async def test_the_same_alert_is_recorded_once_an_hour(world: PostgresWorld, dsn: str) -> None:
    ownership, revision = await begin(world)

    async def alert(**changes: Any) -> bool:
        found = finding(revision, **{"why_not": WHY_NOT, **changes})
        return await world.stores.guardrails.record_alert(ownership, HARBOUR, found)

    worse = (CROSSING._replace(measured=3.0),)
    other = (CROSSING._replace(guardrail=Guardrail.FRESHNESS),)
    assert [await alert(), await alert(crossings=worse)] == [True, False]
    assert [await alert(crossings=other), await alert(why_not="too soon")] == [True, True]
    older = "UPDATE guardrail_events SET at = at - interval '3601 seconds'"
    await trio.to_thread.run_sync(execute, dsn, older)
    assert await alert(crossings=worse)
    newest = (await events(world))[0]
    assert (newest.kind, newest.why_not, newest.crossings[0]["measured"]) == ("alert", WHY_NOT, 3.0)
    assert (await stored(world)).draft.flags == SHADOW


# --- what they look at


async def ends(world: PostgresWorld, limit: int = 12) -> Sequence[EndedCycle]:
    return await world.stores.guardrails.load_cycle_ends(HARBOUR, limit)


COMPLETED = EndedCycle(CycleOutcome.COMPLETED, 1.0)


async def run(world: PostgresWorld, number: int, outcome: CycleOutcome, **results: str) -> None:
    started = await world.start(slot(number))
    await world.end(started, outcome, connections=results)


async def test_slots_are_told_newest_first_with_who_answered(
    world: PostgresWorld,
) -> None:
    await run(world, 0, CycleOutcome.COMPLETED, steady="ok")
    await run(world, 1, CycleOutcome.PARTIAL, a="ok", b="ok", c="outage", d="waiting 9 s")
    await run(world, 2, CycleOutcome.FAILED, a="outage")
    await world.stores.cycles.record_missed(world.session, HARBOUR, [slot(3).slot_start_at])
    found = await ends(world)
    assert found == [
        EndedCycle(CycleOutcome.MISSED),
        EndedCycle(CycleOutcome.FAILED),
        EndedCycle(CycleOutcome.PARTIAL, 0.5),
        COMPLETED,
    ]
    assert await ends(world, 2) == found[:2]
    assert await world.stores.guardrails.load_cycle_ends(ISLAND, 12) == []


async def test_what_is_no_end_of_a_busy_slot_is_left_out(
    world: PostgresWorld,
) -> None:
    await run(world, 0, CycleOutcome.SKIPPED)
    await world.start(slot(1))  # it runs
    manual = await world.start(slot(2, CycleTrigger.MANUAL))
    await world.end(manual, CycleOutcome.FAILED)
    assert await ends(world) == []


async def test_of_several_attempts_the_best_counts(world: PostgresWorld) -> None:
    await run(world, 0, CycleOutcome.ABANDONED)
    again = await world.start(slot(0))
    await world.end(again, CycleOutcome.COMPLETED, connections={"steady": "ok"})
    assert await ends(world) == [COMPLETED]


async def test_cycles_under_other_providers_say_nothing(world: PostgresWorld, dsn: str) -> None:
    for number in range(3):
        await run(world, number, CycleOutcome.FAILED)
    change = f"UPDATE workspaces SET asking_changed_at = '{slot(2).slot_start_at.isoformat()}'"
    await trio.to_thread.run_sync(execute, dsn, change)
    assert len(await ends(world)) == 1
