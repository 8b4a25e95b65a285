"""The synchronisation with a legacy registry: when it is asked, and what is noted and logged."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

import pytest

from actors.cutover import AfterCycle
from actors.cycle_ends import EndedRun
from actors.registry_sync import RegistrySync, RegistrySyncCommand, SyncStep
from domain.changes import Author
from domain.cutover import NEW_CUTOVER, Cutover, PollOwner, ReadOwner, RegistrySource
from domain.legacy_sync import NotSynced, SyncOutcome
from domain.model import Policy, SessionRef, Workspace
from ports.cutovers import Force, StoredCutover, new_draft
from ports.legacy import LegacyUnfit, LegacyUnreachable
from ports.legacy_syncs import SyncOrder, SyncReport
from tests.actors.harness import HARBOUR
from tests.actors.instants import at
from tests.legacy.scripted import CONFIGURATION, ScriptedLegacy

if TYPE_CHECKING:
    from ports.legacy import LegacyRegistry

SYNCED = Cutover(
    RegistrySource.LEGACY_SYNC, poll_owner=PollOwner.LEGACY, read_owner=ReadOwner.LEGACY
)
SESSION = SessionRef("shard-1", 1)
ANNA = Author("key-anna", "trace-9")
UNREACHABLE = LegacyUnreachable("no answer")
UNFIT = LegacyUnfit("data", "no list")


@dataclass
class ScriptedSyncs:
    """ports.legacy_syncs.LegacySyncStore that answers with these outcomes, one after the other."""

    outcomes: list[SyncOutcome | NotSynced] = field(default_factory=list)
    applied: list[tuple[LegacyRegistry, SyncOrder]] = field(default_factory=list)
    failures: list[tuple[SyncOutcome, str, SyncOrder]] = field(default_factory=list)

    async def apply_answer(
        self, workspace_id: str, answer: LegacyRegistry, order: SyncOrder
    ) -> SyncReport:
        assert workspace_id == HARBOUR
        self.applied.append((answer, order))
        outcome = self.outcomes.pop(0) if self.outcomes else SyncOutcome.SYNCED
        return SyncReport(outcome, at(0), counts={"created": 0, "held_back": 3})

    async def note_failure(
        self, workspace_id: str, outcome: SyncOutcome, detail: str, order: SyncOrder
    ) -> SyncReport:
        self.failures.append((outcome, detail, order))
        return SyncReport(outcome, at(0))

    async def get_sync(self, workspace_id: str) -> SyncReport | None:
        raise AssertionError("nobody asks here")


class Side:
    """A step and a command over one legacy system and one store."""

    def __init__(self, flags: Cutover = SYNCED) -> None:
        self.legacy, self.store = ScriptedLegacy(), ScriptedSyncs()
        sync = RegistrySync(self.legacy, self.store)
        self.step = SyncStep(HARBOUR, SESSION, sync)
        self.stored: StoredCutover | None = stored(flags)
        self.command = RegistrySyncCommand(cast("Any", self), sync)

    async def get_cutover(self, workspace_id: str) -> StoredCutover | None:
        return self.stored

    async def end_cycle(self) -> bool:
        assert self.stored is not None
        ended = EndedRun(at(0), "cycle-1", "trace-c", self.stored.draft.flags)
        return await self.step.run(AfterCycle(ended, self.stored, cast("Any", None)))


def stored(flags: Cutover, revision: int = 7) -> StoredCutover:
    workspace = Workspace(HARBOUR, "Harbour", True, 0, 300, Policy(), cutover=flags)
    draft = new_draft(flags)._replace(legacy=CONFIGURATION)
    return StoredCutover(replace(workspace, cutover_revision=revision), draft)


async def test_each_cycle_is_followed_by_a_sync_in_its_trace() -> None:
    side = Side()
    assert await side.end_cycle()
    order = SyncOrder(7, Author("legacy-sync", "trace-c"), SESSION)
    assert side.store.applied == [(side.legacy.registry, order)]


async def test_without_legacy_sync_the_registry_is_not_asked() -> None:
    side = Side(NEW_CUTOVER)
    assert not await side.end_cycle()
    assert await side.command.sync_now(HARBOUR, by=ANNA) is None
    assert side.legacy.asked == []


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [(UNREACHABLE, SyncOutcome.UNREACHABLE), (UNFIT, SyncOutcome.UNFIT)],
)
async def test_a_failure_is_noted_and_raised(
    fault: LegacyUnreachable | LegacyUnfit, outcome: SyncOutcome
) -> None:
    side = Side()
    side.legacy.fault = fault
    with pytest.raises(type(fault)):
        await side.end_cycle()
    assert [failure[:2] for failure in side.store.failures] == [(outcome, str(fault))]
    assert side.store.applied == []


async def test_a_dry_run_notes_no_failure() -> None:
    side = Side()
    side.legacy.fault = UNREACHABLE
    with pytest.raises(LegacyUnreachable):
        await side.command.sync_now(HARBOUR, dry_run=True, by=ANNA)
    assert side.store.failures == []


async def test_a_doubt_is_logged_when_it_begins_and_ends(events: list[Any]) -> None:
    side = Side()
    side.store.outcomes = [SyncOutcome.DOUBTED, SyncOutcome.DOUBTED, SyncOutcome.SYNCED]
    for _ in range(3):
        await side.end_cycle()
    assert [entry["event"] for entry in events] == [
        "registry_sync_retiring_failed",
        "registry_sync_retiring_recovered",
    ]


async def test_a_command_has_no_session_and_keeps_its_reason() -> None:
    side = Side()
    force = Force("the depot was sold")
    report = await side.command.sync_now(HARBOUR, force=force, by=ANNA)
    assert report is not None
    assert [order for _, order in side.store.applied] == [SyncOrder(7, ANNA, None, force)]


@pytest.mark.parametrize(
    ("outcomes", "asked"),
    [
        ([NotSynced.OUTDATED, SyncOutcome.SYNCED], 2),
        ([NotSynced.OUTDATED, NotSynced.OUTDATED], 2),
        ([NotSynced.CHANGED], 1),
    ],
)
async def test_a_command_asks_again_if_its_answer_was_applied_already(
    outcomes: list[SyncOutcome | NotSynced], asked: int
) -> None:
    side = Side()
    side.store.outcomes = list(outcomes)
    report = await side.command.sync_now(HARBOUR, by=ANNA)
    assert report is not None
    assert (report.outcome, len(side.legacy.asked)) == (outcomes[-1], asked)
