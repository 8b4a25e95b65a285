"""The recorder on its own: its bounds, its counts, and a collector that is away or refuses."""

from __future__ import annotations

import io
import logging
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import orjson
import pytest
import structlog
import trio

from lastheard import otlp
from lastheard.otlp import OtlpRecorder
from lastheard.settings import Settings
from lastheard.tracing import open_tracing
from runtime import spans
from runtime.logs import configure_logging
from tests.collector import open_collector
from tests.providers.servers import Asked, Reply, http_server, tcp_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    configure_logging(format="json", stream=stream)
    yield stream
    structlog.reset_defaults()
    root.handlers[:], root.level = handlers, level


def events(log: io.StringIO) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in log.getvalue().splitlines()]


@asynccontextmanager
async def recorder_to(url: str) -> AsyncIterator[OtlpRecorder]:
    made = OtlpRecorder(url, {"x-team": "fleet"}, share=1.0, shard_id="shard-1")
    try:
        with spans.recording(made):
            yield made
    finally:
        await trio.to_thread.run_sync(made.close)


def do(count: int) -> None:
    for number in range(count):
        with spans.span("poll cycle", trace_id=f"{number + 1:032x}"):
            pass


async def test_a_span_keeps_the_trace_id_that_the_log_has() -> None:
    async with open_collector() as collector, recorder_to(collector.url):
        with spans.span("poll cycle", trace_id=TRACE), spans.span("provider call"):
            pass
        with spans.span("poll cycle", trace_id="please-run"):
            pass
    assert [len(span.trace_id) for span in collector.spans] == [32] * 3
    assert [span.name for span in collector.trace(TRACE)] == ["provider call", "poll cycle"]
    assert collector.asked[0].headers["x-team"] == "fleet"


async def test_links_arrive_up_to_their_bound() -> None:
    linked = spans.SpanPlace(TRACE, "00f067aa0ba902b7", is_recorded=True)
    async with open_collector() as collector, recorder_to(collector.url):
        links = [linked] * (spans.MAX_LINKS + 5)
        spans.begin("unit", trace_id=TRACE, links=links).end()
    (unit,) = collector.spans
    assert unit.links == ((linked.trace_id, linked.span_id),) * spans.MAX_LINKS


async def test_a_full_queue_drops_and_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otlp, "MAX_WAITING", 10)
    monkeypatch.setattr(otlp, "MAX_BATCH", 10)
    monkeypatch.setattr(otlp, "SEND_EVERY_SECONDS", 60.0)
    async with open_collector() as collector:
        async with recorder_to(collector.url) as recorder:
            do(25)
            full = recorder.statistics()
        after = recorder.statistics()
    assert (full.ended, full.dropped, full.waiting, full.sent) == (25, 15, 10, 0)
    assert (after.sent, after.dropped, after.waiting, after.lost) == (10, 15, 0, 0)
    assert len(collector.spans) == 10


async def test_a_collector_that_refuses_is_logged_once(
    log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(otlp, "SEND_EVERY_SECONDS", 0.01)
    refusing = True

    def answer(_: Asked) -> Reply:
        return Reply(status=403 if refusing else 200, body=b"")

    async with http_server(answer) as base, recorder_to(base) as recorder:
        for wanted in (1, 2, 3):
            do(1)
            await until(lambda wanted=wanted: recorder.statistics().lost == wanted)
        refusing = False
        do(1)
        await until(lambda: recorder.statistics().sent == 1)
    told = [line for line in events(log) if line["event"].startswith("traces_export")]
    assert [line["event"] for line in told] == ["traces_export_failed", "traces_export_recovered"]
    assert "403" in told[0]["error"]
    assert told[1]["failures"] == 3


async def test_a_redirect_is_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The headers may have a key, which is for this collector only."""
    asked: list[Asked] = []

    def answer(request: Asked) -> Reply:
        asked.append(request)
        return Reply(status=307, headers={"location": f"{base}/elsewhere"}, body=b"")

    async with http_server(answer) as base, recorder_to(f"{base}/v1/traces") as recorder:
        do(1)
    assert recorder.statistics().lost == 1
    assert {request.target for request in asked} == {"/v1/traces"}


@pytest.mark.parametrize("answers", [False, True], ids=["closed-port", "never-answers"])
async def test_a_collector_that_is_away_holds_nothing_up(
    answers: bool, log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(otlp, "SEND_SECONDS", 3.0)  # past the end of the block, which waits 2

    async def hang(_: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with tcp_server(hang) as port:
        url = f"http://127.0.0.1:{port if answers else 1}"
        with trio.fail_after(5):
            async with open_tracing(Settings(otlp_url=url)):
                do(100)
                assert spans.statistics() == spans.TraceStatistics(100, 0, 0, 0, 100)
            await trio.lowlevel.checkpoint()  # where the deadline is noticed: closing is shielded
        await until(lambda: not sending_threads())
    told = [line for line in events(log) if line["level"] != "debug"]
    assert [line["event"] for line in told] == ["traces_export_failed"]
    if answers:  # at a closed port the sender may give up by itself before
        assert "in time" in told[0]["error"]


async def test_nothing_is_recorded_after_the_end(tmp_path: Path) -> None:
    async with open_collector() as collector:
        async with open_tracing(Settings(otlp_url=collector.url)):
            assert spans.is_recording()
        assert not spans.is_recording()
        do(1)
    assert collector.spans == []


def sending_threads() -> list[threading.Thread]:
    return [
        thread for thread in threading.enumerate() if thread.name == "OtelBatchSpanRecordProcessor"
    ]


async def until(holds: Any) -> None:
    with trio.fail_after(10):
        while not holds():  # noqa: ASYNC110
            await trio.sleep(0.01)
