"""The pool against real servers on loopback: limits, deadlines, and what must not leak."""

from __future__ import annotations

import gzip
import random
import zlib
from typing import TYPE_CHECKING

import httpx
import orjson
import pytest
import trio

from domain.model import FaultClass
from ports.providers import ProviderFault
from providers.answers import Answer, error_code_in
from providers.http import Call, HttpPool
from tests.providers.servers import Asked, Reply, http_server, loopback_dialler, tcp_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

KIB = 1024


@pytest.fixture
async def pool() -> AsyncIterator[HttpPool]:
    async with HttpPool(
        loopback_dialler(), max_connections=4, max_response_bytes=64 * KIB
    ) as opened:
        yield opened


def _get(base: str, *, deadline: float = 5.0, limiter: trio.CapacityLimiter | None = None) -> Call:
    headers = {"Authorization": "Bearer s3cret-token"}
    return Call(
        method="GET",
        url=httpx.URL(base + "/state?vin=1"),
        headers=headers,
        deadline_seconds=deadline,
        limiter=limiter,
        read_error_code=lambda body: error_code_in(body, "error"),
    )


async def _fault(pool: HttpPool, call: Call) -> ProviderFault:
    with pytest.raises(ProviderFault) as caught:
        await pool.fetch(call)
    return caught.value


async def test_a_good_answer_is_its_body(pool: HttpPool) -> None:
    async with http_server(
        lambda asked: Reply(body=orjson.dumps([asked.method, asked.target]))
    ) as base:
        assert await pool.fetch(_get(base)) == Answer(200, None, b'["GET","/state?vin=1"]')
    assert pool.statistics().faults == {}


async def test_a_refusal_carries_its_class_its_delay_and_no_secret(pool: HttpPool) -> None:
    def refuse(asked: Asked) -> Reply:
        seen = asked.headers["authorization"]
        headers = {"Retry-After": "2.5", "Content-Type": f"Application/JSON; seen={seen}"}
        return Reply(
            429, orjson.dumps({"error": "RateExceeded", "error_description": seen}), headers
        )

    async with http_server(refuse) as base:
        fault = await _fault(pool, _get(base))
    assert (fault.fault, fault.retry_after) == (FaultClass.QUOTA, 2.5)
    assert (
        str(fault) == f"{base}/state answered 429 (application/json, 66 bytes, error RateExceeded)"
    )
    assert pool.statistics().faults == {"quota": 1}


async def test_a_slow_server_is_an_outage_at_the_deadline(pool: HttpPool) -> None:
    async def sleep(_: Asked) -> Reply:
        await trio.sleep_forever()
        raise AssertionError

    async with http_server(sleep) as base:
        fault = await _fault(pool, _get(base, deadline=0.05))
    assert (fault.fault, fault.permanent) == (FaultClass.OUTAGE, False)
    assert "within 0.05 s" in str(fault)
    assert pool.statistics().in_flight == 0


async def test_an_answer_that_drips_for_ever_ends_at_the_deadline(pool: HttpPool) -> None:
    async def drip(stream: trio.SocketStream) -> None:
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while True:
            await stream.send_all(b"x")
            await trio.sleep(0.005)

    async with tcp_server(drip) as port:
        fault = await _fault(pool, _get(f"http://127.0.0.1:{port}", deadline=0.1))
    assert fault.fault is FaultClass.OUTAGE


@pytest.mark.parametrize("status", [200, 500])
async def test_no_more_than_the_largest_body_is_kept(pool: HttpPool, status: int) -> None:
    async with http_server(lambda _: Reply(status, b"x" * 65 * KIB)) as base:
        fault = await _fault(pool, _get(base))
        assert fault.fault is (FaultClass.CONFIGURATION if status == 200 else FaultClass.OUTAGE)
    assert pool.statistics().bytes_received <= 64 * KIB


async def test_an_endless_body_is_cut_off_and_its_connection_with_it(pool: HttpPool) -> None:
    async def pour(stream: trio.SocketStream) -> None:
        await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await stream.send_all(b"x" * KIB)

    async with tcp_server(pour) as port:
        for _ in range(10):  # more often than there are connections
            fault = await _fault(pool, _get(f"http://127.0.0.1:{port}"))
            assert "more than 65536 bytes: raise LASTHEARD_MAX_ANSWER_BYTES" in str(fault)
    assert pool.statistics().rebuilds == 0


async def test_a_compressed_answer_is_unpacked(pool: HttpPool) -> None:
    def pack(asked: Asked) -> Reply:
        return Reply(
            body=gzip.compress(b"[1]"),
            headers={"Content-Encoding": asked.headers["accept-encoding"]},
        )

    async with http_server(pack) as base:
        assert (await pool.fetch(_get(base))).body == b"[1]"


@pytest.mark.parametrize(
    ("encoding", "body", "why", "expected"),
    [
        (
            "gzip",
            gzip.compress(bytes(65 * KIB)),
            "more than 65536 bytes",
            FaultClass.CONFIGURATION,
        ),
        ("gzip", b"no gzip", "damaged", FaultClass.PROTOCOL),
        ("gzip", gzip.compress(b"[1]")[:-9], "cut off", FaultClass.PROTOCOL),
    ],
    ids=["bomb", "damaged", "cut off"],
)
async def test_a_body_that_cannot_be_unpacked_is_a_fault(
    pool: HttpPool, encoding: str, body: bytes, why: str, expected: FaultClass
) -> None:
    async with http_server(
        lambda _: Reply(body=body, headers={"Content-Encoding": encoding})
    ) as base:
        fault = await _fault(pool, _get(base))
    assert fault.fault is expected
    assert why in str(fault)


@pytest.mark.parametrize("encoding", ["UTF-8", "", "none", "binary", "br"])
async def test_a_content_coding_that_is_none_is_ignored(pool: HttpPool, encoding: str) -> None:
    headers = {"Content-Encoding": encoding}
    async with http_server(lambda _: Reply(body=b"[1]", headers=headers)) as base:
        assert (await pool.fetch(_get(base))).body == b"[1]"


async def test_a_chunked_body_needs_no_length(pool: HttpPool) -> None:
    async def speak(stream: trio.SocketStream) -> None:
        await stream.receive_some(4096)
        await stream.send_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await stream.send_all(b"2\r\n[1\r\n1\r\n]\r\n0\r\n\r\n")

    async with tcp_server(speak) as port:
        assert (await pool.fetch(_get(f"http://127.0.0.1:{port}"))).body == b"[1]"


NOISE = bytes(
    random.Random(1).choices(range(33, 127), k=20_000)
)  # so that it does not become short when packed
REFUSAL = b'{"error":"invalid_token","seen":"Bearer s3cret-token"}'
PACKED = gzip.compress(REFUSAL, mtime=0)
BOMB = gzip.compress(bytes(65 * KIB), mtime=0)


@pytest.mark.parametrize(
    ("encoding", "body", "facts"),
    [
        ("identity", REFUSAL, f"{len(REFUSAL)} bytes, error invalid_token"),
        ("gzip", PACKED, f"{len(PACKED)} bytes, error invalid_token"),
        ("deflate", zlib.compress(b"[]"), "10 bytes"),
        ("gzip", gzip.compress(NOISE), "more than 16384 bytes"),
        ("gzip", BOMB, f"{len(BOMB)} bytes"),
        ("identity", NOISE, "more than 16384 bytes"),
        ("gzip", b"no gzip", "7 bytes"),
        ("br", b"?", "1 bytes"),
        ("identity", b"", "no body"),
    ],
    ids=["plain", "gzip", "deflate", "long", "bomb", "not packed", "damaged", "unknown", "empty"],
)
async def test_of_an_error_only_facts_and_its_code_are_told(
    pool: HttpPool, encoding: str, body: bytes, facts: str
) -> None:
    async with http_server(lambda _: Reply(403, body, {"Content-Encoding": encoding})) as base:
        fault = await _fault(pool, _get(base))
    assert (fault.fault, str(fault)) == (
        FaultClass.CREDENTIALS,
        f"{base}/state answered 403 ({facts})",
    )


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        (b"", FaultClass.OUTAGE),
        (b"SSH-2.0-OpenSSH_9\r\n\r\n", FaultClass.PROTOCOL),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf", FaultClass.OUTAGE),
        (b"\x00\xff" * 100, FaultClass.PROTOCOL),
    ],
)
async def test_a_server_that_says_this_and_hangs_up(
    pool: HttpPool, said: bytes, fault: FaultClass
) -> None:
    async def speak(stream: trio.SocketStream) -> None:
        await stream.receive_some(4096)
        if said:
            await stream.send_all(said)
        await stream.send_eof()
        await stream.receive_some(4096)

    async with tcp_server(speak) as port:
        assert (await _fault(pool, _get(f"http://127.0.0.1:{port}"))).fault is fault


async def test_nobody_listening_is_an_outage(pool: HttpPool) -> None:
    async with http_server(lambda _: Reply()) as base:
        pass
    assert (await _fault(pool, _get(base))).fault is FaultClass.OUTAGE


async def test_a_redirect_is_not_followed(pool: HttpPool) -> None:
    targets: list[str] = []

    def redirect(asked: Asked) -> Reply:
        targets.append(asked.target)
        return Reply(302, headers={"Location": "/elsewhere"})

    async with http_server(redirect) as base:
        assert (await _fault(pool, _get(base))).fault is FaultClass.CONFIGURATION
    assert targets == ["/state?vin=1"]


async def test_one_customers_cookie_is_not_sent_with_the_next_call(pool: HttpPool) -> None:
    cookies: list[str | None] = []

    def remember(asked: Asked) -> Reply:
        cookies.append(asked.headers.get("cookie"))
        return Reply(headers={"Set-Cookie": "session=of-the-first"})

    async with http_server(remember) as base:
        await pool.fetch(_get(base))
        await pool.fetch(_get(base))
    assert cookies == [None, None]


async def test_the_environments_proxy_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    async with HttpPool(loopback_dialler()) as pool, http_server(lambda _: Reply()) as base:
        assert (await pool.fetch(_get(base))).body == b"{}"


async def test_a_header_that_cannot_be_sent_is_not_quoted(pool: HttpPool) -> None:
    async with http_server(lambda _: Reply()) as base:
        call = Call(method="GET", url=httpx.URL(base), headers={"Authorization": "s3cret\r\nX: y"})
        fault = await _fault(pool, call)
    assert (fault.fault, fault.__cause__) == (FaultClass.CONFIGURATION, None)
    assert "s3cret" not in str(fault)


async def test_churn_with_cancellations_costs_no_slot() -> None:
    dice = random.Random(7)

    async def dawdle(_: Asked) -> Reply:
        await trio.sleep(dice.random() * 0.004)
        return Reply(headers={"Connection": "close"} if dice.random() < 0.5 else {})

    async def impatient(pool: HttpPool, base: str) -> None:
        with trio.move_on_after(dice.random() * 0.01):
            await pool.fetch(_get(base))

    async with (
        HttpPool(loopback_dialler(), max_connections=5, pool_wait_seconds=1.0) as pool,
        http_server(dawdle) as base,
    ):
        for _ in range(40):
            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(impatient, pool, base)
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                for _ in range(10):
                    nursery.start_soon(pool.fetch, _get(base))
        statistics = pool.statistics()
    assert (statistics.rebuilds, statistics.in_flight, statistics.waiting) == (0, 0, 0)


async def test_a_client_that_lost_its_slots_is_replaced() -> None:
    async with (
        HttpPool(loopback_dialler(), max_connections=2, pool_wait_seconds=0.05) as pool,
        http_server(lambda _: Reply()) as base,
    ):
        client = pool._current_client().client
        held = [await client.send(client.build_request("GET", base), stream=True) for _ in range(2)]
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(pool.fetch, _get(base))
        assert pool.statistics().rebuilds == 1
        assert pool.statistics().clients_retired == 0
        assert client.is_closed
        for response in held:
            await response.aclose()


async def test_one_credential_makes_one_call_at_a_time() -> None:
    running, most = 0, 0

    async def count(_: Asked) -> Reply:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await trio.sleep(0.002)
        running -= 1
        return Reply()

    async with HttpPool(loopback_dialler()) as pool, http_server(count) as base:
        limiters = pool.credential_limiter("acme"), pool.credential_limiter("acme")
        assert limiters[0] is limiters[1]
        assert limiters[0] is not pool.credential_limiter("other")
        async with trio.open_nursery() as nursery:
            for limiter in limiters * 4:
                nursery.start_soon(pool.fetch, _get(base, limiter=limiter))
    assert most == 1


async def test_a_limiter_that_nobody_keeps_is_forgotten(pool: HttpPool) -> None:
    kept = pool.credential_limiter("acme")
    pool.credential_limiter("other")
    assert pool.statistics().credential_limiters == 1
    assert pool.credential_limiter("acme") is kept


async def test_standing_in_line_does_not_count_against_the_deadline() -> None:
    """Eight calls of 20 ms through one connection take longer than a call's deadline of 120 ms."""

    async def dawdle(_: Asked) -> Reply:
        await trio.sleep(0.02)
        return Reply()

    async with (
        HttpPool(loopback_dialler(), max_connections=1) as pool,
        http_server(dawdle) as base,
        trio.open_nursery() as nursery,
    ):
        for _ in range(8):
            nursery.start_soon(pool.fetch, _get(base, deadline=0.12))
    assert pool.statistics().faults == {}


async def test_statistics_are_plain_json(pool: HttpPool) -> None:
    async with http_server(lambda _: Reply(503)) as base:
        await _fault(pool, _get(base))
    assert orjson.loads(orjson.dumps(pool.statistics())) == {
        "max_connections": 4,
        "in_flight": 0,
        "waiting": 0,
        "credential_limiters": 0,
        "calls": 1,
        "bytes_received": 2,
        "rebuilds": 0,
        "clients_retired": 0,
        "faults": {"outage": 1},
    }


async def test_a_pool_that_is_not_open_says_how_to_open_it() -> None:
    with pytest.raises(RuntimeError, match="async with"):
        await HttpPool(loopback_dialler()).fetch(_get("http://127.0.0.1:9"))
