"""The synchronisation of devices with a legacy registry: after each cycle, and on command.

Owns the order: ask the legacy system, then apply its answer, or note that there was none. What an
answer changes is decided in domain/legacy_sync.py, within the store's transaction. It must never
apply an answer under other flags than those under which it was asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from domain.changes import LEGACY_SYNC
from domain.cutover import RegistrySource
from domain.legacy_sync import NotSynced, SyncOutcome
from ports.legacy import LegacyUnfit, LegacyUnreachable
from ports.legacy_syncs import SyncOrder
from runtime.logs import EdgeLog, get_logger

if TYPE_CHECKING:
    from actors.cutover import AfterCycle
    from domain.changes import Author
    from domain.cutover import Cutover
    from domain.model import SessionRef
    from ports.cutovers import Cutovers, Force, StoredCutover
    from ports.legacy import LegacyConfiguration, LegacySystems
    from ports.legacy_syncs import LegacySyncStore, SyncReport

MAX_ASKED: Final = 2  # times by one command
APPLIED: Final = frozenset({SyncOutcome.SYNCED, SyncOutcome.INCOMPLETE, SyncOutcome.DOUBTED})
CHANGING: Final = ("created", "changed", "swapped", "activated", "returned", "retired")
_INCOMPLETE: Final = "devices of the legacy registry do not fit the shape: no device is retired"
_DOUBTED: Final = "the legacy registry leaves out too many devices: none is retired without force"


class RegistrySync:
    """Asks a legacy registry and applies its answer."""

    def __init__(self, systems: LegacySystems, store: LegacySyncStore) -> None:
        self._systems = systems
        self._store = store

    async def sync(
        self, workspace_id: str, configuration: LegacyConfiguration, order: SyncOrder
    ) -> SyncReport:
        """Raises LegacyUnreachable and LegacyUnfit, both noted, and DatabaseAway."""
        try:
            answer = await self._systems.load_registry(workspace_id, configuration)
        except (LegacyUnreachable, LegacyUnfit) as fault:
            if not order.dry_run:
                is_unfit = isinstance(fault, LegacyUnfit)
                outcome = SyncOutcome.UNFIT if is_unfit else SyncOutcome.UNREACHABLE
                await self._store.note_failure(workspace_id, outcome, str(fault), order)
            raise
        return await self._store.apply_answer(workspace_id, answer, order)


class SyncStep:
    """actors.cutover.CutoverStep: synchronises after each cycle, also after a skipped one."""

    name: Final = "sync"
    deadline_seconds: Final = 20.0

    def __init__(self, workspace_id: str, session: SessionRef, sync: RegistrySync) -> None:
        self._session = session
        self._sync = sync
        self._log = get_logger("registry_sync").bind(workspace_id=workspace_id)
        self._retiring = EdgeLog(self._log, "registry_sync_retiring")

    def concerns(self, flags: Cutover) -> bool:
        return flags.device_registry_source is RegistrySource.LEGACY_SYNC

    async def run(self, after: AfterCycle) -> bool:
        legacy = find_synced_legacy(after.stored)
        if legacy is None:
            return False
        order = SyncOrder(
            after.stored.workspace.cutover_revision,
            LEGACY_SYNC._replace(trace_id=after.ended.trace_id),
            self._session,
        )
        workspace_id = after.stored.workspace.workspace_id
        report = await self._sync.sync(workspace_id, legacy, order)
        self._tell(report, after.ended.trace_id)
        return report.outcome in APPLIED

    def _tell(self, report: SyncReport, trace_id: str) -> None:
        """Log what was changed, and the edges of retiring nobody."""
        match report.outcome:
            case SyncOutcome.DOUBTED:
                self._retiring.failed(_DOUBTED, held_back=report.counts["held_back"])
            case SyncOutcome.INCOMPLETE:
                self._retiring.failed(_INCOMPLETE, held_back=report.counts["held_back"])
            case SyncOutcome.SYNCED:
                self._retiring.recovered()
        if any(report.counts.get(name) for name in CHANGING):
            self._log.info("registry_synced", trace_id=trace_id, **report.counts)


class RegistrySyncCommand:
    """ports.legacy_syncs.RegistrySyncs. It runs on any shard, so it has no session."""

    def __init__(self, cutovers: Cutovers, sync: RegistrySync) -> None:
        self._cutovers = cutovers
        self._sync = sync

    async def sync_now(
        self, workspace_id: str, *, force: Force | None = None, dry_run: bool = False, by: Author
    ) -> SyncReport | None:
        report = None
        for _ in range(MAX_ASKED):
            stored = await self._cutovers.get_cutover(workspace_id)
            legacy = None if stored is None else find_synced_legacy(stored)
            if stored is None or legacy is None:
                return None
            order = SyncOrder(stored.workspace.cutover_revision, by, force=force, dry_run=dry_run)
            report = await self._sync.sync(workspace_id, legacy, order)
            # An answer that a cycle shares may be applied before this command comes to it.
            if report.outcome is not NotSynced.OUTDATED:
                break
        return report


def find_synced_legacy(stored: StoredCutover) -> LegacyConfiguration | None:
    """Return the legacy system whose registry is followed; None if the flags ask for none."""
    if stored.draft.flags.device_registry_source is not RegistrySource.LEGACY_SYNC:
        return None
    return stored.draft.legacy
