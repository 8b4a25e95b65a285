"""One poll cycle: collects every polled connection of a workspace once and records how it went.

Owns the run from its first request to its outcome: deadline, Retry-After, counts, lifecycle
records. The workspace actor starts the cycle and owns the schedule.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import trio

from actors.collect import Collection
from actors.cycle_ends import EndedRun
from actors.records import count_dropped, nest_dropped
from domain.asking import LEGACY_COLLECTS, why_not_asked
from domain.cycles import CycleEnd, CycleOutcome, CycleTrigger
from domain.lifecycle import COLLECTED, CYCLE_TRIGGERED, triggered_fields
from domain.model import (
    ConnectionFact,
    ConnectionFactKind,
    FaultClass,
    InvalidItem,
    Reason,
    Submission,
)
from domain.schedule import gathering_seconds
from ports.providers import ProviderFault
from runtime.logs import get_logger
from runtime.mailbox import LaneFull, MailboxClosed
from runtime.timers import sleep_to_beat

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actors.collect import Collected
    from actors.fleet import FleetView
    from actors.poll_state import PollState
    from actors.tools import ActorTools
    from domain.model import ProviderConnection, Receipt
    from ports.cycles import CycleStart
    from ports.providers import Poller

MAX_DETAIL_CHARACTERS = 500
ROSTER_SHARE = 0.8  # of the time for collecting; what comes later is left for the next cycle


class Cycle:
    """A cycle that was started. Call `run` once."""

    def __init__(
        self,
        start: CycleStart,
        trace_id: str,
        view: FleetView,
        state: PollState,
        tools: ActorTools,
    ) -> None:
        self.start = start
        self.trace_id = trace_id
        self._view = view
        # As they are when the cycle begins: a change of the flags is for the next one.
        self._flags = view.workspace.cutover
        self._connections = view.connections
        self._configured = view.fleet.connections
        self._state = state
        self._tools = tools
        self._connector = tools.connector
        self._waits = tools.waits
        self._ingest = tools.ingest
        self._clock = tools.clock
        self._ended = False
        self._facts: list[ConnectionFact] = []
        self._invalid: list[InvalidItem] = []
        self._malformed = 0  # answers malformed as a whole; `Collected` counts single records
        self._results: dict[str, str] = {}
        self._rosters: dict[str, str] = {}
        self._waiting: set[str] = set()  # not to be called now, because the provider asked for it
        self._roster_deadline = float("inf")  # monotonic
        self._runs: dict[str, Collection] = {}
        self._collected: dict[str, Collected] = {}
        self._dropped: Counter[tuple[str, str]] = Counter()  # readings, by signal and reason
        self._log = get_logger("cycle").bind(
            workspace_id=view.workspace_id, cycle_id=start.cycle_id, trace_id=trace_id
        )

    async def wait_to_begin(self) -> None:
        """Sleep until the recorded start. A cycle that is cancelled before is abandoned."""
        left = ((self.start.started_at or self._clock.now()) - self._clock.now()).total_seconds()
        if left > 0:
            slept = False
            try:
                await trio.sleep(left)
                slept = True
            finally:
                if not slept:
                    self._abandon()

    async def run(self, fetch_seconds: float, commit_seconds: float) -> CycleOutcome:
        """Collect, wait for the commits, submit the outcome and return it.

        Collecting takes at most `fetch_seconds`, the wait for the commits at most `commit_seconds`.
        Submitting waits as long as the lane is full. A cycle that is cancelled or crashes on the
        way is submitted as abandoned, so that its slot may have another attempt elsewhere.
        """
        try:
            outcome = await self._collect_all(fetch_seconds)
            summary = self._summary(await self._wait_for_commits(commit_seconds))
            await self._submit_end(outcome, summary)
            self._ended = True
        finally:
            if not self._ended:
                self._abandon()
        return outcome

    async def _collect_all(self, fetch_seconds: float) -> CycleOutcome:
        started_at = self.start.started_at or self._clock.now()
        self._log.info(CYCLE_TRIGGERED, **triggered_fields(self.start.key, started_at))
        self._roster_deadline = trio.current_time() + ROSTER_SHARE * fetch_seconds
        with trio.move_on_after(fetch_seconds) as deadline:
            async with trio.open_nursery() as nursery:
                for connection in self._polled():
                    nursery.start_soon(self._collect, connection)
        if deadline.cancelled_caught:
            self._note_deadline(fetch_seconds)
        return _decide_outcome(list(self._results.values()), timed_out=deadline.cancelled_caught)

    def _polled(self) -> list[ProviderConnection]:
        """Return the connections that may have something to poll."""
        return [one for one in self._connections if one.is_asked]

    # --- one connection

    async def _collect(self, connection: ProviderConnection) -> None:
        provider_id = connection.provider_id
        waiting = self._waits.waiting_seconds(connection)
        if waiting:
            self._waiting.add(provider_id)
            self._results[provider_id] = f"waiting {waiting:.0f} s: the provider asked for it"
            return
        try:
            self._results[provider_id] = "unfinished"
            poller = await self._connector.open_poller(connection)
            if poller is None:
                del self._results[provider_id]
                return
            collection = await self._collect_from(connection, poller)
        except ProviderFault as fault:
            self._results[provider_id] = _describe(fault)
            self._note_fault(connection, fault)
        else:
            self._state.note_success(connection)
            self._results[provider_id] = "ok"
            await self._ask_roster(connection, poller, collection)

    async def _collect_from(self, connection: ProviderConnection, poller: Poller) -> Collection:
        collection = Collection(
            connection,
            self._view,
            self._tools,
            self._log,
            trace_id=self.trace_id,
        )
        self._runs[connection.provider_id] = collection
        self._collected[connection.provider_id] = collection.collected
        await collection.run(poller, self._state.cursors.get(connection.provider_id))
        return collection

    async def _ask_roster(
        self, connection: ProviderConnection, poller: Poller, collection: Collection
    ) -> None:
        """Ask for a roster answer if one is due and the regular run was none.

        A run without a cursor asks for every vehicle itself. A roster that fails, or does not end
        within its share of the cycle, does not make the cycle fail: its data was collected.
        """
        provider_id, rosters = connection.provider_id, self._state.rosters
        now, is_silent = self._clock.now(), connection.provider_id in self._state.silent
        if collection.collected.roster_begun_at is None:
            has_cursor = provider_id in self._state.cursors
            due = rosters.is_due(provider_id, collection.devices, now, is_silent=is_silent)
            if not (has_cursor and due):
                return
            rosters.note_attempt(provider_id, now)
            self._rosters[provider_id] = "unfinished"
            with trio.CancelScope(deadline=self._roster_deadline):
                try:
                    await collection.run_roster(poller)
                    self._rosters[provider_id] = "ok"
                except ProviderFault as fault:
                    self._rosters[provider_id] = _describe(fault)
                    self._note_fault(connection, fault)
        if (begun_at := collection.collected.roster_begun_at) is not None:
            rosters.note_answer(provider_id, begun_at, collection.devices)

    def _note_fault(self, connection: ProviderConnection, fault: ProviderFault) -> None:
        provider_id = connection.provider_id
        self._waits.postpone(connection, fault.retry_after)
        self._state.note_fault(connection, fault)
        self._facts.append(self._failure(provider_id, fault.fault, str(fault)))
        if fault.unreadable:
            self._malformed += 1
            unreadable = self._unreadable_answer(provider_id, fault)
            self._invalid.append(unreadable)
            if (run := self._runs.get(provider_id)) is not None:
                run.facts.note_invalid((unreadable,))
            self._facts.append(self._fact(provider_id, ConnectionFactKind.UNREADABLE))

    def _unreadable_answer(self, provider_id: str, fault: ProviderFault) -> InvalidItem:
        """Return the ledger's item for an answer that could not be read.

        Such an answer has no records, and its body is not kept.
        """
        return InvalidItem(
            self._view.workspace_id,
            provider_id,
            None,
            Reason.INVALID,
            f"malformed answer: {fault}"[:MAX_DETAIL_CHARACTERS],
            b"",
            received_at=self._clock.now(),
        )

    def _note_deadline(self, fetch_seconds: float) -> None:
        """Record which connections did not finish in time, and what that says about them."""
        for provider_id, result in self._results.items():
            if result != "unfinished":
                continue
            run = self._runs.get(provider_id)  # None: the secret was still being read
            fact = None if run is None else run.fact_of_cut(fetch_seconds)
            has_failed = fact is not None and fact.kind is ConnectionFactKind.CALL_FAILED
            if fact is not None:
                self._facts.append(fact)
            words = "no complete answer" if has_failed else "not finished"
            self._results[provider_id] = f"{words} within {fetch_seconds:.0f} s"

    def _failure(self, provider_id: str, fault: FaultClass, detail: str) -> ConnectionFact:
        collected = self._collected.get(provider_id)
        return self._fact(provider_id, ConnectionFactKind.CALL_FAILED)._replace(
            fault=fault,
            detail=detail[:MAX_DETAIL_CHARACTERS],
            begun_at=None if collected is None else collected.call_begun_at,
        )

    def _fact(self, provider_id: str, kind: ConnectionFactKind) -> ConnectionFact:
        return ConnectionFact(self._view.workspace_id, provider_id, kind, self._clock.now())

    def _facts_of_silence(self) -> tuple[ConnectionFact, ...]:
        """Return a fact for each connection that this cycle has not called.

        A connection that the provider asked us not to call is none of these, nor is one whose
        configuration failed before the call: that is told as a failed call.
        """
        told = {fact.provider_id for fact in self._facts}
        return tuple(
            self._fact(connection.provider_id, ConnectionFactKind.NOT_ASKED)
            for connection in self._polled()
            if connection.provider_id in self._results
            and connection.provider_id not in told | self._waiting
            and not self._has_called(connection.provider_id)
        )

    def _has_called(self, provider_id: str) -> bool:
        run = self._runs.get(provider_id)
        return run is not None and run.has_asked

    # --- the end

    async def _wait_for_commits(self, commit_seconds: float) -> Counter[str]:
        """Count the outcomes of everything submitted, as far as the verdicts come in time.

        The cursor of a connection moves when all its submissions are committed.
        """
        outcomes: Counter[str] = Counter()
        with trio.move_on_after(commit_seconds):
            for provider_id, collected in self._collected.items():
                receipts = [await reply.wait() for reply in collected.replies]
                for receipt in receipts:
                    if receipt is not None:
                        self._runs[provider_id].facts.note_receipt(receipt)
                        outcomes.update(str(result.outcome) for result in receipt.results)
                        self._dropped += count_dropped(receipt)
                if collected.cursor is not None and all(receipts):
                    self._state.cursors[provider_id] = collected.cursor
        return outcomes

    def _summary(self, outcomes: Counter[str]) -> dict[str, Any]:
        dropped = sum((one.refused_signals for one in self._collected.values()), self._dropped)
        updates = sum(collected.updates for collected in self._collected.values())
        return {
            "connections": self._results,
            "records": sum(collected.records for collected in self._collected.values()),
            "updates": updates,
            "outcomes": dict(outcomes),
            "unconfirmed": updates - sum(outcomes.values()),
            "malformed": self._malformed
            + sum(collected.malformed for collected in self._collected.values()),
            "superseded": sum(collected.superseded for collected in self._collected.values()),
            "unknown_dropped": sum(
                collected.unknown_dropped for collected in self._collected.values()
            ),
            "device_errors": sum(collected.device_errors for collected in self._collected.values()),
            "refused_signals": nest_dropped(dropped),
            COLLECTED: {name: run.facts.stored() for name, run in self._runs.items()},
            **({"rosters": self._rosters} if self._rosters else {}),
            **({"streams": streams} if (streams := self._view.frames.take()) else {}),
            **self._describe_idle(),
        }

    def _describe_idle(self) -> dict[str, Any]:
        """Return what the cycle was not to call, as far as there is something: and why."""
        if not self._flags.is_collecting:
            return {"skipped": LEGACY_COLLECTS}
        off = sorted(one.provider_id for one in self._configured if not one.active)
        left_out = {
            one.provider_id: why
            for one in self._configured
            if one.active and (why := why_not_asked(one, self._flags)) is not None
        }
        return {
            **({"switched_off": off} if off else {}),
            **({"left_out": left_out} if left_out else {}),
        }

    async def _submit_end(self, outcome: CycleOutcome, summary: Mapping[str, Any]) -> None:
        """Submit the outcome behind the data.

        Waits for room for as long as the database is away: without this row the cycle would look
        unfinished for ever. Slots that pass meanwhile are recorded as missed.
        """
        end = self._end(outcome, summary)
        end.resolve = self._tell_ended
        await sleep_to_beat(gathering_seconds(self._view.workspace.poll_interval_seconds))
        await self._ingest.submit(end)

    def _tell_ended(self, receipt: Receipt | None) -> None:
        """Tell the cutover actor, once the outcome is committed. Runs on demand do not count."""
        key = self.start.key
        if receipt is not None and key.trigger is not CycleTrigger.MANUAL:
            self._view.ends.note(
                EndedRun(key.slot_start_at, self.start.cycle_id, self.trace_id, self._flags)
            )

    def _abandon(self) -> None:
        """Submit the outcome "abandoned". Does not block.

        If the lane is full or closed, the workspace actor that starts next marks the cycle
        abandoned.
        """
        try:
            self._ingest.submit_nowait(self._end(CycleOutcome.ABANDONED, self._summary(Counter())))
        except (LaneFull, MailboxClosed):
            self._log.warning("cycle_end_not_recorded")

    def _end(self, outcome: CycleOutcome, summary: Mapping[str, Any]) -> Submission:
        return Submission(
            origin="poll",
            trace_id=self.trace_id,
            ownership=self._view.ownership,
            facts=(*self._facts, *self._facts_of_silence()),
            invalid=tuple(self._invalid),
            cycle=CycleEnd(
                self.start.key, self.start.cycle_id, self._clock.now(), outcome, summary
            ),
        )


def _describe(fault: ProviderFault) -> str:
    return f"{fault.fault}: {fault}"[:MAX_DETAIL_CHARACTERS]


def _decide_outcome(results: list[str], *, timed_out: bool) -> CycleOutcome:
    if timed_out:
        return CycleOutcome.TIMED_OUT
    if not results:
        return CycleOutcome.SKIPPED
    good = results.count("ok")
    if good == len(results):
        return CycleOutcome.COMPLETED
    return CycleOutcome.PARTIAL if good else CycleOutcome.FAILED
