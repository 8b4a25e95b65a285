"""Cutovers for the twin: the command that tests of the actors give, and what a shard reads."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from domain.registry import Stored
from ports.cutovers import StoredCutover, new_draft
from storage.memory.sessions import is_live

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from domain.model import SessionRef
    from ports.cutovers import CutoverDraft, UnfitNote
    from storage.memory.engine import Engine


class MemoryCutovers:
    """ports.cutovers.CutoverWatch, and the parts of its neighbours that fill it.

    Commands are not judged: a cutover that the API would refuse is a mistake of the test.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def put_cutover(self, workspace_id: str, *, draft: CutoverDraft) -> Stored:
        key = (workspace_id,)
        async with self._engine.writing() as tables:
            workspace = tables.workspaces.get(key)
            assert workspace is not None, f"{workspace_id} was never put"  # noqa: S101 tests only
            stored = tables.cutovers.get(key)
            if stored is not None and stored.draft == draft:
                return Stored(created=False, revision=workspace.cutover_revision)
            asks_others = draft.flags.asks_others_than(workspace.cutover)
            changed = replace(
                workspace,
                cutover=draft.flags,
                cutover_revision=workspace.cutover_revision + 1,
                config_version=workspace.config_version + 1,
                asking_changed_at=self._engine.now()
                if asks_others
                else workspace.asking_changed_at,
            )
            tables.workspaces.put(key, changed)
            if stored is None or stored.draft.legacy != draft.legacy:
                stored = StoredCutover(changed, draft)
            tables.cutovers.put(key, stored._replace(draft=draft))
            self._engine.notify(f"workspace:{workspace_id}")
            return Stored(created=False, revision=changed.cutover_revision)

    async def load_cutover(self, session: SessionRef, workspace_id: str) -> StoredCutover | None:
        return (await self.load_cutovers(session, [workspace_id])).get(workspace_id)

    async def load_cutovers(
        self, session: SessionRef, workspace_ids: Sequence[str]
    ) -> dict[str, StoredCutover]:
        await self._engine.arrive()
        tables = self._engine.tables
        if not is_live(tables, session):
            return {}
        found = {name: tables.workspaces.get((name,)) for name in workspace_ids}
        return {
            name: (
                tables.cutovers.get((name,)) or StoredCutover(one, new_draft(one.cutover))
            )._replace(workspace=one)
            for name, one in found.items()
            if one is not None
        }

    async def note_legacy_answer(
        self, workspace_id: str, at: datetime, fault: str | None = None
    ) -> None:
        async with self._engine.writing() as tables:
            stored = tables.cutovers.get((workspace_id,))
            if stored is None:
                return
            noted = (
                stored._replace(legacy_answered_at=at)
                if fault is None
                else stored._replace(legacy_failed_at=at, legacy_fault=fault)
            )
            tables.cutovers.put((workspace_id,), noted)

    async def note_legacy_unfit(self, workspace_id: str, note: UnfitNote) -> None:
        async with self._engine.writing() as tables:
            stored = tables.cutovers.get((workspace_id,))
            if stored is not None:
                tables.cutovers.put((workspace_id,), stored._replace(legacy_unfit=note))
