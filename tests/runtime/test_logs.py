"""Logs: one line for each event of any logger, edges instead of retries, and no secrets."""

from __future__ import annotations

import io
import json
import logging
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
import structlog
import trio

from runtime.logs import EdgeLog, configure_logging, describe_error, get_logger
from runtime.redaction import redact_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, MutableMapping

    from trio.testing import MockClock


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def stream() -> io.StringIO:
    output = io.StringIO()
    configure_logging(format="json", level="debug", stream=output)
    return output


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_json_with_event_level_name_and_time(stream: io.StringIO) -> None:
    get_logger("ingest").info("unit_committed", updates=3)
    (line,) = lines(stream)
    stamp = line.pop("timestamp")
    assert line == {
        "event": "unit_committed",
        "level": "info",
        "logger_name": "ingest",
        "updates": 3,
    }
    assert stamp.endswith("Z")
    assert datetime.fromisoformat(stamp).tzinfo is not None


def test_bound_context_is_in_every_line(stream: io.StringIO) -> None:
    with structlog.contextvars.bound_contextvars(trace_id="t1"):
        get_logger("a").info("x")
    get_logger("a").info("y")
    assert [line.get("trace_id") for line in lines(stream)] == ["t1", None]


def test_lines_below_the_level_are_not_written() -> None:
    output = io.StringIO()
    configure_logging(format="json", level="WARNING", stream=output)
    get_logger("a").info("quiet")
    get_logger("a").warning("loud")
    logging.getLogger("elsewhere").info("quiet")
    assert [line["event"] for line in lines(output)] == ["loud"]


def test_an_unknown_level_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'loud' is not a log level; known are critical"):
        configure_logging(level="loud")


def test_a_logger_made_before_follows_a_later_configuration(stream: io.StringIO) -> None:
    log = get_logger("early")
    log.info("first")
    later = io.StringIO()
    configure_logging(format="json", stream=later)
    log.info("second")
    logging.getLogger("library").warning("third")
    assert [line["event"] for line in lines(stream)] == ["first"]
    assert [line["event"] for line in lines(later)] == ["second", "third"]


def test_the_standard_librarys_loggers_take_the_same_way(stream: io.StringIO) -> None:
    logging.getLogger("some.library").warning("lost %d of %s", 3, "Bearer abc.def")
    (line,) = lines(stream)
    assert (line["event"], line["logger_name"], line["level"]) == (
        "lost 3 of Bearer [redacted]",
        "some.library",
        "warning",
    )


@pytest.mark.parametrize("library", ["hypercorn.error", "asyncio", "httpx"])
def test_chatty_libraries_log_from_warning(library: str, stream: io.StringIO) -> None:
    logging.getLogger(library).info("GET /")
    logging.getLogger(library).warning("odd")
    assert [line["event"] for line in lines(stream)] == ["odd"]


def test_a_record_that_cannot_be_formatted_hides_its_arguments(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logging.getLogger().handlers.clear()  # pytest's own handler raises what ours must survive
    output = io.StringIO()
    configure_logging(format="json", stream=output)
    logging.getLogger("library").warning("%d", "hunter2")
    assert [line["event"] for line in lines(output)] == ["log_record_unprintable"]
    assert "hunter2" not in output.getvalue() + "".join(capsys.readouterr())


def test_an_exception_is_a_structure_without_local_variables(stream: io.StringIO) -> None:
    def fail() -> None:
        visible_only_as_local = "ordinary value"
        raise ValueError("boom " + str(len(visible_only_as_local)))

    try:
        fail()
    except ValueError as error:
        get_logger("a").error("broke", exc_info=error)
    (line,) = lines(stream)
    assert [(each["exc_type"], each["exc_value"]) for each in line["exception"]] == [
        ("ValueError", "boom 14")
    ]
    assert "ordinary value" not in stream.getvalue()


@pytest.mark.parametrize(("kind", "is_json"), [(io.StringIO, True), (Terminal, False)])
def test_auto_is_text_on_a_terminal_and_json_elsewhere(
    kind: Callable[[], io.StringIO], is_json: bool
) -> None:
    output = kind()
    configure_logging(stream=output)
    get_logger("a").info("started", port=80)
    assert output.getvalue().startswith("{") is is_json
    assert "started" in output.getvalue()


def test_a_closed_stream_does_not_crash_the_caller(stream: io.StringIO) -> None:
    stream.close()
    get_logger("a").info("nobody reads this")


def raise_nested(secret: str) -> None:
    try:
        raise RuntimeError(f"connect failed for postgres://app:{secret}@db:5432/fleet")
    except RuntimeError as cause:
        raise ExceptionGroup(
            "both", [ValueError(f"Authorization: Bearer {secret}"), KeyError(secret)]
        ) from cause


SECRET = "hunter2hunter2"
PLACES: dict[str, dict[str, Any]] = {
    "key authorization": {"authorization": SECRET},
    "key api_key": {"api_key": SECRET},
    "key apikey": {"apikey": SECRET},
    "key apiKey": {"apiKey": SECRET},
    "key x-api-key": {"headers": {"x-api-key": SECRET}},
    "key token": {"token": SECRET},
    "key access_token": {"access_token": SECRET},
    "key client_secret": {"client_secret": SECRET},
    "key password": {"password": SECRET},
    "key password as a number": {"password": 14142135},
    "key dsn-password": {"dsn-password": SECRET},
    "key credential": {"credential": {"user": "u", "pass": SECRET}},
    "bytes": {"header": b"Bearer " + SECRET.encode()},
    "bearer": {"detail": f"sent Bearer {SECRET}"},
    "basic": {"detail": "sent Basic aHVudGVyMmh1bnRlcjI="},
    "query": {"url": f"https://provider.example/v1/buses?apiKey={SECRET}&page=2"},
    "dsn": {"dsn": f"postgres://app:{SECRET}@db:5432/fleet"},
    "dsn with an unescaped password": {"dsn": f"postgresql://app:a/b@c{SECRET}@db/fleet"},
    "url": {"proxy": f"http://me:{SECRET}@proxy.example:3128/"},
    "own key": {"presented": f"lh_k7f3_{SECRET}"},
    "json web token": {"jwt": "eyJhbGciOiJub25lIn0.eyJzdWIiOiJodW50ZXIyIn0.aHVudGVyMmh1bnRlcjI"},
    "json text": {"body": f'{{"token": "{SECRET}", "page": 2}}'},
    "escaped json text": {"body": f'"{{\\"password\\": \\"{SECRET}\\"}}"'},
    "repr of a dict": {"body": f"{{'password': '{SECRET}'}}"},
    "key value text": {"line": f"host=db password={SECRET} user=app"},
    "quoted with spaces": {"line": f'password = "correct horse {SECRET}"'},
    "header pair": {"headers": [(b"Authorization", SECRET.encode()), (b"accept", b"*/*")]},
    "repr of a header pair": {"detail": f"[(b'authorization', b'{SECRET}')]"},
    "authorization with a scheme": {"detail": f"Authorization: Digest {SECRET}"},
    "deep": {"a": [{"b": ({"c": {"d": [f"Bearer {SECRET}"]}},)}]},
    "an object": {
        "thing": type("Thing", (), {"__repr__": lambda _: f"Thing(api_key='{SECRET}')"})()
    },
    "an exception": {"error": ValueError(f"token={SECRET}")},
}
LEAKS = (SECRET, "14142135", "aHVudGVyMmh1bnRlcjI", "a/b@c")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("format_", ["json", "console"])
def test_no_secret_is_readable_wherever_it_stands(place: str, format_: Any) -> None:
    output = io.StringIO()
    configure_logging(format=format_, stream=output)
    get_logger("a").info("event", harmless="kept", **PLACES[place])
    assert "[redacted]" in output.getvalue()
    assert "kept" in output.getvalue()
    assert not [leak for leak in LEAKS if leak in output.getvalue()]


@pytest.mark.parametrize("format_", ["json", "console"])
@pytest.mark.parametrize("way", ["ours", "library"])
def test_no_secret_is_readable_inside_nested_exceptions(format_: Any, way: str) -> None:
    output = io.StringIO()
    configure_logging(format=format_, stream=output)
    try:
        raise_nested(f"lh_k7f3_{SECRET}")
    except ExceptionGroup as error:
        if way == "ours":
            get_logger("a").error("broke", exc_info=error)
        else:
            logging.getLogger("library").error("broke", exc_info=error)
    assert "ValueError" in output.getvalue()
    assert "lh_k7f3_[redacted]" in output.getvalue()
    assert SECRET not in output.getvalue()


def test_text_without_a_secret_stays_readable(stream: io.StringIO) -> None:
    fields = {
        "fence_token": 7,
        "token_expires_at": "2026-03-01T12:00:00Z",
        "key_id": "k7f3",
        "credential_reference": "env:VIRICITI_KEY",
        "password": None,
        "authorization": False,
        "url": "https://provider.example:8443/v1/buses?page=2",
        "detail": "the token bucket is empty",
        "own": "lh_k7f3",
    }
    get_logger("a").info("event", **fields)
    line = lines(stream)[0]
    assert {key: line[key] for key in fields} == fields


@pytest.mark.parametrize(
    "text",
    [
        "a" * 100_000,
        "a." * 50_000,
        "token" * 20_000,
        'password="' * 10_000,
        "postgres://a:" * 8_000,
        "'a" * 50_000,
    ],
)
def test_no_text_from_outside_makes_logging_slow(text: str) -> None:
    began = time.perf_counter()
    cut = redact_text(text)
    assert (
        time.perf_counter() - began < 2.0
    )  # milliseconds with bounded expressions, minutes without
    assert len(cut) < 100_000


def test_values_json_does_not_know_become_text(stream: io.StringIO) -> None:
    cycle: dict[str, Any] = {}
    cycle["self"] = cycle
    naive = datetime(2026, 3, 1)  # noqa: DTZ001 — such a time is what is tested
    get_logger("a").info("event", at=naive, some={3}, big=2**70, odd="\ud800", cycle=cycle)
    (line,) = lines(stream)
    assert (line["at"], line["some"], line["big"]) == ("2026-03-01T00:00:00", [3], 2**70)


def test_an_object_without_a_repr_does_not_take_the_line_with_it(stream: io.StringIO) -> None:
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    get_logger("a").info("event", thing=Broken())
    assert lines(stream)[0]["thing"] == "<Broken without a repr: RuntimeError>"


async def test_an_edge_log_writes_the_first_failure_and_the_recovery(
    events: list[MutableMapping[str, Any]], autojump_clock: MockClock
) -> None:
    edge = EdgeLog(get_logger("gateway"), "database")
    edge.recovered()
    for n in range(5):
        edge.failed(ConnectionError(f"refused {n}"), host="db")
        await trio.sleep(10)
    assert (edge.is_failing, edge.failures) == (True, 5)
    edge.recovered(host="db")
    edge.recovered(host="db")
    assert [{key: event[key] for key in event if key != "logger_name"} for event in events] == [
        {
            "event": "database_failed",
            "log_level": "warning",
            "error": "ConnectionError: refused 0",
            "host": "db",
        },
        {
            "event": "database_recovered",
            "log_level": "info",
            "failures": 5,
            "failed_for_seconds": 50.0,
            "last_error": "ConnectionError: refused 4",
            "host": "db",
        },
    ]


async def test_a_second_outage_is_an_edge_of_its_own(
    events: list[MutableMapping[str, Any]], autojump_clock: MockClock
) -> None:
    edge = EdgeLog(get_logger("gateway"), "database")
    for _ in range(2):
        edge.failed("away")
        edge.recovered()
    assert [event["event"] for event in events] == ["database_failed", "database_recovered"] * 2
    assert edge.statistics().is_failing is False


def test_an_error_becomes_one_bounded_line_without_secrets() -> None:
    error = ConnectionError("x" * 1000)
    error.__cause__ = OSError("inner")
    assert len(describe_error(error)) < 530
    assert describe_error(error).endswith("(from OSError)")
    assert describe_error(ValueError(f"password={SECRET}")) == "ValueError: password=[redacted]"
