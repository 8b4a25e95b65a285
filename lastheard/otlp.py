"""Spans as OpenTelemetry has them, sent by OTLP/HTTP from a thread of the library's own.

Only this module knows OpenTelemetry. Owns which traces are recorded, the bound of the queue, and
the counts. It must never block, raise into the code that it observes, or log more than the edges of
a trouble.
"""

from __future__ import annotations

import logging
import time
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

import requests
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Decision, TraceIdRatioBased
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from domain.trace_context import to_trace_id
from runtime.clock import SystemClock
from runtime.logs import EdgeLog, describe_error, get_logger
from runtime.spans import MAX_LINKS, SpanPlace, TraceStatistics

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import Span as LibrarySpan

    from runtime.spans import Kind, Value

MAX_WAITING: Final = 4096  # ended spans that were not sent; more are dropped and counted
MAX_BATCH: Final = 512
SEND_EVERY_SECONDS: Final = 2.0
SEND_SECONDS: Final = 10.0  # for one batch, repetitions included; in the library's thread
SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
KINDS: Final[Mapping[Kind, SpanKind]] = {
    "internal": SpanKind.INTERNAL,
    "client": SpanKind.CLIENT,
    "server": SpanKind.SERVER,
}
LIBRARY_LOG: Final = "opentelemetry"


class OtlpRecorder:
    """runtime.spans.Recorder. Close it once, outside the event loop: that blocks."""

    def __init__(
        self, url: str, headers: Mapping[str, str], *, share: float, shard_id: str
    ) -> None:
        self._sampler = TraceIdRatioBased(share)
        self._ids = _GivenIds()
        self._sender = _Sender(url, headers)
        self._queue = _BoundedQueue(self._sender)
        self._provider = TracerProvider(
            sampler=ALWAYS_ON,  # `keeps` and the parent have decided before a span is made
            id_generator=self._ids,
            resource=Resource.create(
                {
                    "service.name": "lastheard",
                    "service.version": version("lastheard"),
                    "service.instance.id": shard_id,
                }
            ),
            shutdown_on_exit=False,  # `close` does that, within a bound
        )
        self._provider.add_span_processor(self._queue)
        self._tracer = self._provider.get_tracer("lastheard")

    def id_of(self, text: str) -> str:
        return to_trace_id(text)

    def keeps(self, trace_id: str) -> bool:
        decided = self._sampler.should_sample(None, int(trace_id, 16), "")
        return decided.decision is Decision.RECORD_AND_SAMPLE

    def begin(
        self,
        name: str,
        kind: Kind,
        trace_id: str,
        parent: SpanPlace | None,
        links: Sequence[SpanPlace],
        attributes: Mapping[str, Value] | None,
    ) -> OtlpSpan:
        context = Context()
        if parent is None:
            self._ids.next_trace_id = int(trace_id, 16)
        else:
            context = set_span_in_context(NonRecordingSpan(_context_of(parent)), context)
        made = self._tracer.start_span(
            name,
            context=context,
            kind=KINDS[kind],
            attributes=attributes,
            links=[Link(_context_of(place)) for place in links[:MAX_LINKS]],
        )
        return OtlpSpan(made)

    def statistics(self) -> TraceStatistics:
        return self._queue.statistics()

    def close(self) -> None:
        """Send what waits, and end the library's thread. Blocks; the caller bounds the wait."""
        self._provider.shutdown()

    def give_up(self) -> None:
        """Send nothing more: a `close` that still waits in its thread ends soon. Never blocks.

        The thread logs nothing afterwards; its line would come when nobody expects one.
        """
        self._sender.give_up()


class OtlpSpan:
    """runtime.spans.TraceSpan, on top of the library's."""

    __slots__ = ("_made", "place")

    def __init__(self, made: LibrarySpan) -> None:
        self._made = made
        context = made.get_span_context()
        self.place: SpanPlace | None = SpanPlace(
            f"{context.trace_id:032x}", f"{context.span_id:016x}", is_recorded=True
        )

    def set(self, name: str, value: Value) -> None:
        self._made.set_attribute(name, value)

    def rename(self, name: str) -> None:
        self._made.update_name(name)

    def fail(self, kind: str) -> None:
        self._made.set_attribute("error.type", kind)
        self._made.set_status(Status(StatusCode.ERROR))

    def end(self) -> None:
        if self._made.is_recording():
            self._made.end()


def _context_of(place: SpanPlace) -> SpanContext:
    return SpanContext(
        int(place.trace_id, 16), int(place.span_id, 16), is_remote=False, trace_flags=SAMPLED
    )


class _GivenIds(IdGenerator):
    """Gives the next trace the id that it already has in our logs and tables."""

    def __init__(self) -> None:
        self._random = RandomIdGenerator()
        self.next_trace_id = 0

    def generate_span_id(self) -> int:
        return self._random.generate_span_id()

    def generate_trace_id(self) -> int:
        return self.next_trace_id

    def is_trace_id_random(self) -> bool:
        return False


class _BoundedQueue(SpanProcessor):
    """The library's queue and thread behind a bound of our own, which counts what it drops."""

    def __init__(self, sender: _Sender) -> None:
        self._sender = sender
        self._ended = 0
        self._dropped = 0
        self._batches = BatchSpanProcessor(
            sender,
            max_queue_size=2 * MAX_WAITING,  # never reached, because `on_end` drops before
            schedule_delay_millis=SEND_EVERY_SECONDS * 1000,
            max_export_batch_size=MAX_BATCH,
        )

    def on_end(self, span: ReadableSpan) -> None:
        self._ended += 1
        if self._waiting() > MAX_WAITING:
            self._dropped += 1
            return
        self._batches.on_end(span)

    def _waiting(self) -> int:
        return self._ended - self._dropped - self._sender.taken

    def shutdown(self) -> None:
        self._batches.shutdown()  # type: ignore[no-untyped-call]

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._batches.force_flush(timeout_millis)

    def statistics(self) -> TraceStatistics:
        return TraceStatistics(
            ended=self._ended,
            sent=self._sender.sent,
            dropped=self._dropped,
            lost=self._sender.lost,
            waiting=self._waiting(),
        )


class _Sender(SpanExporter):
    """Sends batches in the library's thread, and logs when that begins to fail and works again.

    The library logs each failure. These lines are kept back; the last one is the reason that our
    line gives.
    """

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        session = requests.Session()
        session.trust_env = False  # no proxy and no password from the environment
        session.max_redirects = 0  # the headers are for this address only
        self._exporter = OTLPSpanExporter(
            endpoint=url,
            headers=dict(headers),
            timeout=SEND_SECONDS,
            compression=Compression.Gzip,
            session=session,
        )
        self._edge = EdgeLog(get_logger("traces"), "traces_export", clock=_ThreadClock())
        self._heard = _heard
        self._heard.install()
        self._is_given_up = False
        self.sent = 0
        self.lost = 0

    @property
    def taken(self) -> int:
        """How many spans came here and are not in hand any more."""
        return self.sent + self.lost

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        try:
            result = self._exporter.export(spans)
        except Exception as error:  # a bug there must not stop the thread, or our counts
            self._heard.text = describe_error(error)
            result = SpanExportResult.FAILURE
        if result is SpanExportResult.SUCCESS:
            self.sent += len(spans)
        else:
            self.lost += len(spans)
        if not self._is_given_up:
            self._tell(result)
        return result

    def _tell(self, result: SpanExportResult) -> None:
        if result is SpanExportResult.SUCCESS:
            self._edge.recovered()
        else:
            self._edge.failed(self._heard.text or "the collector did not take the spans")

    def give_up(self) -> None:
        self._is_given_up = True
        self._edge.failed("the collector did not take the last spans in time")
        self.shutdown()

    def shutdown(self) -> None:
        self._exporter.shutdown()  # type: ignore[no-untyped-call]

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


class _ThreadClock(SystemClock):
    """The system's clock, for a thread that has no event loop."""

    def monotonic(self) -> float:
        return time.monotonic()


class _LastMessage(logging.Handler):
    """Keeps the library's last message instead of writing it to the log, from `install` on."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""
        self._log = logging.getLogger(LIBRARY_LOG)

    def emit(self, record: logging.LogRecord) -> None:
        self.text = record.getMessage()

    def install(self) -> None:
        self._log.addHandler(self)
        self._log.propagate = False


_heard: Final = _LastMessage()  # one for the process, as the library's log is
