"""Opening the live stream: what is asked, and the fault of each way in which it does not open."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import psutil
import pytest
import trio
import trio.testing

from domain.model import FaultClass
from ports.providers import ProviderFault
from providers.http import HttpPool
from providers.viriciti import ViriCiti
from providers.websocket import OpenerStatistics
from tests.providers.servers import (
    Reply,
    http_server,
    loopback_dialler,
    tcp_server,
    websocket_server,
)
from tests.providers.viriciti_streams import KEY, open_and_close, open_streamer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio_websocket import WebSocketRequest


@pytest.fixture
async def provider() -> AsyncIterator[ViriCiti]:
    async with HttpPool(loopback_dialler()) as http:
        yield ViriCiti(http)


async def test_the_key_travels_in_a_header_not_in_the_address(
    provider: ViriCiti,
) -> None:
    seen: list[tuple[str, str]] = []

    async def handle(request: WebSocketRequest) -> None:
        seen.append((request.path, dict(request.headers)[b"x-api-key"].decode()))
        await request.accept()

    async with websocket_server(handle) as base, open_streamer(provider, f"{base}/eu/").connect():
        pass
    assert seen == [("/eu/api/v2/live", KEY)]


async def test_the_settings_reach_the_interpretation(provider: ViriCiti) -> None:
    streamer = open_streamer(
        provider,
        "http://127.0.0.1:9",
        power_sign="positive_into_battery",
        charging_power_threshold_kw=None,
    )
    verdict = streamer.interpret('{"vid":"b","label":"power","time":0,"value":7}')
    assert [(reading.signal, reading.value) for reading in verdict.readings] == [("power_kw", -7)]


@pytest.mark.parametrize(
    ("status", "fault", "permanent", "retry_after"),
    [
        (401, FaultClass.CREDENTIALS, True, None),
        (403, FaultClass.CREDENTIALS, True, None),
        (429, FaultClass.QUOTA, False, 4.5),
        (404, FaultClass.CONFIGURATION, True, None),
        (400, FaultClass.OUTAGE, False, None),
        (502, FaultClass.OUTAGE, False, 4.5),
    ],
)
async def test_a_refused_handshake_has_its_fault(
    provider: ViriCiti, status: int, fault: FaultClass, permanent: bool, retry_after: float | None
) -> None:
    refusal = b'{"error":"not_now","seen":"%b"}' % KEY.encode()

    async def refuse(request: WebSocketRequest) -> None:
        await request.reject(status, extra_headers=[(b"Retry-After", b"4.5")], body=refusal)

    async with websocket_server(refuse) as base:
        streamer = open_streamer(provider, base)
        with pytest.raises(ProviderFault) as caught:
            await open_and_close(streamer)
    assert (caught.value.fault, caught.value.permanent, caught.value.retry_after) == (
        fault,
        permanent,
        retry_after,
    )
    told = f"/api/v2/live answered {status} ({len(refusal)} bytes, error not_now)"
    assert told in str(caught.value)
    assert ("check the path of base_url" in str(caught.value)) is (status == 404)
    assert streamer.statistics() == OpenerStatistics(
        attempts=1, opened=0, failed=1, goodbyes_unanswered=0
    )


async def test_refused_handshakes_leave_no_sockets_behind(provider: ViriCiti) -> None:
    async def refuse(request: WebSocketRequest) -> None:
        await request.reject(401)

    async with websocket_server(refuse) as base:
        streamer = open_streamer(provider, base)
        before = len(psutil.Process().net_connections())
        gc.disable()  # it would find them, sooner or later
        try:
            for _ in range(10):
                with pytest.raises(ProviderFault):
                    await open_and_close(streamer)
            await trio.testing.wait_all_tasks_blocked(0.01)
            after = len(psutil.Process().net_connections())
        finally:
            gc.enable()
    assert after - before < 10


async def test_plain_text_behind_an_encrypted_address_fails_at_once(
    provider: ViriCiti,
) -> None:
    async def speak_plainly(stream: trio.SocketStream) -> None:
        await stream.receive_some(4096)
        await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await trio.sleep_forever()

    async with tcp_server(speak_plainly) as port:
        with trio.fail_after(5), pytest.raises(ProviderFault, match="SSL") as caught:
            await open_and_close(open_streamer(provider, f"https://127.0.0.1:{port}"))
    assert caught.value.fault is FaultClass.OUTAGE


async def test_nobody_listening_is_an_outage(provider: ViriCiti) -> None:
    async with http_server(lambda _: Reply()) as base:
        pass
    with pytest.raises(ProviderFault, match="refused") as caught:
        await open_and_close(open_streamer(provider, base))
    assert caught.value.fault is FaultClass.OUTAGE


@pytest.mark.parametrize(
    ("said", "fault", "says"),
    [
        (b"SSH-2.0-OpenSSH_9\r\n\r\n", FaultClass.PROTOCOL, "does not speak WebSocket"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", FaultClass.OUTAGE, "answered 200"),
        (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: tea\r\n\r\n",
            FaultClass.PROTOCOL,
            "does not speak WebSocket",
        ),
        *(
            (
                b"HTTP/1.1 101 Switching Protocols\r\n%b: Upgr\xe4de\r\n\r\n" % header,
                FaultClass.PROTOCOL,
                "does not speak WebSocket",
            )
            for header in (b"Connection", b"Sec-WebSocket-Extensions", b"Sec-WebSocket-Protocol")
        ),
    ],
)
async def test_a_server_that_does_not_shake_hands_has_its_fault(
    provider: ViriCiti, said: bytes, fault: FaultClass, says: str
) -> None:
    async def speak(stream: trio.SocketStream) -> None:
        await stream.receive_some(4096)
        await stream.send_all(said)
        await trio.sleep_forever()

    async with tcp_server(speak) as port:
        with pytest.raises(ProviderFault, match=says) as caught:
            await open_and_close(open_streamer(provider, f"http://127.0.0.1:{port}"))
    assert caught.value.fault is fault


@pytest.mark.parametrize(
    ("head", "fault", "retry_after"),
    [
        (b"401 Unauthorized\r\nConnection: close", FaultClass.CREDENTIALS, None),
        (b"429 Slow Down\r\nContent-Length: 99\r\nRetry-After: 4.5", FaultClass.QUOTA, 4.5),
        (b"503 Away\r\nTransfer-Encoding: chunked\r\nRetry-After: 9", FaultClass.OUTAGE, 9.0),
    ],
)
async def test_a_refusal_whose_body_is_cut_off_has_its_fault(
    provider: ViriCiti, head: bytes, fault: FaultClass, retry_after: float | None
) -> None:
    body = b'{"error":"not_now"}'
    sent = b"13\r\n" + body if b"chunked" in head else body

    async def refuse(stream: trio.SocketStream) -> None:
        await stream.receive_some(4096)
        await stream.send_all(b"HTTP/1.1 %b\r\n\r\n%b" % (head, sent))

    async with tcp_server(refuse) as port:
        with trio.fail_after(5), pytest.raises(ProviderFault) as caught:
            await open_and_close(
                open_streamer(provider, f"http://127.0.0.1:{port}", connect_timeout_seconds=30)
            )
    assert (caught.value.fault, caught.value.retry_after) == (fault, retry_after)
    assert f"answered {head[:3].decode()} (19 bytes, error not_now)" in str(caught.value)


async def test_a_server_that_says_nothing_is_an_outage_at_the_deadline(provider: ViriCiti) -> None:
    async def keep_silent(_: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with tcp_server(keep_silent) as port:
        with pytest.raises(ProviderFault, match=r"did not open the stream within 0\.1 s") as caught:
            await open_and_close(
                open_streamer(provider, f"http://127.0.0.1:{port}", connect_timeout_seconds=0.1)
            )
    assert caught.value.fault is FaultClass.OUTAGE


async def test_a_server_that_hangs_up_before_it_answers_is_an_outage(provider: ViriCiti) -> None:
    async def hang_up(stream: trio.SocketStream) -> None:
        await stream.receive_some(4096)

    async with tcp_server(hang_up) as port:
        with trio.fail_after(5), pytest.raises(ProviderFault, match="ended the conn") as caught:
            await open_and_close(
                open_streamer(provider, f"http://127.0.0.1:{port}", connect_timeout_seconds=30)
            )
    assert caught.value.fault is FaultClass.OUTAGE
