"""The workspace actor: one poll cycle in every slot of its own, and runs that somebody asks for.

Owns the schedule of one workspace: when to start, what was missed. What a cycle does is in cycle.py, when slots are is
in domain/schedule.py. It must never start two cycles at once, nor one outside its own slot.
"""

from __future__ import annotations

import uuid
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import trio

from actors.cycle import Cycle, PollState
from domain import schedule
from domain.model import CycleKey, CycleTrigger, Submission
from domain.schedule import Start
from runtime.backoff import Backoff
from runtime.faults import EnvironmentFault
from runtime.logs import EdgeLog, get_logger
from runtime.reply import Reply
from runtime.timers import sleep_until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime
    from random import Random

    from actors.connections import Connector
    from actors.fleet import FleetView
    from actors.ingest import IngestActor
    from actors.ports import CycleStart, CycleStore
    from domain.model import Receipt, SessionRef, Workspace
    from runtime.clock import SharedClock

T = TypeVar("T")

MAX_MISSED_RECORDED = 12  # rows for slots nobody started; of a longer absence only the newest are recorded
REQUESTED_SHARE = 0.2  # of the interval; what a run that was asked for may take at least


class WorkspaceActor:
    """Runs its workspace's cycles one after the other until it is cancelled."""

    def __init__(
        self,
        view: FleetView,
        session: SessionRef,
        connector: Connector,
        ingest: IngestActor,
        cycles: CycleStore,
        clock: SharedClock,
        random: Random,
    ) -> None:
        self._view = view
        self._session = session
        self._connector = connector
        self._ingest = ingest
        self._cycles = cycles
        self._clock = clock
        self._random = random
        self._state = PollState(view.fleet.cursors)
        self._backoff = Backoff(random, base_seconds=0.2, cap_seconds=5.0)
        self._log = get_logger("workspace").bind(workspace_id=view.workspace_id)
        self._edge = EdgeLog(self._log, "cycle_record")
        self._outcomes: Counter[str] = Counter()
        self._seen_version = view.version
        self._last_slot: datetime | None = None
        self._next_start_at: datetime | None = None

    async def run(self) -> None:
        """Make up for the present slot if nobody did, then start every regular cycle. Ends only by cancellation."""
        await self._recover()
        timing, (start, trigger) = self._timing(), self._first_start()
        await self._run_requested(start)  # it may have been asked for while nobody was here
        while True:
            self._next_start_at = start.start_at
            is_due = await sleep_until(self._clock.now, start.start_at, unless=self._hear_of_change)
            if is_due:
                await self._run_scheduled(start, trigger)
            else:
                await self._run_requested(start)
            if timing != self._timing():
                self._last_slot = None  # of the former schedule: nobody missed any slot of this one
                timing, (start, trigger) = self._timing(), self._first_start()
            elif is_due:
                start, trigger = self._next_turn()  # else the one that was waited for still stands, late or not

    # --- when

    @property
    def _workspace(self) -> Workspace:
        return self._view.workspace

    def _timing(self) -> tuple[int, float]:
        """What all starts follow from."""
        return self._workspace.ordinal, self._workspace.poll_interval_seconds

    def _first_start(self) -> tuple[Start, CycleTrigger]:
        """The present slot's turn: late if its regular start is over, regular if that is still to come, and another
        attempt of the schedule's cycle if the last owner had begun one (a completed one will not be repeated).
        """
        workspace = self._workspace
        now = self._clock.now()
        start = schedule.late_start(now, workspace.workspace_id, workspace.ordinal, workspace.poll_interval_seconds)
        regular = schedule.next_start(now, workspace.workspace_id, workspace.ordinal, workspace.poll_interval_seconds)
        is_attempt = self._last_slot == start.slot_start_at
        return start, CycleTrigger.SCHEDULE if is_attempt or start == regular else CycleTrigger.LATE

    def _next_turn(self) -> tuple[Start, CycleTrigger]:
        """The next regular start; before that the present slot's turn, if the last slot's took until now."""
        workspace = self._workspace
        after = self._clock.now()
        if self._last_slot is not None:
            if schedule.slot_of(after, workspace.ordinal, workspace.poll_interval_seconds) > self._last_slot:
                return self._first_start()
            after = max(after, self._last_slot)  # which a clock that was set back may have put into the future
        start = schedule.next_start(after, workspace.workspace_id, workspace.ordinal, workspace.poll_interval_seconds)
        return start, CycleTrigger.SCHEDULE

    async def _hear_of_change(self) -> None:
        """Return when the configuration changed or a run was asked for since this returned last."""
        self._seen_version = await self._view.wait_changed(self._seen_version)

    # --- what

    async def _recover(self) -> None:
        """After a boot, a takeover or a pause: what was left running is abandoned, what nobody started is missed."""
        await self._abandon_orphans()
        self._last_slot = await self._persist(lambda: self._cycles.load_last_slot(self._view.workspace_id))

    async def _abandon_orphans(self) -> None:
        """Nothing of this workspace runs while it is in here, so what is recorded as running will never end: its owner
        is gone, its end found no room, or its start was recorded and the answer lost.
        """
        await self._settle()
        abandoned = await self._persist(lambda: self._cycles.abandon_orphans(self._session, self._view.workspace_id))
        if abandoned:
            self._log.warning("poll_cycles_abandoned", cycles=abandoned)

    async def _settle(self) -> None:
        """The end of our last cycle may still wait for the database, which would answer that its slot is open: what
        stands before a submission of our own in the lane of polls has its verdict when that has. No deadline: without
        the database there is no cycle to start.
        """
        if self._ingest.has_unsettled(self._view.ownership.resource):
            settled: Reply[Receipt | None] = Reply()
            trace_id, ownership = uuid.uuid4().hex, self._view.ownership
            await self._ingest.submit(
                Submission(origin="poll", trace_id=trace_id, ownership=ownership, resolve=settled.resolve)
            )
            await settled.wait()

    async def _run_scheduled(self, start: Start, trigger: CycleTrigger) -> None:
        await self._record_missed(start)
        slot = self._last_slot = start.slot_start_at
        trace_id = uuid.uuid4().hex
        key = CycleKey(self._view.workspace_id, slot, trigger, 1)
        started = await self._begin(
            lambda: self._cycles.start_cycle(self._session, key, schedule.cycle_id(key), trace_id),
            has_room=lambda: self._is_room_left(slot),
        )
        if started is None:
            await self._persist(lambda: self._cycles.record_missed(self._session, self._view.workspace_id, [slot]))
        elif started.started:
            now = self._clock.now()
            deadline = schedule.cycle_deadline(start._replace(start_at=now), self._workspace.poll_interval_seconds)
            await self._run_cycle(started, trace_id, deadline)

    def _is_room_left(self, slot: datetime) -> bool:
        """False when the machine slept through the slot, or the database was away for it."""
        return schedule.leaves_room(Start(slot, self._clock.now()), self._workspace.poll_interval_seconds)

    async def _begin(
        self, call: Callable[[], Awaitable[CycleStart | None]], has_room: Callable[[], bool] = lambda: True
    ) -> CycleStart | None:
        """Have the database record a cycle as running, as long as it makes sense; None when it never came to that.

        A cycle whose record was made and the answer lost is abandoned before the next attempt.
        """
        while has_room():
            try:
                started = await call()
            except EnvironmentFault as fault:
                await self._back_off(fault)
                await self._abandon_orphans()
            else:
                self._note_answer()
                return started
        return None

    async def _record_missed(self, start: Start) -> None:
        if self._last_slot is None:
            return
        slots = schedule.missed_slots(
            self._last_slot,
            start.slot_start_at,
            self._workspace.ordinal,
            self._workspace.poll_interval_seconds,
            MAX_MISSED_RECORDED,
        )
        if slots:
            self._log.warning("poll_cycles_missed", slots=len(slots), first=slots[0], last=slots[-1])
            await self._persist(lambda: self._cycles.record_missed(self._session, self._view.workspace_id, slots))

    async def _run_requested(self, before: Start) -> None:
        """Run what was asked for, if anything was: a wake-up may also mean another configuration. It may delay the
        start that comes next, but leaves it the room it needs.
        """
        workspace = self._workspace
        requested = await self._begin(
            lambda: self._cycles.take_requested_cycle(self._session, workspace.workspace_id, workspace.config_version)
        )
        if requested is not None:
            at_least = timedelta(seconds=REQUESTED_SHARE * self._workspace.poll_interval_seconds)
            deadline = max(before.start_at, self._clock.now() + at_least)
            # Under the trace id of whoever asked, so that the log leads from the request to the outcome.
            await self._run_cycle(requested, requested.trace_id or uuid.uuid4().hex, deadline)

    async def _run_cycle(self, started: CycleStart, trace_id: str, deadline: datetime) -> None:
        interval = self._workspace.poll_interval_seconds
        cycle = Cycle(
            started, trace_id, self._view, self._state, self._connector, self._ingest, self._clock, self._random
        )
        fetch_seconds = max(0.0, (deadline - self._clock.now()).total_seconds())
        outcome = await cycle.run(fetch_seconds, commit_seconds=schedule.COMMIT_SHARE * interval)
        self._outcomes[outcome] += 1

    async def _persist(self, call: Callable[[], Awaitable[T]]) -> T:
        """Try a database call until it succeeds. The slots that pass meanwhile are found and recorded as missed."""
        while True:
            try:
                value = await call()
            except EnvironmentFault as fault:
                await self._back_off(fault)
            else:
                self._note_answer()
                return value

    async def _back_off(self, fault: EnvironmentFault) -> None:
        self._edge.failed(fault)
        await trio.sleep(self._backoff.next_delay(fault.retry_after))

    def _note_answer(self) -> None:
        self._edge.recovered()
        self._backoff.reset()

    def statistics(self) -> dict[str, Any]:
        return {
            "outcomes": dict(self._outcomes),
            "next_start_at": None if self._next_start_at is None else self._next_start_at.isoformat(),
            "config_version": self._workspace.config_version,
        }
