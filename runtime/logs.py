"""Structured logs: one line per event, on one stream, without secrets.

This module owns the processor chain, the bridge from the standard library's logging, and `EdgeLog`.
Every line, ours or a library's, passes the same chain, with redaction after everything that can add
a value. Lines that anybody can cause pass a limit first (runtime/line_limit.py). It must never
decide what is worth logging. No other module may write to the log stream.

Writing blocks: if the reader of the stream stops reading, the process stops too, as with any log on
a pipe.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TextIO, cast

import orjson
import structlog
from structlog.dev import ConsoleRenderer, plain_traceback
from structlog.processors import ExceptionRenderer, StackInfoRenderer, add_log_level
from structlog.tracebacks import ExceptionDictTransformer

from runtime.clock import Clock, SystemClock
from runtime.instants import format_instant
from runtime.line_limit import KIND, LineLimit
from runtime.redaction import redact, redact_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

LogFormat = Literal["auto", "json", "console"]
_line_limit = LineLimit()  # for the process; keeps counting when logging is configured again
QUIET_LIBRARIES = (
    "hypercorn",
    "asyncio",
    "httpx",
    "httpcore",
    "hpack",
    "trio-websocket",
    "quart",
    "alembic",
)


def configure_logging(
    *, format: LogFormat = "auto", level: str = "info", stream: TextIO | None = None
) -> None:
    """Send all logging of this process to one stream, by default standard error.

    May be called again; the last call counts. `auto` is coloured text on a terminal and JSON
    elsewhere. `level` is a standard name in any case; for another name, a ValueError lists the
    known ones. The libraries in QUIET_LIBRARIES log from WARNING.
    """
    threshold = logging.getLevelNamesMapping().get(level.upper())
    if threshold is None:
        known = ", ".join(name.lower() for name in logging.getLevelNamesMapping())
        raise ValueError(f"{level!r} is not a log level; known are {known}")
    target = stream if stream is not None else sys.stderr
    as_json = format == "json" or (format == "auto" and not target.isatty())
    writer = _LineWriter(target)
    processors = _processors(as_json=as_json, colors=target.isatty())
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        context_class=dict,
        logger_factory=lambda *_: writer,
        cache_logger_on_first_use=False,  # tests and a second call must reach existing loggers
    )
    _route_standard_logging(_Bridge(processors, writer), threshold)


def get_logger(name: str) -> FilteringBoundLogger:
    """Return a logger whose lines carry `logger_name`.

    It follows later calls of `configure_logging`, so it may be made at import time.
    """
    return cast("FilteringBoundLogger", structlog.get_logger(logger_name=name))


def suppressed_lines() -> int:
    """Return how many lines the limit has left out since the process started."""
    return _line_limit.suppressed


@dataclass(frozen=True, slots=True)
class EdgeStatistics:
    """A trouble that is logged on its edges, as it is now."""

    is_failing: bool
    failures: int  # since the last recovery
    failing_for_seconds: float | None  # None while it works
    last_error: str | None  # redacted; kept after a recovery


_CLOCK: Final = SystemClock()  # has no state; a shard has thousands of edges


class EdgeLog:
    """Logs a trouble when it begins and when it ends, and not in between.

    The first `failed` logs `<subject>_failed` as a warning; further ones only count. The first
    `recovered` after a failure logs `<subject>_recovered` with `failures`, `failed_for_seconds` and
    the last error.
    """

    __slots__ = ("_clock", "_failing_since", "_failures", "_last_error", "_log", "_subject")

    def __init__(
        self, log: FilteringBoundLogger, subject: str, *, clock: Clock | None = None
    ) -> None:
        self._log = log
        self._subject = subject
        self._clock: Clock = clock or _CLOCK
        self._failing_since: float | None = None
        self._failures = 0
        self._last_error = ""

    @property
    def is_failing(self) -> bool:
        return self._failing_since is not None

    @property
    def failures(self) -> int:
        """Return the number of failures since the last recovery."""
        return self._failures

    def failed(self, error: BaseException | str, **fields: Any) -> None:
        self._failures += 1
        self._last_error = describe_error(error)
        if self._failing_since is None:
            self._failing_since = self._clock.monotonic()
            self._log.warning(f"{self._subject}_failed", error=self._last_error, **fields)

    def recovered(self, **fields: Any) -> None:
        """Log that it works again. Does nothing without a failure, so call it after any success."""
        if self._failing_since is None:
            return
        self._log.info(
            f"{self._subject}_recovered",
            failures=self._failures,
            failed_for_seconds=round(self._clock.monotonic() - self._failing_since, 3),
            last_error=self._last_error,
            **fields,
        )
        self._failing_since = None
        self._failures = 0

    def statistics(self) -> EdgeStatistics:
        since = self._failing_since
        return EdgeStatistics(
            is_failing=self.is_failing,
            failures=self._failures,
            failing_for_seconds=None if since is None else self._clock.monotonic() - since,
            last_error=self._last_error or None,
        )


def describe_error(error: BaseException | str, max_length: int = 500) -> str:
    """Return an error in one bounded, redacted line: its type, its message and its cause's type."""
    if isinstance(error, str):
        return redact_text(error)[:max_length]
    cause = f" (from {type(error.__cause__).__name__})" if error.__cause__ is not None else ""
    return redact_text(f"{type(error).__name__}: {error}")[:max_length] + cause


class _LineWriter:
    """The only writer to the log stream, for structlog's methods and for the bridge."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def write(self, line: str) -> None:
        # A stream that is gone (a closed pipe at exit, a test's capture) must not crash an actor.
        with self._lock, suppress(ValueError, OSError):
            self._stream.write(line + "\n")
            self._stream.flush()

    debug = info = warning = error = critical = exception = msg = log = write


class _Bridge(logging.Handler):
    """Passes records of the standard library's loggers to the same chain and the same writer."""

    def __init__(self, processors: Sequence[Processor], writer: _LineWriter) -> None:
        super().__init__()
        self._processors = processors
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        try:
            event: Any = {"event": record.getMessage(), "logger_name": record.name}
            event[KIND] = f"{record.name} {record.levelname}"  # the text may come from a client
            if record.exc_info and record.exc_info[0] is not None:
                event["exc_info"] = record.exc_info
            for processor in self._processors:
                event = processor(self._writer, record.levelname.lower(), event)
            self._writer.write(event)
        except structlog.DropEvent:
            pass
        except Exception as error:
            # Python's own handleError prints the record's arguments without redaction.
            self._writer.write(
                f'{{"event":"log_record_unprintable","error_type":"{type(error).__name__}"}}'
            )


def _route_standard_logging(bridge: _Bridge, threshold: int) -> None:
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _Bridge)]:
        root.removeHandler(handler)
    root.addHandler(bridge)
    root.setLevel(threshold)
    for name in QUIET_LIBRARIES:
        logging.getLogger(name).setLevel(max(threshold, logging.WARNING))


def _processors(*, as_json: bool, colors: bool) -> list[Processor]:
    traceback: Processor = (
        ExceptionRenderer(ExceptionDictTransformer(show_locals=False))
        if as_json
        else structlog.processors.format_exc_info
    )
    renderer: Processor = (
        _render_json
        if as_json
        else ConsoleRenderer(colors=colors, exception_formatter=plain_traceback, sort_keys=False)
    )
    return [
        structlog.contextvars.merge_contextvars,
        _line_limit,  # before anything that costs time, such as formatting a traceback
        add_log_level,
        _stamp,
        StackInfoRenderer(),
        traceback,
        _redact_event,  # after all that adds values, before all that makes text of them
        renderer,
    ]


def _stamp(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    event["timestamp"] = format_instant(_CLOCK.wall(), "microseconds")
    return event


def _redact_event(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    return cast("EventDict", redact(event))


def _render_json(_: WrappedLogger, __: str, event: EventDict) -> str:
    try:
        return orjson.dumps(event).decode()
    except TypeError:
        # The slower encoder can write numbers beyond 64 bits and lone surrogates.
        return json.dumps(event)
