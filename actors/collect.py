"""Collection run of a polled connection: fetch page by page from the cursor, submit each page.

Owns the order (oldest first; a cursor goes only with the data that it covers), the retries inside a
run, its counts and its lifecycle records. The workspace's cycle uses it. A stream that seeds itself
uses it, too, with the stream lane. Deadlines are the caller's.
"""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import trio

from actors.run_facts import RunFacts
from actors.run_statements import RunStatements
from actors.submissions import UnknownDevices, make_update, split
from domain.lifecycle import MESSAGE_RECEIVED, PAYLOAD_PREPARED
from domain.model import (
    ConnectionFact,
    ConnectionFactKind,
    CursorAdvance,
    FaultClass,
    InvalidItem,
    Reason,
    Receipt,
    Submission,
)
from domain.position import wire_names
from domain.schedule import gathering_seconds
from ports.providers import ProviderFault
from runtime import spans
from runtime.backoff import Backoff
from runtime.reply import Reply
from runtime.timers import sleep_to_beat
from runtime.tracing import calls_of_trace

if TYPE_CHECKING:
    from collections.abc import Collection as AnyCollection
    from collections.abc import Iterator
    from datetime import datetime

    from structlog.typing import FilteringBoundLogger

    from actors.fleet import FleetView
    from actors.tools import ActorTools
    from domain.model import CanonicalUpdate, Device, ProviderConnection
    from ports.providers import Page, Poller

MAX_ATTEMPTS_PER_PAGE = 3
MAX_WAIT_SECONDS = 10.0  # a provider that asks for a longer wait is not called again in this run
# A provider that was asked more recently than this is not blamed for a run that our deadline cut:
# half an interval, at most as long as a call may take. The cycle after our own outage is short.
PATIENCE_SHARE = 0.5
MAX_PATIENCE_SECONDS = 30.0


@dataclass(slots=True)
class Collected:
    """Counts of a run, for the cycle record. `replies` resolve when the parts are committed."""

    pages: int = 0
    records: int = 0
    updates: int = 0
    ignored: int = 0
    malformed: int = 0
    superseded: int = 0
    devices_answered: int = 0
    device_errors: int = 0  # errors in the place of one device's data
    unknown_dropped: int = 0
    # fields that could not be read, by signal and reason
    refused_signals: Counter[tuple[str, str]] = field(default_factory=Counter)
    asked_at: float | None = None  # monotonic; first request for the page that is still awaited
    call_begun_at: datetime | None = None  # the newest request, whatever became of it
    roster_begun_at: datetime | None = None  # the run that ended was a roster answer
    cursor: str | None = None  # where the next run begins, once all replies are receipts
    replies: list[Reply[Receipt | None]] = field(default_factory=list)


class Collection:
    """One run of one connection. Make a new one for each run."""

    def __init__(
        self,
        connection: ProviderConnection,
        view: FleetView,
        tools: ActorTools,
        log: FilteringBoundLogger,
        *,
        trace_id: str,
        origin: Literal["poll", "stream"] = "poll",
    ) -> None:
        self._connection = connection
        self._address = (connection.workspace_id, connection.provider_id)
        self._view = view
        self._ingest = tools.ingest
        self._clock = tools.clock
        self._backoff = Backoff(tools.random, base_seconds=0.5, cap_seconds=5.0)
        self._log = log.bind(
            trace_id=trace_id,
            provider_type=connection.provider_type,
            provider_id=connection.provider_id,
        )
        self._trace_id = trace_id
        self._origin = origin
        self._devices = view.devices_of(connection.provider_id)
        self._spelling = view.spelling_of(connection.provider_id)
        self._gathering_seconds = gathering_seconds(view.workspace.poll_interval_seconds)
        self._unknown = UnknownDevices()
        self._answered: set[str] = set()
        self._poller: Poller | None = None  # of the run that goes on
        self._call: spans.TraceSpan = (
            spans.NOTHING
        )  # the newest one, which brought the page in hand
        self.collected = Collected()
        self.facts = RunFacts(connection.provider_type)

    @property
    def devices(self) -> AnyCollection[Device]:
        """The devices that were configured when this object was made: those that are asked for."""
        return self._devices.values()

    async def run(self, poller: Poller, cursor: str | None) -> Collected:
        """Fetch and submit every page.

        Raises ProviderFault. The pages before it stay submitted, and the cursor has moved as far as
        those pages said.
        """
        await self._run(poller, cursor, keeps_cursor=False)
        return self.collected

    async def run_roster(self, poller: Poller) -> Collected:
        """Ask for the newest status of every vehicle, beside the regular run, and submit it.

        Raises ProviderFault. The regular run's cursor stays where it is: the newest statuses leave
        out what came before them.
        """
        await self._run(poller, None, keeps_cursor=True)
        return self.collected

    def fact_of_cut(self, seconds: float) -> ConnectionFact | None:
        """Return the fact about a run that our own deadline has cut after so many seconds.

        The call failed if the provider was asked and let us wait. It succeeded if pages came until
        the time was over: there was only more than fits. None if neither is known. No provider is
        to blame while a call waits for its turn, or an answer for room in our mailbox.
        """
        asked_at = self.collected.asked_at
        waited = 0.0 if asked_at is None or self._is_queued else trio.current_time() - asked_at
        interval = self._view.workspace.poll_interval_seconds
        if waited >= min(MAX_PATIENCE_SECONDS, PATIENCE_SHARE * interval):
            detail = f"no complete answer within {seconds:.0f} s"
            failed = self._fact(ConnectionFactKind.CALL_FAILED)
            return failed._replace(fault=FaultClass.OUTAGE, detail=detail)
        return self._fact(ConnectionFactKind.CALL_SUCCEEDED) if self.collected.pages else None

    @property
    def has_asked(self) -> bool:
        """Return whether a call was sent: not while the first one waits for its turn."""
        counts = self.collected
        return counts.call_begun_at is not None and bool(counts.pages or not self._is_queued)

    @property
    def _is_queued(self) -> bool:
        return self._poller is not None and self._poller.is_queued

    def _fact(self, kind: ConnectionFactKind) -> ConnectionFact:
        begun_at = self.collected.call_begun_at
        return ConnectionFact(*self._address, kind, self._clock.now(), begun_at=begun_at)

    async def _run(self, poller: Poller, cursor: str | None, *, keeps_cursor: bool) -> None:
        self._poller = poller
        begun_at = self._clock.now()
        run = RunStatements(self._address, self._devices, begun_at)
        external_ids = sorted(self._devices)
        token = None
        while True:
            page = await self._fetch(poller, external_ids, cursor, token)
            if keeps_cursor:
                page = page._replace(cursor=None)
            with spans.within(self._call):
                await self._submit(page, run)
            self.collected.cursor = page.cursor or self.collected.cursor
            token = page.next_page
            if token is None:
                self.collected.roster_begun_at = begun_at if page.is_roster else None
                return

    async def _fetch(
        self, poller: Poller, external_ids: list[str], cursor: str | None, token: str | None
    ) -> Page:
        """Fetch one page; try again after an outage.

        A latency spike or a restart of the provider should not cost a cycle.
        """
        self.collected.asked_at = trio.current_time()
        for attempt in range(1, MAX_ATTEMPTS_PER_PAGE + 1):
            self.collected.call_begun_at = self._clock.now()
            try:
                with calls_of_trace(self._trace_id), self._call_span(attempt):
                    page = await poller.fetch(external_ids, cursor, token)
            except ProviderFault as fault:
                if attempt == MAX_ATTEMPTS_PER_PAGE or not _is_worth_a_retry(fault):
                    raise
                await trio.sleep(self._backoff.next_delay(fault.retry_after))
            else:
                self.collected.asked_at = None
                return self._spelling.of_page(page)
        raise AssertionError("the last attempt returns or raises")

    @contextmanager
    def _call_span(self, attempt: int) -> Iterator[None]:
        """Record a call for the length of the block: its turn, its answer, the reading of it."""
        with spans.span("provider call", trace_id=self._trace_id) as call:
            self._call = call
            call.set("lastheard.workspace_id", self._connection.workspace_id)
            call.set("lastheard.provider_id", self._connection.provider_id)
            call.set("lastheard.provider_type", self._connection.provider_type)
            call.set("lastheard.attempt", attempt)
            try:
                yield
            except ProviderFault as fault:
                call.set("lastheard.fault", str(fault.fault))
                raise

    def _read(self, page: Page, received_at: datetime) -> tuple[CanonicalUpdate, ...]:
        updates = tuple(
            make_update(
                self._address,
                sample.external_id,
                self._devices.get(sample.external_id),
                sample.readings,
                received_at,
                self._trace_id,
                sample.reception_at,
            )
            for sample in page.samples
            if self._unknown.admits(sample.external_id, self._devices)
        )
        self._count(page, len(updates))
        return updates

    def _count(self, page: Page, updates: int) -> None:
        self._answered.update(page.answered & self._devices.keys())
        counts = self.collected
        counts.pages += 1
        counts.records += page.records
        counts.updates += updates
        counts.ignored += page.ignored
        counts.malformed += page.malformed_count
        counts.superseded += page.superseded
        counts.devices_answered = len(self._answered)
        counts.device_errors += len(page.errors)
        counts.unknown_dropped = self._unknown.dropped

    async def _submit(self, page: Page, run: RunStatements) -> None:
        """Submit a page. With the last one goes what only a run that has ended can say."""
        received_at, last = self._clock.now(), page.next_page is None
        updates = self._read(page, received_at)
        invalid = self._ledger_items(page, received_at)
        run.read(page, self.collected.call_begun_at or received_at)
        statements = run.end(page, received_at) if last else ()
        for item in invalid:
            for name in wire_names(item.signal) if item.signal is not None else ():
                self.collected.refused_signals[name, str(item.reason)] += item.occurrences
        if not (updates or invalid or statements or page.cursor or last):
            return
        self._record(page, len(updates))
        self.facts.note_invalid(invalid)
        submission = Submission(
            origin=self._origin,
            trace_id=self._trace_id,
            updates=updates,
            ownership=self._view.ownership,
            statements=statements,
            facts=run.facts(page, received_at) if last else (),
            invalid=invalid,
        )
        if page.cursor is not None:
            submission.cursor = CursorAdvance(*self._address, page.cursor)
        if last and self._origin == "poll":
            await sleep_to_beat(self._gathering_seconds)  # so that one unit has those of many runs
        for part in split(submission):
            reply: Reply[Receipt | None] = Reply()
            part.resolve = reply.resolve
            await self._ingest.submit(part)
            self.collected.replies.append(reply)

    def _record(self, page: Page, updates: int) -> None:
        """Log that the page arrived.

        Called before the submission, so that a log read from top to bottom tells arrival before
        outcome.
        """
        now = self._clock.now()
        prepared = {
            "updates": updates,
            "devices_answered": len(page.answered & self._devices.keys()),
            "malformed": page.malformed_count,
            "ignored": page.ignored,
        }
        self.facts.note_page(now, page.records, prepared)
        self._log.info(MESSAGE_RECEIVED, received_at=now, frames=page.records)
        self._log.info(PAYLOAD_PREPARED, payload_prepared_at=now, **prepared)

    def _ledger_items(self, page: Page, received_at: datetime) -> tuple[InvalidItem, ...]:
        """Return a ledger item for each device and wrong field of the page's malformed records."""
        return tuple(
            InvalidItem(
                *self._address,
                record.external_id,
                Reason.MALFORMED,
                record.detail,
                record.sample,
                record.occurrences,
                device_id=self._device_id(record.external_id),
                received_at=received_at,
                signal=signal,
                refused_whole=record.refused_whole,
                reception_at=record.reception_at,
            )
            for record in page.malformed
            if record.external_id is None or self._unknown.admits(record.external_id, self._devices)
            for signal in record.signals or (None,)
        )

    def _device_id(self, external_id: str | None) -> str | None:
        device = self._devices.get(external_id) if external_id else None
        return None if device is None else device.device_id


def _is_worth_a_retry(fault: ProviderFault) -> bool:
    return (
        fault.fault is FaultClass.OUTAGE
        and not fault.permanent
        and (fault.retry_after or 0.0) <= MAX_WAIT_SECONDS
    )
