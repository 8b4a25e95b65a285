"""Commands on cutovers: judged as a whole in their transaction, and written into the history."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from domain.changes import Author, ChangeKind
from domain.cutover import Cutover, CutoverRefusal, PollOwner, ReadOwner
from domain.guardrails import GuardrailSettings
from domain.parity_gate import GateSettings, GateView, WorstDevice
from domain.registry import Archived, Moved, NotFound, Stored
from ports.cutovers import CutoverDraft, Force, ShutGate, new_draft
from ports.legacy import LegacyConfiguration
from tests.storage.fixtures import WORKSPACE, populate
from tests.storage.holding import holding

if TYPE_CHECKING:
    from domain.changes import StoredChange
    from ports.cutovers import StoredCutover
    from storage.cutovers import PostgresCutovers
    from storage.gateway import Connection, Database
    from tests.conftest import Stores
    from tests.storage.fixtures import Cast

ANNA = Author("key-anna", "trace-9", "192.0.2.7")
SHAPE = {"values": {"path": "/state", "items": "data", "signals": {}}}
LEGACY = LegacyConfiguration("http://127.0.0.1:9", "env:LEGACY", SHAPE)
SHADOW = Cutover(poll_owner=PollOwner.BOTH_SHADOW, read_owner=ReadOwner.LEGACY)
CORE_READS = Cutover(poll_owner=PollOwner.BOTH_SHADOW)
ROLLED_BACK = Cutover(poll_owner=PollOwner.LEGACY, read_owner=ReadOwner.LEGACY)


@pytest.fixture
async def cast(postgres_stores: Stores) -> Cast:
    return await populate(postgres_stores)


@pytest.fixture
async def cutovers(cast: Cast) -> PostgresCutovers:
    """Those of a workspace in shadow, whose reads are the legacy system's."""
    cutovers: PostgresCutovers = cast.stores.cutovers
    assert await cutovers.put_cutover(WORKSPACE, draft=make(SHADOW)) == Stored(created=False)
    return cutovers


def make(flags: Cutover, **rest: Any) -> CutoverDraft:
    return new_draft(flags)._replace(legacy=LEGACY)._replace(**rest)


async def get(cutovers: PostgresCutovers) -> StoredCutover:
    found = await cutovers.get_cutover(WORKSPACE)
    assert found is not None
    return found


async def compare_cycles(
    database: Database, *, cycles: int, why: str | None = None, **counts: int
) -> None:
    """Write so many compared cycles, as parity does. Later calls write later cycles."""
    named = {"equal": 99, "missing_here": 0, "missing_there": 0, "older": 1, "different": 0}
    values = [*({**named, "incomparable": 0, **counts}).values()]

    async def work(connection: Connection) -> None:
        await connection.execute(
            "INSERT INTO parity_cycles (workspace_id, slot_start_at, cycle_id, compared_at, why,"
            " equal, missing_here, missing_there, older, different, incomparable, samples)"
            " SELECT $1, t, t::text, t, $3, $4, $5, $6, $7, $8, $9, $10"
            " FROM generate_series(1, $2) AS n, LATERAL (SELECT clock_timestamp()"
            " + make_interval(secs => n * 0.001) AS t) AS x",
            WORKSPACE,
            cycles,
            why,
            *values,
            '[{"device_id": "bus-1", "vehicle_id": "vehicle-bus-1", "verdict": "older"}]',
        )

    await database.run(work)


async def entries(cast: Cast) -> list[StoredChange]:
    found = cast.stores.changes.find_as_of
    return await found(WORKSPACE, ChangeKind.CUTOVER, datetime.now(UTC) + timedelta(hours=1))


# --- What is stored


async def test_the_whole_cutover_comes_back_as_it_was_put(cutovers: PostgresCutovers) -> None:
    draft = make(
        SHADOW,
        gate=GateSettings(cycles=3, max_mismatch_share=0.5),
        guardrails=GuardrailSettings(max_age_seconds=900.0),
    )
    assert await cutovers.put_cutover(WORKSPACE, draft=draft) == Stored(created=False)
    stored = await get(cutovers)
    assert stored.draft == draft
    assert stored.workspace.cutover_revision == 3


async def test_settings_of_a_later_release_are_left_alone(
    cutovers: PostgresCutovers, database: Database
) -> None:
    later = """UPDATE cutovers SET gate = '{"cycles": 3, "unheard_of": 1}'"""
    await database.run(lambda connection: connection.execute(later))
    assert (await get(cutovers)).draft.gate == GateSettings(cycles=3)


async def test_a_cutover_seen_before_another_change_is_refused(cutovers: PostgresCutovers) -> None:
    before = await get(cutovers)
    answer = await cutovers.put_cutover(WORKSPACE, draft=make(ROLLED_BACK), expected=1)
    assert answer == Moved(2)
    assert await cutovers.roll_back(WORKSPACE, reason="late", expected=1) == Moved(2)
    assert await get(cutovers) == before


async def test_only_a_workspace_in_use_is_changed(cast: Cast, cutovers: PostgresCutovers) -> None:
    assert await cutovers.put_cutover("nowhere", draft=new_draft()) == NotFound("workspace")
    assert await cutovers.roll_back("nowhere", reason="x") == NotFound("workspace")
    await cast.stores.registry.put_workspace(WORKSPACE, name="Harbour", active=False)
    await cast.stores.registry.archive_workspace(WORKSPACE)
    assert await cutovers.put_cutover(WORKSPACE, draft=new_draft()) == Archived("workspace")
    assert await cutovers.roll_back(WORKSPACE, reason="x") == Archived("workspace")
    assert await cutovers.get_cutover("nowhere") is None
    assert await cutovers.describe_cutover("nowhere", events=1) is None


# --- The history


async def test_a_change_leaves_who_when_before_and_after(
    cast: Cast, cutovers: PostgresCutovers
) -> None:
    await cutovers.put_cutover(WORKSPACE, draft=make(ROLLED_BACK), by=ANNA)
    (entry,) = await entries(cast)
    assert (entry.who, entry.trace_id, entry.address) == ANNA
    assert entry.before is not None
    assert (entry.before["poll_owner"], entry.after["poll_owner"]) == ("both_shadow", "legacy")
    assert entry.after["legacy"] == {
        "base_url": "http://127.0.0.1:9",
        "credential": "env:LEGACY",
        "shape": SHAPE,
    }
    assert entry.after["gate"] == GateSettings()._asdict()
    assert entry.after["guardrails"] == GuardrailSettings()._asdict()
    assert {"force", "rollback"}.isdisjoint(entry.after)


# --- What is refused


@pytest.mark.parametrize(
    ("draft", "rule"),
    [
        (make(Cutover(poll_owner=PollOwner.LEGACY)), "read-without-poll"),
        (new_draft(SHADOW), "legacy-missing"),
    ],
)
async def test_contradicting_flags_change_nothing(
    cutovers: PostgresCutovers, draft: CutoverDraft, rule: str
) -> None:
    before = await get(cutovers)
    refusal = await cutovers.put_cutover(WORKSPACE, draft=draft, force=Force("because"))
    assert isinstance(refusal, CutoverRefusal)
    assert refusal.rule == rule
    assert await get(cutovers) == before


# --- The gate


async def test_core_reads_only_through_the_open_gate(
    cutovers: PostgresCutovers, database: Database
) -> None:
    await compare_cycles(database, cycles=11)
    shut = await cutovers.put_cutover(WORKSPACE, draft=make(CORE_READS))
    assert isinstance(shut, ShutGate)
    assert shut.refusal.rule == "parity-gate"
    assert shut.view == GateView(
        is_open=False, cycles=11, comparable_cycles=11, mismatch_share=0.01
    )
    assert shut.worst_devices == [WorstDevice("bus-1", "vehicle-bus-1", {"older": 11})]
    assert (await get(cutovers)).draft.flags == SHADOW
    await compare_cycles(database, cycles=1)
    assert await cutovers.put_cutover(WORKSPACE, draft=make(CORE_READS)) == Stored(created=False)
    assert (await get(cutovers)).draft.flags == CORE_READS


@pytest.mark.parametrize(
    "newest",
    [
        {"older": 15, "equal": 85},  # 26 of 1200: more than 1%
        {"equal": 89, "older": 0, "incomparable": 11},
        {"equal": 99, "older": 0, "why": "the legacy system did not answer"},
    ],
)
async def test_one_newest_cycle_shuts_the_gate(
    cutovers: PostgresCutovers, database: Database, newest: dict[str, Any]
) -> None:
    await compare_cycles(database, cycles=12)
    await compare_cycles(database, cycles=1, **newest)
    assert isinstance(await cutovers.put_cutover(WORKSPACE, draft=make(CORE_READS)), ShutGate)


@pytest.mark.parametrize(
    ("change", "is_open"),
    [
        ("UPDATE workspaces SET asking_changed_at = now() - interval '1 hour'", True),
        ("UPDATE workspaces SET asking_changed_at = now() + interval '1 hour'", False),
        ("UPDATE parity_cycles SET compared_at = compared_at - interval '119 minutes'", True),
        ("UPDATE parity_cycles SET compared_at = compared_at - interval '121 minutes'", False),
    ],
)
async def test_the_gate_counts_recent_comparisons_under_present_flags(
    cutovers: PostgresCutovers, database: Database, change: str, is_open: bool
) -> None:
    """Twelve cycles of five minutes each: two hours are twice their time."""
    await compare_cycles(database, cycles=12)
    await database.run(lambda connection: connection.execute(change))
    report = await cutovers.describe_cutover(WORKSPACE, events=1)
    assert report is not None
    assert report.view.is_open is is_open
    answer = await cutovers.put_cutover(WORKSPACE, draft=make(CORE_READS))
    assert isinstance(answer, Stored) is is_open


async def test_after_a_rollback_the_gate_asks_for_new_comparisons(
    cutovers: PostgresCutovers, database: Database
) -> None:
    await compare_cycles(database, cycles=12)
    await cutovers.put_cutover(WORKSPACE, draft=make(CORE_READS))
    await cutovers.roll_back(WORKSPACE, reason="values look wrong")
    await cutovers.put_cutover(WORKSPACE, draft=make(SHADOW))
    assert isinstance(await cutovers.put_cutover(WORKSPACE, draft=make(CORE_READS)), ShutGate)


async def test_force_passes_the_shut_gate_and_is_in_the_history(
    cast: Cast, cutovers: PostgresCutovers
) -> None:
    force = Force("a fleet of two, watched by hand")
    forced = await cutovers.put_cutover(WORKSPACE, draft=make(CORE_READS), force=force)
    assert forced == Stored(created=False)
    (entry,) = await entries(cast)
    assert entry.after["force"] == {"reason": "a fleet of two, watched by hand"}


async def test_the_gate_is_passed_in_one_direction_only(cutovers: PostgresCutovers) -> None:
    await cutovers.put_cutover(WORKSPACE, draft=make(CORE_READS), force=Force("first"))
    core = make(Cutover(poll_owner=PollOwner.CORE))
    assert await cutovers.put_cutover(WORKSPACE, draft=core) == Stored(created=False)
    assert await cutovers.put_cutover(WORKSPACE, draft=make(SHADOW)) == Stored(created=False)


async def test_the_report_has_the_gate_and_the_newest_events(
    cutovers: PostgresCutovers, database: Database
) -> None:
    await compare_cycles(database, cycles=13)
    events = f"""
        INSERT INTO guardrail_events (workspace_id, at, kind, cycle_id, crossings, why_not,
                                      trace_id)
        SELECT '{WORKSPACE}', now(), 'alert', 'cycle-' || n, '[{{"measured": 3}}]', 'away', 'trace'
        FROM generate_series(1, 3) AS n
    """
    await database.run(lambda connection: connection.execute(events))
    report = await cutovers.describe_cutover(WORKSPACE, events=2)
    assert report is not None
    assert report.view == GateView(
        is_open=True, cycles=12, comparable_cycles=12, mismatch_share=0.01
    )
    assert [event.cycle_id for event in report.guardrail_events] == ["cycle-3", "cycle-2"]
    assert report.guardrail_events[0].crossings == [{"measured": 3}]


# --- Rollback


async def test_a_rollback_gives_reads_and_polls_back_in_one_change(
    cast: Cast, cutovers: PostgresCutovers
) -> None:
    await cutovers.put_cutover(WORKSPACE, draft=make(CORE_READS), force=Force("first"))
    answer = await cutovers.roll_back(WORKSPACE, reason="values look wrong", by=ANNA)
    assert answer == Stored(created=False)
    stored = await get(cutovers)
    assert stored.draft == make(ROLLED_BACK)
    assert stored.workspace.cutover_revision == 4
    assert stored.workspace.asking_changed_at is not None
    (entry,) = await entries(cast)
    assert (entry.who, entry.after["rollback"]) == ("key-anna", {"reason": "values look wrong"})


async def test_a_rollback_may_be_sent_again(cutovers: PostgresCutovers) -> None:
    assert await cutovers.roll_back(WORKSPACE, reason="first") == Stored(created=False)
    before = await get(cutovers)
    again = await cutovers.roll_back(WORKSPACE, reason="again")
    assert isinstance(again, Stored)
    assert again.revision == before.workspace.cutover_revision
    after = await get(cutovers)
    assert after.workspace.config_version == before.workspace.config_version


async def test_a_rollback_to_no_legacy_system_is_refused(cast: Cast) -> None:
    refusal = await cast.stores.cutovers.roll_back(WORKSPACE, reason="panic")
    assert isinstance(refusal, CutoverRefusal)
    assert refusal.rule == "legacy-missing"


# --- Notes


async def test_a_note_does_not_wait_for_a_locked_cutover(
    cutovers: PostgresCutovers, database: Database
) -> None:
    lock = "SELECT 1 FROM cutovers WHERE workspace_id = $1 FOR UPDATE"
    async with holding(database, lock, WORKSPACE):
        await cutovers.note_legacy_answer(WORKSPACE, datetime.now(UTC))
        await cutovers.note_legacy_answer(WORKSPACE, datetime.now(UTC), "away")
    stored = await get(cutovers)
    assert (stored.legacy_answered_at, stored.legacy_fault) == (None, None)


async def test_an_older_note_does_not_replace_a_newer_one(cutovers: PostgresCutovers) -> None:
    now = datetime.now(UTC)
    for at, fault in ((now, None), (now, "new"), (now - timedelta(seconds=1), "old")):
        await cutovers.note_legacy_answer(WORKSPACE, at, fault)
    await cutovers.note_legacy_answer(WORKSPACE, now - timedelta(seconds=1))
    stored = await get(cutovers)
    noted = (stored.legacy_answered_at, stored.legacy_failed_at, stored.legacy_fault)
    assert noted == (now, now, "new")


async def test_a_fault_is_cut_to_what_can_be_stored(cutovers: PostgresCutovers) -> None:
    await cutovers.note_legacy_answer(WORKSPACE, datetime.now(UTC), "\0" + 600 * "é")
    assert (await get(cutovers)).legacy_fault == 500 * "é"
