"""The synchronisation of devices with legacy registries: its store, and how it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from domain.changes import Author
    from domain.legacy_sync import HeldBack, NotSynced, RefusedDevice, SyncOutcome
    from domain.model import SessionRef
    from ports.cutovers import Force
    from ports.legacy import LegacyRegistry

MAX_LISTED: Final = 100  # of each list of a report; the counts are of all


class SyncReport(NamedTuple):
    """What came of an attempt to synchronise.

    `counts` says how many devices got what; it is empty if nothing was applied. `answered_at` is
    that of the newest answer that was applied. Lists have at most MAX_LISTED devices.
    """

    outcome: SyncOutcome | NotSynced
    synced_at: datetime
    answered_at: datetime | None = None
    detail: str | None = None
    counts: Mapping[str, int] = {}
    held_back: Sequence[HeldBack] = ()
    refused: Sequence[RefusedDevice] = ()


class SyncOrder(NamedTuple):
    """How an answer is to be applied.

    `revision` is that of the cutover under which the legacy system was asked. `session` is that of
    the shard that owns the workspace; None for a command, which runs on any shard. `force` believes
    the answer whatever the number of devices that it leaves out. `dry_run` stores nothing.
    """

    revision: int
    by: Author
    session: SessionRef | None = None
    force: Force | None = None
    dry_run: bool = False


class LegacySyncStore(Protocol):
    """Applies answers of legacy registries, and keeps what came of the newest."""

    async def apply_answer(
        self, workspace_id: str, answer: LegacyRegistry, order: SyncOrder
    ) -> SyncReport:
        """Store what the answer changes, in one transaction.

        Two calls at once are applied one after the other. Of an answer that is not newer than the
        one applied before, nothing is stored. NotSynced says so.
        """

    async def note_failure(
        self, workspace_id: str, outcome: SyncOutcome, detail: str, order: SyncOrder
    ) -> SyncReport:
        """Note that there was no answer to apply. What the newest one left out stays known."""

    async def get_sync(self, workspace_id: str) -> SyncReport | None:
        """Return what came of the newest attempt; None if there was none."""


class RegistrySyncs(Protocol):
    """Synchronises at once, for a command."""

    async def sync_now(
        self,
        workspace_id: str,
        *,
        force: Force | None = None,
        dry_run: bool = False,
        by: Author,
    ) -> SyncReport | None:
        """Ask the legacy registry, and apply its answer. None if the flags ask for no sync.

        Raises LegacyUnreachable and LegacyUnfit; both are noted.
        """
