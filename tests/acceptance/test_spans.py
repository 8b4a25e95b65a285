"""NFR-003: what the service does, as spans in a real collector, under the trace ids of the log."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from domain.trace_context import to_trace_id
from lastheard.settings import Settings
from lastheard.tracing import open_tracing
from tests.acceptance.fleets import polled, streamed, vin
from tests.acceptance.harness import open_harness, until
from tests.acceptance.shard import update
from tests.acceptance.test_traces import Maker, add_truck, parent, run_now
from tests.collector import Collector, open_collector
from tests.providers.servers import http_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.acceptance.conftest import Logbook
    from tests.collector import Sent

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = "00f067aa0ba902b7"


@asynccontextmanager
async def traced(share: float = 1.0) -> AsyncIterator[Collector]:
    """Record spans for the length of the block. They are all in the collector after it."""
    async with (
        open_collector() as collector,
        open_tracing(Settings(otlp_url=collector.url, trace_share=share)),
    ):
        yield collector


def only(spans: list[Sent], name: str) -> Sent:
    (span,) = (span for span in spans if span.name == name)
    return span


async def test_nfr_003_a_cycle_leads_to_call_submission_and_commit(
    dsn: str, tmp_path: Path, logbook: Logbook
) -> None:
    maker = Maker()
    async with (
        traced() as collector,
        open_harness(dsn, tmp_path) as harness,
        http_server(maker.answer) as base,
    ):
        await add_truck(harness, base)
        cycle = await run_now(harness.shard, **{"x-request-id": "please-run"})
    trace = collector.trace(to_trace_id("please-run"))
    polled_cycle = only(trace, "poll cycle")
    assert polled_cycle.parent_id == ""
    assert polled_cycle.attributes["lastheard.cycle_id"] == cycle["cycle_id"]
    assert polled_cycle.attributes["lastheard.outcome"] == "completed"
    call = only(collector.children(polled_cycle), "provider call")
    http, submission = collector.children(call)
    assert (http.name, submission.name) == ("GET", "submission")
    assert http.attributes["http.response.status_code"] == 200
    assert http.span_id in maker.parents(to_trace_id("please-run"))[0]
    assert submission.attributes["lastheard.accepted"] == 1
    commit = only(collector.children(submission), "commit")
    unit = next(span for span in collector.spans if span.span_id == commit.links[0][1])
    assert (unit.name, unit.parent_id) == ("unit", "")
    assert (submission.trace_id, submission.span_id) in unit.links
    assert submission.begun <= commit.begun <= commit.ended <= submission.ended
    query = only(collector.children(unit), "commit_unit")
    assert query.attributes["db.system.name"] == "postgresql"
    assert logbook.lines(event="workspace_poll_ingest_completed", trace_id="please-run")


async def test_nfr_003_a_request_leads_to_its_queries(dsn: str, tmp_path: Path) -> None:
    async with traced() as collector, open_harness(dsn, tmp_path) as harness:
        await harness.add_fleet(polled("west", 1, every=1.0), only=[vin(0)])
        path = "/workspaces/west/health?state=stale"
        answer = await harness.shard.ask("GET", path, headers=parent(TRACE))
    path = "/api/telematics-mvp/workspaces/{workspace_id}/health"
    request = only(collector.trace(TRACE), f"GET {path}")
    assert request.parent_id == CALLER
    assert request.attributes == {
        "http.request.method": "GET",
        "http.route": path,
        "http.response.status_code": answer.status,
        "lastheard.workspace_id": "west",
    }
    queries = collector.children(request)
    assert {"page_by_state_counted", "find_access"} <= {query.name for query in queries}
    assert answer.headers["x-request-id"] == TRACE


async def test_a_stranger_is_not_traced(dsn: str, tmp_path: Path) -> None:
    async with traced() as collector, open_harness(dsn, tmp_path) as harness:
        client = harness.shard.client
        answer = await client.get("/api/telematics-mvp/workspaces", headers=parent(TRACE))
    assert answer.status_code == 401
    assert collector.trace(TRACE) == []


async def test_a_caller_that_does_not_record_decides_so_for_its_trace(
    dsn: str, tmp_path: Path
) -> None:
    quiet = {"traceparent": f"00-{TRACE}-{CALLER}-00"}
    maker = Maker()
    async with (
        traced() as collector,
        open_harness(dsn, tmp_path) as harness,
        http_server(maker.answer) as base,
    ):
        await add_truck(harness, base)
        await harness.shard.post("/workspaces/west/providers/rfms/test", headers=quiet)
    assert collector.trace(TRACE) == []
    (sent,) = maker.parents(TRACE)
    assert sent.endswith("-00")


async def test_a_share_of_nothing_records_only_what_callers_record(
    dsn: str, tmp_path: Path
) -> None:
    async with traced(share=0.0) as collector, open_harness(dsn, tmp_path) as harness:
        await harness.add_fleet(polled("west", 1, every=1.0), only=[vin(0)])
        await harness.shard.get("/workspaces/west/health")
        await harness.shard.ask("GET", "/workspaces/west/health", headers=parent(TRACE))
    assert {span.trace_id for span in collector.spans} == {TRACE}


async def test_no_span_has_a_secret_or_a_query(dsn: str, tmp_path: Path) -> None:
    maker = Maker()
    async with (
        traced() as collector,
        open_harness(dsn, tmp_path) as harness,
        http_server(maker.answer) as base,
    ):
        await add_truck(harness, base)
        await run_now(harness.shard)
        await harness.shard.ask("GET", "/workspaces/west/issues?reason=very-private")
        keys = list(harness.tokens.values())
    told = str(collector.spans)
    for secret in ("maker-s3cret", "very-private", *keys, vin(0)):
        assert secret not in told
    assert len(collector.spans) > 20
    assert collector.resource["service.name"] == "lastheard"


async def test_sent_updates_lead_from_their_request_to_the_commit(dsn: str, tmp_path: Path) -> None:
    async with traced() as collector, open_harness(dsn, tmp_path) as harness:
        await harness.shard.add_pushed_fleet("harbour", ["bus-1"])
        one = update("harbour", "bus-1", await harness.now(), odometer_km=1000)
        await harness.shard.ingest(one, headers=parent(TRACE))
    request = only(collector.trace(TRACE), "POST /api/telematics-mvp/ingest")
    first, *_ = [one for one in collector.children(request) if one.name == "submission"]
    assert first.attributes == {
        "lastheard.origin": "http",
        "lastheard.updates": 1,
        "lastheard.accepted": 1,
        "lastheard.refused": 0,
    }
    assert only(collector.children(first), "commit").ended <= request.ended


async def test_a_streams_submissions_are_traces_of_their_own(dsn: str, tmp_path: Path) -> None:
    """The handshake's trace goes on for days; nothing of the stream is below it, and no frame."""
    fleet = streamed("harbour", 3, rate=50.0)
    async with traced() as collector, open_harness(dsn, tmp_path, fleet) as harness:
        await harness.add_fleet(fleet)
        await until(lambda: _has_streamed(collector, 3))
        frames = harness.shard.service.statistics().shard.frames["received"]
    (handshake,) = collector.named("GET", url__scheme="ws")
    seed = {span.span_id for span in collector.named("provider call")}
    sent = collector.named("submission", lastheard__origin="stream")
    assert handshake.parent_id == ""
    assert {span.parent_id for span in sent} <= {"", *seed}
    assert len({span.trace_id for span in _streamed(collector)}) == len(_streamed(collector))
    assert frames > len(sent)


def _streamed(collector: Collector) -> list[Sent]:
    """Return the submissions of a stream's own data: those of its seed come from a call."""
    sent = collector.named("submission", lastheard__origin="stream")
    return [span for span in sent if not span.parent_id]


async def _has_streamed(collector: Collector, count: int) -> bool:
    return len(_streamed(collector)) >= count


async def test_a_page_leads_to_what_it_asks_and_keeps_its_route(dsn: str, tmp_path: Path) -> None:
    async with traced() as collector, open_harness(dsn, tmp_path) as harness:
        await harness.add_fleet(polled("west", 1, every=1.0), only=[vin(0)])
        client, (key,) = harness.shard.client, harness.tokens.values()
        base = str(client.base_url).rstrip("/")
        signed_in = await client.post(
            "/sign-in", data={"key": key, "next": "/"}, headers={"origin": base}
        )
        cookie = signed_in.headers["set-cookie"].partition(";")[0]
        page = await client.get("/workspaces/west", headers={"cookie": cookie, **parent(TRACE)})
        assert page.status_code == 200
    asked = [span for span in collector.trace(TRACE) if "http.route" in span.attributes]
    outer, *inner = sorted(asked, key=lambda span: span.begun)
    assert outer.attributes["http.route"] == "/workspaces/<workspace_id>"
    assert {span.parent_id for span in inner} == {outer.span_id}
    assert any(span.attributes["http.route"].endswith("/health") for span in inner)
    assert signed_in.headers["set-cookie"].partition(";")[0] not in str(collector.spans)
