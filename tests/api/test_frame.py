"""Every request ends, in a bounded time, with an answer that its client can read."""

from __future__ import annotations

import json
import re

import orjson
import structlog
import trio
from h2.connection import H2Connection
from h2.events import ResponseReceived, StreamEnded
from werkzeug.datastructures import Headers

from api.frame import FrameLimits
from tests.api.serving import PATIENCE_SECONDS, Served, make_app, read_to_end, served

SMALL = FrameLimits(max_body_bytes=1000)
GET_SLOW = b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n"


def post(size: int, body: bytes) -> bytes:
    return (
        b"POST /read HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % size
        + body
    )


def chunked(*chunks: bytes) -> bytes:
    head = (
        b"POST /read HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    return head + b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


async def test_a_body_of_the_greatest_size_is_taken() -> None:
    async with served(frame=SMALL) as http:
        assert (await http.exchange(post(1000, b"x" * 1000))).endswith(b'{"bytes":1000}')


async def test_a_body_that_announces_too_much_is_refused_as_a_problem() -> None:
    async with served(frame=SMALL) as http:
        answer = await http.exchange(post(1001, b"x" * 1001))
    assert status_of(answer) == 413
    assert b"urn:lastheard:problem:body-too-large" in answer


async def test_a_chunked_body_is_refused_as_soon_as_it_is_too_large() -> None:
    async with served(frame=SMALL) as http:
        answer = await http.exchange(chunked(b"x" * 600, b"x" * 600))
    assert status_of(answer) == 413


async def test_a_client_that_reads_after_a_large_body_gets_its_refusal() -> None:
    async with served() as http:
        answer = await http.exchange(post(4_000_000, b"x" * 4_000_000))
    assert status_of(answer) == 413
    assert not answer.endswith(b"<reset>")


async def test_a_body_that_never_ends_is_not_drained_for_ever() -> None:
    async with (
        served(frame=FrameLimits(max_body_bytes=10, drain_seconds=0.1)) as http,
        await http.connect() as stream,
    ):
        await stream.send_all(post(1000, b"x"))
        answer = await read_to_end(stream)
    assert status_of(answer) == 413


async def test_a_body_that_trickles_in_is_a_408() -> None:
    async with served(frame=FrameLimits(body_seconds=0.1)) as http:
        answer = await http.exchange(post(10, b"x"))
    assert status_of(answer) == 408
    assert b"urn:lastheard:problem:request-timeout" in answer


async def test_a_handler_over_its_deadline_is_cancelled_with_503() -> None:
    async with served(frame=FrameLimits(request_deadline_seconds=0.1)) as http:
        answer = await http.exchange(GET_SLOW.replace(b"Host", b"Connection: close\r\nHost"))
        assert http.slow_cancelled.is_set()
        assert http.traffic.deadlines_passed == 1
    assert status_of(answer) == 503
    assert b"urn:lastheard:problem:deadline-passed" in answer
    assert b"retry-after: 1\r\n" in answer


async def test_the_deadline_is_for_deciding_and_not_for_a_long_answer() -> None:
    async with served(frame=FrameLimits(request_deadline_seconds=0.15)) as http:
        answer = await http.exchange(
            b"GET /stream HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        )
        assert http.traffic.deadlines_passed == 0
    assert answer.count(b"piece ") == 4
    assert answer.endswith(b"0\r\n\r\n")


async def test_requests_over_the_limit_are_shed_with_retry_after() -> None:
    async with served(max_in_flight=1) as http, await http.connect() as stream:
        await stream.send_all(GET_SLOW)
        await http.slow_started.wait()
        shed = await http.exchange(post(5, b"hello"))
        assert http.traffic.shed == 1
    assert status_of(shed) == 503
    assert b"urn:lastheard:problem:overloaded" in shed
    assert b"retry-after: 1\r\n" in shed


async def test_a_place_in_flight_is_free_again_after_each_kind_of_end() -> None:
    async with served(frame=FrameLimits(request_deadline_seconds=0.1), max_in_flight=1) as http:
        for request in (GET_SLOW, post(5, b"hello"), b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n"):
            await http.exchange(request.replace(b"Host", b"Connection: close\r\nHost", 1))
            await http.wait_for_count("in_flight", 0)
        assert http.traffic.shed == 0
        assert http.traffic.responses == {"2xx": 1, "4xx": 1, "5xx": 1}


async def test_over_h2_a_body_too_large_costs_only_its_stream() -> None:
    async with served(frame=SMALL) as http, await http.connect() as stream:
        client = H2Connection()
        client.initiate_connection()
        headers = [
            (":method", "POST"),
            (":path", "/read"),
            (":scheme", "http"),
            (":authority", "a"),
        ]
        client.send_headers(1, headers)
        client.send_data(1, b"x" * 4000, end_stream=True)
        assert await _status_over_h2(client, stream) == "413"
        client.send_headers(
            3, [(":method", "GET"), (":path", "/ok"), *headers[2:]], end_stream=True
        )
        assert await _status_over_h2(client, stream) == "200"


async def _status_over_h2(client: H2Connection, stream: trio.SocketStream) -> str:
    """Return the status of the next response, after all of it has arrived."""
    status = ""
    with trio.fail_after(PATIENCE_SECONDS):
        while True:
            await stream.send_all(client.data_to_send())
            for event in client.receive_data(await stream.receive_some(65536)):
                if isinstance(event, ResponseReceived):
                    status = dict(event.headers)[b":status"].decode()
                if isinstance(event, StreamEnded):
                    return status


async def test_a_fit_trace_id_of_the_client_is_kept() -> None:
    client = make_app(Served()).test_client()
    response = await client.get("/ok", headers={"X-Request-Id": "bus-7.retry_2"})
    assert response.headers["X-Request-Id"] == "bus-7.retry_2"


async def test_an_unfit_trace_id_is_replaced_by_one_of_ours() -> None:
    client = make_app(Served()).test_client()
    for unfit in ("", "a" * 65, "a b", "a\x7f", "ä"):
        response = await client.get("/ok", headers={"X-Request-Id": unfit})
        assert re.fullmatch("[0-9a-f]{32}", response.headers["X-Request-Id"])


async def test_nfr_003_a_traceparent_comes_before_an_id_of_the_client() -> None:
    client, trace = make_app(Served()).test_client(), "4bf92f3577b34da6a3ce929d0e0e4736"
    good = f"00-{trace}-00f067aa0ba902b7-01"
    headers = {"TraceParent": good, "X-Request-Id": "bus-7.retry_2"}
    response = await client.get("/context", headers=headers)
    assert response.headers["X-Request-Id"] == trace
    told = await response.get_json()
    assert (told["trace_id"], told["request_id"]) == (trace, "bus-7.retry_2")
    for several in ([("traceparent", good)] * 2, [("traceparent", good.upper())]):
        both = Headers([*several, ("X-Request-Id", "bus-7.retry_2")])
        response = await client.get("/context", headers=both)
        assert response.headers["X-Request-Id"] == "bus-7.retry_2"
        alone = await client.get("/context", headers=Headers(several))
        assert re.fullmatch("[0-9a-f]{32}", alone.headers["X-Request-Id"])
        assert alone.headers["X-Request-Id"] != trace


async def test_a_request_logs_its_own_ids_and_none_of_its_tasks_parent() -> None:
    client = make_app(Served()).test_client()
    with structlog.contextvars.bound_contextvars(trace_id="another", cycle_id="c-1"):
        response = await client.get("/context", headers={"X-Request-Id": "t-1"})
    assert await response.get_json() == {"trace_id": "t-1", "without_key": True}


async def test_a_refusal_names_the_trace_id_of_its_header() -> None:
    client = make_app(Served()).test_client()
    response = await client.get("/nowhere", headers={"X-Request-Id": "t-1"})
    assert json.loads(await response.get_data(as_text=True)) == {
        "type": "urn:lastheard:problem:not-found",
        "title": "There is no such resource",
        "status": 404,
        "trace_id": "t-1",
    }


async def test_the_statistics_are_plain_values() -> None:
    state = Served()
    await make_app(state).test_client().get("/ok")
    assert orjson.loads(orjson.dumps(state.traffic.statistics()))["responses"] == {"2xx": 1}
