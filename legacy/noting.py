"""Legacy systems, with a note in the database of whether they answer.

Owns how often notes are written. The guardrails of any shard read them: a rollback to a legacy
system that does not answer would turn every read into an error.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from ports.cutovers import UnfitNote
from ports.legacy import LegacyUnfit, LegacyUnreachable, UnfitItem
from runtime.faults import EnvironmentFault
from runtime.logs import EdgeLog, get_logger

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from ports.cutovers import LegacyNotes
    from ports.legacy import (
        LegacyConfiguration,
        LegacyRegistry,
        LegacySystems,
        LegacyValues,
        ShapeFault,
    )
    from runtime.clock import Clock

T = TypeVar("T")
AnswerT = TypeVar("AnswerT", "LegacyRegistry", "LegacyValues")

NOTE_EVERY_SECONDS: Final = 10.0
UNFIT_EVERY_SECONDS: Final = 60.0
MAX_NOTED: Final = 10_000  # workspaces whose newest note is remembered; the oldest is forgotten


class _Note(NamedTuple):
    has_failed: bool
    at: float  # monotonic


class NotedLegacySystems:
    """ports.legacy.LegacySystems over another one, which does the work.

    A note is written at once when a system begins to fail or to answer again, and otherwise at most
    once in NOTE_EVERY_SECONDS for each workspace and configuration. The reader whose answer is
    noted waits for that, 2 s at most. An answer that does not fit as a whole is a failure: no
    reader could use it. What does not fit is noted with a sample, at most once in
    UNFIT_EVERY_SECONDS.
    """

    def __init__(self, inner: LegacySystems, notes: LegacyNotes, clock: Clock) -> None:
        """`clock` has the database's time."""
        self._inner = inner
        self._notes = notes
        self._clock = clock
        self._configurations: OrderedDict[str, LegacyConfiguration] = OrderedDict()
        self._newest: OrderedDict[str, _Note] = OrderedDict()
        self._unfit: OrderedDict[str, float] = OrderedDict()  # when it was noted, monotonic
        self._edge = EdgeLog(get_logger("legacy"), "legacy_note")

    def check(self, configuration: LegacyConfiguration) -> list[ShapeFault]:
        return self._inner.check(configuration)

    async def load_registry(
        self, workspace_id: str, configuration: LegacyConfiguration
    ) -> LegacyRegistry:
        load = self._inner.load_registry(workspace_id, configuration)
        return await self._noting(workspace_id, configuration, load)

    async def load_values(
        self, workspace_id: str, configuration: LegacyConfiguration
    ) -> LegacyValues:
        load = self._inner.load_values(workspace_id, configuration)
        return await self._noting(workspace_id, configuration, load)

    async def _noting(
        self, workspace_id: str, configuration: LegacyConfiguration, load: Awaitable[AnswerT]
    ) -> AnswerT:
        self._follow(workspace_id, configuration)
        try:
            answer = await load
        except LegacyUnreachable as fault:
            await self._note(workspace_id, str(fault))
            raise
        except LegacyUnfit as fault:
            await self._note(workspace_id, str(fault))
            whole = UnfitItem(None, fault.expression, str(fault), fault.sample)
            await self._note_unfit(workspace_id, 0, whole)
            raise
        await self._note(workspace_id, None)
        if answer.unfit:
            await self._note_unfit(workspace_id, answer.unfit_count, answer.unfit[0])
        return answer

    def _follow(self, workspace_id: str, configuration: LegacyConfiguration) -> None:
        """Forget what was noted of another configuration: the change removed those notes."""
        if self._configurations.get(workspace_id) != configuration:
            self._newest.pop(workspace_id, None)
            self._unfit.pop(workspace_id, None)
            _remember(self._configurations, workspace_id, configuration)

    async def _note_unfit(self, workspace_id: str, items: int, first: UnfitItem) -> None:
        now = self._clock.monotonic()
        noted_at = self._unfit.get(workspace_id)
        if noted_at is not None and now - noted_at < UNFIT_EVERY_SECONDS:
            return
        _remember(self._unfit, workspace_id, now)
        sample = first.sample.decode(errors="replace")
        note = UnfitNote(
            self._clock.wall(), items, first.device_id, first.expression, first.detail, sample
        )
        try:
            await self._notes.note_legacy_unfit(workspace_id, note)
        except EnvironmentFault as trouble:
            self._unfit.pop(workspace_id, None)
            self._edge.failed(trouble)
        else:
            self._edge.recovered()

    async def _note(self, workspace_id: str, fault: str | None) -> None:
        """Write a note if one is due. Without the database, there is none: the load still counts.

        It is remembered before it is written, so that concurrent readers write only one.
        """
        note = _Note(fault is not None, self._clock.monotonic())
        if not self._is_due(self._newest.get(workspace_id), note):
            return
        _remember(self._newest, workspace_id, note)
        try:
            await self._notes.note_legacy_answer(workspace_id, self._clock.wall(), fault)
        except EnvironmentFault as trouble:
            self._newest.pop(workspace_id, None)
            self._edge.failed(trouble)
        else:
            self._edge.recovered()

    def _is_due(self, newest: _Note | None, note: _Note) -> bool:
        if newest is None or newest.has_failed != note.has_failed:
            return True
        return note.at - newest.at >= NOTE_EVERY_SECONDS


def _remember(newest: OrderedDict[str, T], workspace_id: str, note: T) -> None:
    """Keep the note as the newest one; the oldest of too many is forgotten."""
    newest[workspace_id] = note
    newest.move_to_end(workspace_id)
    if len(newest) > MAX_NOTED:
        newest.popitem(last=False)
