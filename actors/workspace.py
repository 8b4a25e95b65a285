"""The workspace actor: one poll cycle in every slot of its own, and runs that somebody requests.

Owns the schedule of one workspace: when to start, and which slots were missed. cycle.py has what a
cycle does, domain/schedule.py when slots are. It must never start two cycles at once, nor one
outside its own slot.
"""

from __future__ import annotations

import uuid
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

import trio

from actors.cycle import Cycle
from actors.poll_state import PollState
from actors.records import log_abandoned
from actors.rosters import Rosters
from actors.skipping import SKIPPED_SUMMARY, note_skipped
from actors.statistics import WorkspaceStatistics
from domain import schedule
from domain.cycles import CycleKey, CycleOutcome, CycleTrigger
from domain.model import Submission
from domain.schedule import Start
from ports.cycles import WantedCycle
from runtime import spans
from runtime.backoff import Backoff
from runtime.faults import EnvironmentFault
from runtime.instants import format_instant
from runtime.logs import EdgeLog, get_logger
from runtime.reply import Reply
from runtime.timers import sleep_until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from datetime import datetime

    from actors.fleet import FleetView
    from actors.tools import ActorTools
    from domain.model import Receipt, SessionRef, Workspace
    from domain.schedule import Place
    from ports.cycles import CycleHistory, CycleStart, CycleStore

T = TypeVar("T")

MAX_MISSED_RECORDED = 12  # missed slots; of a longer absence only the newest get rows
REQUESTED_SHARE = 0.2  # of the interval; a requested run may take at least this long


class WorkspaceActor:
    """Runs its workspace's cycles one after the other until it is cancelled."""

    def __init__(
        self,
        view: FleetView,
        session: SessionRef,
        cycles: CycleStore,
        tools: ActorTools,
    ) -> None:
        self._view = view
        self._session = session
        self._cycles = cycles
        self._tools = tools
        self._ingest = tools.ingest
        self._clock = tools.clock
        self._measures = tools.measures
        self._state = PollState(view.fleet.cursors, Rosters(view.fleet.rosters, tools.rosters))
        self._backoff = Backoff(tools.random, base_seconds=0.2, cap_seconds=5.0)
        self._log = get_logger("workspace").bind(workspace_id=view.workspace_id)
        self._edge = EdgeLog(self._log, "cycle_record")
        self._outcomes: Counter[str] = Counter()
        self._seen_version = view.version
        self._place: Place | None = None
        self._last_slot: datetime | None = None
        self._last_begun_at: datetime | None = None
        self._next_start_at: datetime | None = None

    async def run(self) -> None:
        """Make up for the present slot if nobody did, then start every regular cycle.

        Ends only by cancellation.
        """
        place = await self._wait_for_place()
        is_requested = await self._recover(place)
        start, trigger = self._first_start(place)
        if is_requested:  # while no actor was running
            await self._run_requested(place, start)
        while True:
            self._next_start_at = start.start_at
            ask_at = schedule.ask_at(start, place.interval)
            is_due = await sleep_until(self._clock, ask_at, unless=self._hear_of_change)
            if is_due:
                await self._run_scheduled(place, start, trigger)
            elif (await self._look_back()).is_requested:
                await self._run_requested(place, start)
            if place != self._find_place():
                place = await self._wait_for_place()
                start, trigger = self._move(place)
                # perhaps requested while there was no place
                await self._run_requested(place, start)
            elif is_due:
                # otherwise the start that was awaited still stands, late or not
                start, trigger = self._next_turn(place)

    # --- when

    @property
    def _workspace(self) -> Workspace:
        return self._view.workspace

    def _find_place(self) -> Place | None:
        """Return the workspace's place; None while it is inactive.

        The lease of an inactive workspace is about to be released.
        """
        return schedule.place_of(self._workspace)

    async def _wait_for_place(self) -> Place:
        """Wait until the workspace has a place, and return it.

        No deadline: an inactive workspace has nothing to start.
        """
        while (place := self._find_place()) is None:
            self._next_start_at = None
            await self._hear_of_change()
        return place

    def _first_start(self, place: Place) -> tuple[Start, CycleTrigger]:
        """Return the present slot's start and its trigger.

        The start is late if the slot's regular start is over, and regular if that is still to come.
        If the last owner had begun a cycle in the slot, this is another attempt of the schedule's
        cycle; a completed cycle will not be repeated.
        """
        now = self._clock.now()
        start = schedule.late_start(now, place)
        is_attempt = self._last_slot == start.slot_start_at
        is_regular = is_attempt or start == schedule.next_start(now, place)
        return start, CycleTrigger.SCHEDULE if is_regular else CycleTrigger.LATE

    def _move(self, place: Place) -> tuple[Start, CycleTrigger]:
        """Return the first turn at another place.

        A cycle that was begun in what is now the present slot has served that slot.
        Neither that slot nor one before it is missed: until now the former place's slots counted.
        """
        present = schedule.slot_of(self._clock.now(), place)
        if self._last_begun_at is not None and self._last_begun_at >= present:
            self._last_slot = present
            return self._next_turn(place)
        self._last_slot = None
        start, trigger = self._first_start(place)
        if not schedule.leaves_enough_of_slot(start, place.interval):
            return self._next_turn(place)
        return start, trigger

    def _next_turn(self, place: Place) -> tuple[Start, CycleTrigger]:
        """Return the next regular start and its trigger.

        If the last slot's cycle took so long that a later slot is present now, return that slot's
        turn.
        """
        after = self._clock.now()
        if self._last_slot is not None:
            if schedule.slot_of(after, place) > self._last_slot:
                return self._first_start(place)
            after = max(after, self._last_slot)  # in the future if the clock was set back
        return schedule.next_start(after, place), CycleTrigger.SCHEDULE

    async def _hear_of_change(self) -> None:
        """Wait until the configuration changes or a run is requested.

        Returns at once if that happened since the last return.
        """
        self._seen_version = await self._view.wait_changed(self._seen_version)

    # --- what

    async def _recover(self, place: Place) -> bool:
        """Find out what happened before a boot, a takeover or a pause ended.

        Cycles left running are marked abandoned. The last slot with a cycle is noted, so that
        slots after it in which nobody started one are recorded as missed. Returns whether a run
        is requested.
        """
        await self._wait_until_judged()
        history = await self._look_back()
        if history.may_have_orphans:
            await self._abandon_orphans()
        last = history.last_slot
        is_own = last is not None and schedule.is_slot_of(place, last)
        self._last_slot = last if is_own else None
        return history.is_requested

    async def _look_back(self) -> CycleHistory:
        return await self._persist(lambda: self._cycles.look_back(self._view.workspace_id))

    async def _abandon_orphans(self) -> None:
        """Mark cycles that are recorded as running abandoned.

        No cycle of this workspace runs during this call, so a cycle recorded as running will never
        end: its owner is gone, its end found no room, or its start was recorded and the answer
        lost.
        """
        await self._wait_until_judged()
        abandoned = await self._persist(
            lambda: self._cycles.abandon_orphans(self._session, self._view.workspace_id)
        )
        log_abandoned(self._log, abandoned)

    async def _wait_until_judged(self) -> None:
        """Wait until earlier poll submissions of this workspace have their verdicts.

        The end of our last cycle may still wait for the database, which would then answer that its
        slot is open. So an empty submission is put into the lane of polls: when it has its verdict,
        so has everything before it in that lane. No deadline: without the database there is no
        cycle to start.
        """
        if self._ingest.has_unjudged(self._view.ownership.resource):
            judged: Reply[Receipt | None] = Reply()
            trace_id, ownership = uuid.uuid4().hex, self._view.ownership
            await self._ingest.submit(
                Submission(
                    origin="poll", trace_id=trace_id, ownership=ownership, resolve=judged.resolve
                )
            )
            await judged.wait()

    async def _run_scheduled(self, place: Place, start: Start, trigger: CycleTrigger) -> None:
        await self._record_missed(place, start)
        slot = self._last_slot = start.slot_start_at
        key, flags = CycleKey(self._view.workspace_id, slot, trigger, 1), self._workspace.cutover
        wanted = WantedCycle(key, schedule.cycle_id(key), uuid.uuid4().hex, start.start_at)
        if not flags.is_collecting:
            await self._wait_for(start)  # nothing has to be ready when it is due
            due_at = max(start.start_at, self._clock.now())
            wanted = wanted._replace(due_at=due_at, skipped=SKIPPED_SUMMARY)
        started = await self._begin(
            lambda: self._cycles.start_cycle(self._session, wanted),
            has_room=lambda: schedule.leaves_enough_of_slot(
                Start(slot, self._clock.now()), place.interval
            ),
        )
        if started is None:
            # The machine slept through the slot, or the database was away for it.
            await self._persist_missed([slot])
        elif not started.started:
            await self._wait_for(start)  # until then, it would be found to be the next one
        elif wanted.skipped is not None:
            self._note_begun(slot, trigger)
            self._outcomes[CycleOutcome.SKIPPED] += 1
            self._measures.cycles(1, CycleOutcome.SKIPPED)
            note_skipped(self._view, started, wanted, flags)
        else:
            cycle = self._make_cycle(started, wanted.trace_id)
            await cycle.wait_to_begin()
            now = self._note_begun(slot, trigger)
            deadline = schedule.cycle_deadline(start._replace(start_at=now), place.interval)
            await self._run_cycle(cycle, deadline, place.interval)

    async def _wait_for(self, start: Start) -> None:
        await sleep_until(self._clock, start.start_at, unless=trio.sleep_forever)

    def _note_begun(self, slot: datetime, trigger: CycleTrigger) -> datetime:
        now = self._last_begun_at = self._clock.now()
        self._measures.cycle_lateness_seconds((now - slot).total_seconds(), trigger)
        return now

    async def _begin(
        self,
        call: Callable[[], Awaitable[CycleStart | None]],
        has_room: Callable[[], bool] = lambda: True,
    ) -> CycleStart | None:
        """Have the database record a cycle as running; try again while `has_room` says so.

        Returns None when there was no room any more, or when `call` returned None. A cycle that was
        recorded but whose answer was lost is abandoned before the next attempt.
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

    async def _record_missed(self, place: Place, start: Start) -> None:
        if self._last_slot is None:
            return
        slots = schedule.missed_slots(
            self._last_slot, start.slot_start_at, place, MAX_MISSED_RECORDED
        )
        if slots:
            self._log.warning(
                "poll_cycles_missed",
                slots=len(slots),
                first_slot_at=slots[0],
                last_slot_at=slots[-1],
            )
            await self._persist_missed(slots)

    async def _persist_missed(self, slots: Sequence[datetime]) -> None:
        await self._persist(
            lambda: self._cycles.record_missed(self._session, self._view.workspace_id, slots)
        )
        self._measures.cycles(len(slots), CycleOutcome.MISSED)

    async def _run_requested(self, place: Place, before: Start) -> None:
        """Run the requested cycle, if there is one: a wake-up may also mean another configuration.

        The run may delay the start that comes next, but leaves that start the room it needs.
        """
        workspace = self._workspace
        requested = await self._begin(
            lambda: self._cycles.take_requested_cycle(
                self._session, workspace.workspace_id, workspace.config_version
            )
        )
        if requested is not None:
            at_least = timedelta(seconds=REQUESTED_SHARE * place.interval)
            deadline = max(before.start_at, self._clock.now() + at_least)
            # Use the request's trace id, so that the log leads from the request to the outcome.
            cycle = self._make_cycle(requested, requested.trace_id or uuid.uuid4().hex)
            await self._run_cycle(cycle, deadline, place.interval)

    def _make_cycle(self, started: CycleStart, trace_id: str) -> Cycle:
        return Cycle(started, trace_id, self._view, self._state, self._tools)

    async def _run_cycle(self, cycle: Cycle, deadline: datetime, interval: int) -> None:
        started, trace_id = cycle.start, cycle.trace_id
        began, outcome = trio.current_time(), CycleOutcome.ABANDONED
        try:
            with spans.span("poll cycle", trace_id=trace_id) as span:
                span.set("lastheard.workspace_id", self._view.workspace_id)
                span.set("lastheard.cycle_id", started.cycle_id)
                span.set("lastheard.trigger", str(started.key.trigger))
                self._state.note_silent(await self._find_silent())
                fetch_seconds = max(0.0, (deadline - self._clock.now()).total_seconds())
                commit_seconds = schedule.COMMIT_SHARE * interval
                outcome = await cycle.run(fetch_seconds, commit_seconds)
                span.set("lastheard.outcome", str(outcome))
            self._outcomes[outcome] += 1
        finally:
            self._measures.cycles(1, outcome)
            self._measures.cycle_seconds(trio.current_time() - began)

    async def _find_silent(self) -> frozenset[str]:
        """Return the connections with a silent device that may be asked for a roster now.

        A device is silent if it was never heard, or not for its connection's stale threshold. If
        the database does not answer, there are none: a roster can wait.
        """
        now, rosters = self._clock.now(), self._state.rosters
        limits = {
            provider_id: limit
            for provider_id, limit in self._view.stale_limits().items()
            if rosters.may_ask_for_silent(provider_id, now)
        }
        if not limits:
            return frozenset()
        try:
            return await self._cycles.find_silent_connections(self._view.workspace_id, limits)
        except EnvironmentFault as fault:
            self._edge.failed(fault)
            return frozenset()

    async def _persist(self, call: Callable[[], Awaitable[T]]) -> T:
        """Try a database call until it succeeds, and return its value.

        The slots that pass meanwhile are found and recorded as missed.
        """
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

    def statistics(self) -> WorkspaceStatistics:
        next_start_at = self._next_start_at
        return WorkspaceStatistics(
            outcomes=dict(self._outcomes),
            next_start_at=None if next_start_at is None else format_instant(next_start_at),
            config_version=self._workspace.config_version,
        )
