"""The stream actor: one open connection of one workspace to one streaming provider.

Owns the connection's life: connect, subscribe, seed, read, flush, reconnect. The reader never waits
for the database: it only reads, interprets and merges, so pongs flow under any load. Data that the
mailbox cannot take stays in the buffer of intake.py, where newer values replace older ones; what is
ready to go stands in stream_outbox.py.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import trio

from actors.collect import Collection
from actors.intake import FrameIntake
from actors.records import log_activity
from actors.single_fault import single_fault
from actors.statistics import StreamStatistics
from actors.stream_activity import StreamActivity
from actors.stream_news import StreamNews
from actors.stream_outbox import StreamOutbox
from domain.lifecycle import MESSAGE_RECEIVED, PAYLOAD_PREPARED
from domain.model import ConnectionFactKind, FaultClass
from ports.providers import ProviderFault
from runtime.backoff import Backoff
from runtime.logs import EdgeLog, get_logger
from runtime.tracing import calls_of_trace

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.fleet import FleetView
    from actors.stream_activity import Activity
    from actors.tools import ActorTools
    from domain.model import ProviderConnection, Submission
    from ports.providers import FrameVerdict, Streamer, StreamSocket

DEFAULT_WINDOW_SECONDS = 1.0
# A device leaves the buffer when its own window is over, so flushes spread by themselves.
SLICES_PER_WINDOW = 10
PING_EVERY_SECONDS = 20.0
SEED_BUDGET_SECONDS = 60.0
STABLE_AFTER_SECONDS = 30.0  # a connection that lasted this long starts again at the lowest backoff
FLUSH_RETRY_SECONDS = 0.05
GOOD_FRAMES_SECONDS = 60.0  # a trouble with frames is over after this long without one
MAX_CONNECT_DELAY_SECONDS = 5.0  # at start: a shard's streams must not all connect at once


class StreamActor:
    """Takes frames in and submits merged updates.

    The counters and the buffered data survive reconnects and restarts of the task.
    """

    def __init__(
        self,
        provider_id: str,
        view: FleetView,
        tools: ActorTools,
        *,
        window_seconds: float = DEFAULT_WINDOW_SECONDS,
    ) -> None:
        self._provider_id = provider_id
        self._view = view
        self._tools = tools
        self._connector = tools.connector
        self._clock = tools.clock
        self._random = tools.random
        self._window_seconds = window_seconds
        self._backoff = Backoff(tools.random, base_seconds=0.5, cap_seconds=60.0)
        self._log = get_logger("stream").bind(
            workspace_id=view.workspace_id, provider_id=provider_id
        )
        self._edge = EdgeLog(self._log, "stream_connection")
        self._frames_edge = EdgeLog(self._log, "stream_frames")
        self._bad_frame_at = float("-inf")  # monotonic
        self.intake = FrameIntake(provider_id, view, tools.clock)
        self._news = StreamNews(view.workspace_id, provider_id)
        self._activity = StreamActivity()
        self._outbox = StreamOutbox(provider_id, view, tools.ingest, tools.clock)
        self._subscribed: frozenset[str] = frozenset()
        self._connections = 0
        self._caught_up = trio.current_time()  # when nothing waited here that was due
        self._socket: StreamSocket | None = None  # of the open connection
        self._was_open = False  # the present or last attempt got an open connection
        self.open_since: float | None = None
        self._trace_id = ""  # of the present or last attempt: its handshake and its seed

    async def run(self) -> None:
        """Hold one connection for ever; after each loss reconnect with full jitter.

        Ends only by cancellation.
        """
        await trio.sleep(
            self._random.uniform(0.0, min(self._window_seconds, MAX_CONNECT_DELAY_SECONDS))
        )
        while True:
            retry_after = None
            try:
                await self._hold_connection()
            except ProviderFault as fault:
                self._note_loss(fault)
                retry_after = fault.retry_after
            except BaseException:
                # We are stopping, or there is a bug: the provider has not closed the connection.
                if self._was_open:
                    self._outbox.add_fact(ConnectionFactKind.STREAM_CLOSED)
                raise
            await trio.sleep(self._backoff.next_delay(retry_after))

    # --- the connection's life

    async def _hold_connection(self) -> None:
        """Connect, subscribe, seed, then read until the connection ends. Raises ProviderFault."""
        self._was_open = False
        connection = self._view.connection(self._provider_id)
        if connection is None:
            raise ProviderFault(
                FaultClass.CONFIGURATION,
                "the connection is not configured any more",
                permanent=True,
            )
        streamer = await self._connector.open_streamer(connection)
        if streamer is None:
            raise ProviderFault(
                FaultClass.CONFIGURATION, "this provider type does not stream", permanent=True
            )
        self.intake.scrubber = streamer.scrubber
        self._trace_id = uuid.uuid4().hex
        with single_fault(), calls_of_trace(self._trace_id):
            async with streamer.connect() as socket:
                await self._subscribe(socket)
                self._note_open(socket)
                try:
                    await self._serve(connection, socket, streamer)
                finally:
                    self._note_end()

    async def _serve(
        self, connection: ProviderConnection, socket: StreamSocket, streamer: Streamer
    ) -> None:
        """Serve one open connection until it ends.

        Frames are read at once, so that nothing waits at the provider. They are flushed only behind
        the seed, because its values are older and must go first.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read, socket, streamer)
            nursery.start_soon(self._keep_alive, socket)
            nursery.start_soon(self._follow_configuration, socket)
            await self._seed(connection)
            nursery.start_soon(self._flush_for_ever)

    async def _subscribe(self, socket: StreamSocket) -> None:
        self._subscribed = frozenset(self._view.devices_of(self._provider_id))
        self.intake.buffer.replace_known(self._subscribed)
        await socket.subscribe(sorted(self._subscribed))

    async def _read(self, socket: StreamSocket, streamer: Streamer) -> None:
        """Read until the connection ends. `receive` needs no deadline: pings find a dead peer.

        All frames that came together are taken at once, without letting another task run.
        """
        take_all, interpret, receive = self.intake.take_all, streamer.interpret, socket.receive
        while True:
            frames = await receive()
            for verdict in take_all(interpret, frames, trio.current_time()):
                self._note_bad_frame(verdict)

    def _note_bad_frame(self, verdict: FrameVerdict) -> None:
        """Log a malformed frame or an error report. Raises ProviderFault if it refuses our key."""
        self._bad_frame_at = trio.current_time()
        if verdict.fault is not None:
            self._frames_edge.failed("the provider reported an error", fault=str(verdict.fault))
        else:
            self._frames_edge.failed(str(verdict.malformed))
        if verdict.fault is FaultClass.CREDENTIALS:
            raise ProviderFault(
                FaultClass.CREDENTIALS, "the provider refused the credentials on the open stream"
            )

    async def _keep_alive(self, socket: StreamSocket) -> None:
        """Ping for ever. A pong that waits behind unread bytes is late by our own fault."""
        while True:
            await trio.sleep(PING_EVERY_SECONDS)
            try:
                await socket.ping()
            except ProviderFault as fault:
                if not socket.behind_seconds():
                    raise
                self._log.warning("stream_reader_behind", error=str(fault))

    async def _follow_configuration(self, socket: StreamSocket) -> None:
        """Subscribe again when the devices change, also if they changed during a subscription."""
        while True:
            seen = self._view.version
            if self._view.devices_of(self._provider_id).keys() != self._subscribed:
                await self._subscribe(socket)
            else:
                await self._view.wait_changed(seen)

    async def _seed(self, connection: ProviderConnection) -> None:
        """Fetch what happened while we were away, where the provider has a state endpoint.

        A failure does not stop the stream: the workspace's next cycle reconciles.
        """
        collection = Collection(
            connection,
            self._view,
            self._tools,
            self._log,
            trace_id=self._trace_id,
            origin="stream",
        )
        with trio.move_on_after(SEED_BUDGET_SECONDS) as budget:
            try:
                poller = await self._connector.open_poller(connection)
                if poller is not None:
                    await collection.run(poller, None)
            except ProviderFault as fault:
                self._log.warning("stream_seed_failed", error=str(fault), fault=str(fault.fault))
                self._outbox.add_fact(
                    ConnectionFactKind.CALL_FAILED, fault, collection.collected.call_begun_at
                )
        if budget.cancelled_caught:
            self._log.warning(
                "stream_seed_failed", error=f"not finished within {SEED_BUDGET_SECONDS:.0f} s"
            )
            if (fact := collection.fact_of_cut(SEED_BUDGET_SECONDS)) is not None:
                self._outbox.add_facts((fact,))

    # --- towards the mailbox

    async def _flush_for_ever(self) -> None:
        while True:
            await trio.sleep(self._window_seconds / SLICES_PER_WINDOW)
            now = trio.current_time()
            if self._flush(now - self._window_seconds):
                self._caught_up = now
            self._say(self._activity.take_due)
            # While something waits for room, the news wait too and are told as one.
            if not len(self._outbox):
                self._outbox.add_facts(self._news.take_due(trio.current_time(), self._clock.now()))

    def _flush(self, opened_before: float) -> bool:
        """Submit every device whose window opened before `opened_before`; return whether all went.

        Does not block. A full lane ends it: the rest goes on coalescing.
        """
        while self._outbox.send():
            submission = self.intake.next_submission(opened_before)
            if submission is None:
                return True
            self._record(submission)
            self._activity.note_submission(submission)
            submission.resolve = self._activity.note_receipt
            self._news.note_data(submission.updates)
            self._outbox.add(submission)
        return False

    async def wait_flushed(self) -> None:
        """Submit everything that is still here, as the mailbox has room for it.

        For after `run` was stopped. The caller's cancel scope is the deadline.
        """
        while True:
            self._flush(float("inf"))
            if not len(self._outbox) and not len(self.intake.buffer):
                self._say(self._activity.take)
                return
            await trio.sleep(FLUSH_RETRY_SECONDS)

    def _say(self, take: Callable[[float, int], Activity | None]) -> None:
        if (activity := take(trio.current_time(), self.intake.received)) is not None:
            log_activity(self._log, self._provider_type(), activity)

    def _record(self, submission: Submission) -> None:
        """Log that data came and is handed over. A busy stream does so several times a second."""
        if not submission.updates:
            return
        self._log.debug(
            MESSAGE_RECEIVED,
            trace_id=submission.trace_id,
            provider_type=self._provider_type(),
            received_at=submission.updates[-1].received_at,
            frames=self._view.frames.add(self.intake.newly_received(), submission.size),
        )
        self._log.debug(
            PAYLOAD_PREPARED,
            trace_id=submission.trace_id,
            payload_prepared_at=self._clock.now(),
            devices=len(submission.updates),
        )
        if trio.current_time() - self._bad_frame_at >= GOOD_FRAMES_SECONDS:
            self._frames_edge.recovered()

    def _provider_type(self) -> str | None:
        connection = self._view.connection(self._provider_id)
        return None if connection is None else connection.provider_type

    # --- edges of the connection

    def _note_open(self, socket: StreamSocket) -> None:
        self._connections += 1
        self._was_open = True
        self._socket = socket
        self.open_since = trio.current_time()
        if not self.waiting_seconds():
            self._caught_up = self.open_since
        self._edge.recovered()
        self._news.note_open(self.open_since)
        self._outbox.add_fact(ConnectionFactKind.STREAM_OPENED)
        self._log.info("stream_opened", connections=self._connections, trace_id=self._trace_id)

    def _note_end(self) -> None:
        """Note the end of the connection, whatever its cause.

        The data that it brought is submitted now and not after the next window.
        """
        if (
            self.open_since is not None
            and trio.current_time() - self.open_since >= STABLE_AFTER_SECONDS
        ):
            self._backoff.reset()
        self.open_since = None
        self._socket = None
        if self._flush(float("inf")):
            self._caught_up = trio.current_time()

    def _note_loss(self, fault: ProviderFault) -> None:
        """Note that the connection was lost, or that none could be opened, and why."""
        self._edge.failed(fault, fault=str(fault.fault))
        self._outbox.add_fact(ConnectionFactKind.STREAM_FAILED, fault)

    def waiting_seconds(self) -> float:
        """Return for how long something has waited here that was due: data, or unread bytes."""
        unread = 0.0 if self._socket is None else self._socket.behind_seconds()
        if not (len(self._outbox) or len(self.intake.buffer)):
            return unread
        return max(unread, trio.current_time() - self._caught_up)

    def statistics(self) -> StreamStatistics:
        return StreamStatistics(
            open=self.open_since is not None,
            waiting_seconds=self.waiting_seconds(),
            connections=self._connections,
            unsent=len(self._outbox),
            failures=self._edge.failures,
            frames=self.intake.statistics(),
        )
