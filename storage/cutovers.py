"""The cutovers of workspaces: flags, legacy system, settings of gate and guardrails, and notes.

Owns the commands' transactions: lock the workspace's row, read, decide (domain/cutover.py and
domain/parity_gate.py), write what changes, append it to the history, and tell the actors of it. A
command that changes nothing writes nothing.
"""

from __future__ import annotations

from datetime import datetime
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, TypeVar

import orjson

from domain.changes import SYSTEM, cutover_change, describe_cutover
from domain.cutover import NEW_CUTOVER, refuse_flags
from domain.guardrails import GuardrailSettings
from domain.model import Workspace
from domain.parity_gate import GateSettings, find_worst, passes_gate, refuse_gate, view_gate
from domain.registry import Stored, find_move
from ports.cutovers import (
    CutoverDraft,
    CutoverReport,
    GuardrailEvent,
    ShutGate,
    StoredCutover,
    UnfitNote,
)
from storage.changes import record_changes
from storage.queries import bound, sql
from storage.registry.workspaces import lock_workspace
from storage.rows import to_legacy_configuration, to_parity_counts, to_workspace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from domain.changes import Author, Document
    from domain.cutover import CutoverRefusal
    from domain.model import SessionRef
    from domain.parity_gate import GateView
    from domain.registry import Archived, Moved, NotFound
    from ports.cutovers import Force
    from storage.gateway import Connection, Database
    from storage.rows import Row

SettingsT = TypeVar("SettingsT", GateSettings, GuardrailSettings)

MAX_FAULT_CHARACTERS: Final = 500
NOTE_SECONDS: Final = 2.0


class PostgresCutovers:
    """ports.cutovers.Cutovers, and the notes and the watch beside it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get_cutover(self, workspace_id: str) -> StoredCutover | None:
        async def work(connection: Connection) -> Any:
            return await connection.fetchrow(sql("get_cutover"), workspace_id)

        row = await self._database.run(work, in_transaction=False)
        return None if row is None else to_stored_cutover(row)

    async def describe_cutover(self, workspace_id: str, *, events: int) -> CutoverReport | None:
        async def work(connection: Connection) -> CutoverReport | None:
            row = await connection.fetchrow(sql("get_cutover"), workspace_id)
            if row is None:
                return None
            stored = to_stored_cutover(row)
            view = await load_gate_view(connection, workspace_id, stored.draft.gate)
            rows = await connection.fetch(sql("list_guardrail_events"), workspace_id, events)
            return CutoverReport(stored, view, [_to_event(row) for row in rows])

        # The parts need not be of one instant: a transaction would cost two more round trips.
        return await self._database.run(work, in_transaction=False)

    async def put_cutover(
        self,
        workspace_id: str,
        *,
        draft: CutoverDraft,
        force: Force | None = None,
        expected: int | None = None,
        by: Author = SYSTEM,
    ) -> Stored | NotFound | Moved | Archived | CutoverRefusal | ShutGate:
        async def work(
            connection: Connection,
        ) -> Stored | NotFound | Moved | Archived | CutoverRefusal | ShutGate:
            stored = await lock_cutover(connection, workspace_id, expected)
            if not isinstance(stored, StoredCutover):
                return stored
            if refusal := refuse_flags(draft.flags, has_legacy=draft.legacy is not None):
                return refusal
            if stored.draft == draft:
                return _answer(stored)
            passes = passes_gate(stored.draft.flags, draft.flags)
            if passes and force is None:
                shut = await _find_shut(connection, workspace_id, draft.gate)
                if shut is not None:
                    return shut
            forced: Document = {"force": force._asdict()} if passes and force else {}
            await write_cutover(connection, stored, draft, by=by, circumstances=forced)
            return _answer(stored, changes=1)

        return await self._database.run(work)

    async def roll_back(
        self,
        workspace_id: str,
        *,
        reason: str,
        expected: int | None = None,
        by: Author = SYSTEM,
    ) -> Stored | NotFound | Moved | Archived | CutoverRefusal:
        async def work(
            connection: Connection,
        ) -> Stored | NotFound | Moved | Archived | CutoverRefusal:
            stored = await lock_cutover(connection, workspace_id, expected)
            if not isinstance(stored, StoredCutover):
                return stored
            return await write_rollback(connection, stored, by=by, rollback={"reason": reason})

        return await self._database.run(work)

    async def load_cutover(self, session: SessionRef, workspace_id: str) -> StoredCutover | None:
        return (await self.load_cutovers(session, [workspace_id])).get(workspace_id)

    async def load_cutovers(
        self, session: SessionRef, workspace_ids: Sequence[str]
    ) -> dict[str, StoredCutover]:
        async def work(connection: Connection) -> Sequence[Row]:
            return await connection.fetch(sql("load_cutovers"), workspace_ids, *session)

        rows = await self._database.run(work, in_transaction=False)
        return {row["workspace_id"]: to_stored_cutover(row) for row in rows}

    async def note_legacy_answer(
        self, workspace_id: str, at: datetime, fault: str | None = None
    ) -> None:
        call: tuple[Any, ...] = (sql("note_legacy_answer"), workspace_id, at)
        if fault is not None:
            text = fault.replace("\0", "")[:MAX_FAULT_CHARACTERS]
            call = (sql("note_legacy_failure"), workspace_id, at, text)

        await self._write_note(call)

    async def note_legacy_unfit(self, workspace_id: str, note: UnfitNote) -> None:
        document = orjson.dumps(note._asdict()).decode()
        await self._write_note((sql("note_legacy_unfit"), workspace_id, document))

    async def _write_note(self, call: tuple[Any, ...]) -> None:
        async def work(connection: Connection) -> None:
            await connection.execute(*call)

        await self._database.run(work, in_transaction=False, deadline_seconds=NOTE_SECONDS)


async def lock_cutover(
    connection: Connection, workspace_id: str, expected: int | None = None
) -> StoredCutover | NotFound | Moved | Archived:
    """Lock the workspace's row until the end of the transaction, and return its cutover."""
    locked = await lock_workspace(connection, workspace_id)
    if not isinstance(locked, Workspace):
        return locked
    if moved := find_move(locked.cutover_revision, expected):
        return moved
    row = await connection.fetchrow(sql("get_cutover"), workspace_id)
    assert row is not None  # noqa: S101 it is locked
    return to_stored_cutover(row)


async def write_rollback(
    connection: Connection, stored: StoredCutover, *, by: Author, rollback: Document
) -> Stored | CutoverRefusal:
    """Give reads and polls to the legacy system. A workspace that is there already stays as it is.

    The caller has locked the cutover. `rollback` goes into the history: why it was rolled back.
    """
    wanted = stored.draft._replace(flags=stored.draft.flags.rolled_back())
    if refusal := refuse_flags(wanted.flags, has_legacy=wanted.legacy is not None):
        return refusal
    if wanted == stored.draft:
        return _answer(stored)
    await write_cutover(connection, stored, wanted, by=by, circumstances={"rollback": rollback})
    return _answer(stored, changes=1)


async def write_cutover(
    connection: Connection,
    stored: StoredCutover,
    wanted: CutoverDraft,
    *,
    by: Author,
    circumstances: Document,
) -> None:
    """Write the whole cutover and its entry of the history. The caller has locked and judged it."""
    workspace_id, former = stored.workspace.workspace_id, stored.draft
    if _settings_of(former) != _settings_of(wanted):
        values = _settings_values(wanted)
        keeps_notes = former.legacy == wanted.legacy
        await connection.execute(
            *bound("save_cutover", workspace_id=workspace_id, keeps_notes=keeps_notes, **values)
        )
    flags = wanted.flags
    call = bound(
        "update_flags",
        workspace_id=workspace_id,
        device_registry_source=flags.device_registry_source.value,
        poll_owner=flags.poll_owner.value,
        read_owner=flags.read_owner.value,
        provider_mode=flags.provider_mode.value,
        asks_others=flags.asks_others_than(former.flags),
    )
    await connection.execute(*call)
    entry = cutover_change(workspace_id, _describe(former), _describe(wanted), **circumstances)
    await record_changes(connection, workspace_id, by, [entry])


async def load_gate_view(connection: Connection, workspace_id: str, gate: GateSettings) -> GateView:
    """Return what the gate sees of the newest compared cycles."""
    rows = await connection.fetch(sql("load_gate_cycles"), workspace_id, gate.cycles, False)
    return view_gate([to_parity_counts(row) for row in rows], gate)


def to_stored_cutover(row: Row) -> StoredCutover:
    """Return the cutover of a row of workspaces that is joined with its row of cutovers."""
    workspace = to_workspace(row)
    draft = CutoverDraft(
        workspace.cutover,
        to_legacy_configuration(row),
        _read_settings(row["gate"], GateSettings()),
        _read_settings(row["guardrails"], GuardrailSettings()),
    )
    return StoredCutover(
        workspace,
        draft,
        row["legacy_answered_at"],
        row["legacy_failed_at"],
        row["legacy_fault"],
        _read_unfit(row["legacy_unfit"]),
        row["rolled_back_at"],
    )


async def _find_shut(
    connection: Connection, workspace_id: str, gate: GateSettings
) -> ShutGate | None:
    rows = await connection.fetch(sql("load_gate_cycles"), workspace_id, gate.cycles, True)
    view = view_gate([to_parity_counts(row) for row in rows], gate)
    refusal = refuse_gate(view, gate)
    if refusal is None:
        return None
    samples = chain.from_iterable(orjson.loads(row["samples"]) for row in rows)
    return ShutGate(refusal, view, find_worst(samples))


def _answer(stored: StoredCutover, *, changes: int = 0) -> Stored:
    return Stored(created=False, revision=stored.workspace.cutover_revision + changes)


def _describe(draft: CutoverDraft) -> Document:
    legacy = None if draft.legacy is None else draft.legacy._asdict()
    return describe_cutover(draft.flags, legacy, draft.gate, draft.guardrails)


def _settings_of(draft: CutoverDraft) -> CutoverDraft:
    """Return the parts of the draft that the table of cutovers holds."""
    return draft._replace(flags=NEW_CUTOVER)


def _settings_values(draft: CutoverDraft) -> dict[str, str | None]:
    legacy = draft.legacy
    return {
        "base_url": None if legacy is None else legacy.base_url,
        "credential": None if legacy is None else legacy.credential,
        "shape": None if legacy is None else orjson.dumps(dict(legacy.shape)).decode(),
        "gate": _dump_settings(draft.gate, GateSettings()),
        "guardrails": _dump_settings(draft.guardrails, GuardrailSettings()),
    }


def _dump_settings(settings: SettingsT, defaults: SettingsT) -> str:
    """Return the settings that differ from the defaults, as they are stored."""
    kept = defaults._asdict()
    own = {name: value for name, value in settings._asdict().items() if value != kept[name]}
    return orjson.dumps(own).decode()


def _read_settings(text: str | None, defaults: SettingsT) -> SettingsT:
    """Return the defaults with what is stored. Settings of later releases are left alone."""
    stored = {} if text is None else orjson.loads(text)
    known = {name: stored[name] for name in defaults._fields if name in stored}
    return defaults._replace(**known)


def _read_unfit(text: str | None) -> UnfitNote | None:
    if text is None:
        return None
    members = orjson.loads(text)
    return UnfitNote(**members | {"at": datetime.fromisoformat(members["at"])})


def _to_event(row: Row) -> GuardrailEvent:
    return GuardrailEvent(
        row["event_id"],
        row["at"],
        row["kind"],
        row["cycle_id"],
        orjson.loads(row["crossings"]),
        row["why_not"],
        row["trace_id"],
    )
