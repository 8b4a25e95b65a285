"""Trouble of one connection never reaches another."""

from __future__ import annotations

import io
import struct
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
import trio
from h2.connection import H2Connection
from h2.events import DataReceived, StreamEnded, StreamReset
from quart_trio import QuartTrio

from api.connection import Connection
from api.frame import FrameLimits
from api.server import ServerLimits, serve_http
from runtime.logs import configure_logging
from tests.api.serving import PATIENCE_SECONDS, UPGRADE, read_to_end, served

if TYPE_CHECKING:
    from h2.events import Event

    from tests.api.serving import Served

MASKED_TEXT = b"\x81\x81\x00\x00\x00\x00a"


async def test_the_started_value_is_the_port_the_system_chose() -> None:
    async with served() as http:
        assert http.port > 0
        assert await http.is_alive()


async def test_stray_bytes_after_an_upgrade_end_that_connection_only() -> None:
    async with served(server=ServerLimits(keep_alive_seconds=0.2)) as http:
        assert (await http.exchange(UPGRADE + b"x\r\n")).startswith(b"HTTP/1.1 400 ")
        assert await http.is_alive()
        assert http.traffic.contained_failures == 0


async def test_a_frame_after_a_refused_upgrade_ends_its_connection() -> None:
    async with served(server=ServerLimits(keep_alive_seconds=0.2)) as http:
        async with await http.connect() as stream:
            await stream.send_all(UPGRADE.replace(b"/ws", b"/ws-refused"))
            assert b" 400 " in await stream.receive_some(4096)
            await stream.send_all(MASKED_TEXT)
            await read_to_end(stream)
        assert await http.is_alive()
        assert http.traffic.contained_failures == 0


async def test_a_request_to_upgrade_is_served_as_a_plain_request() -> None:
    for protocol in (b"websocket", b"h2c"):
        upgrade = UPGRADE.replace(b"/ws", b"/ok").replace(b"websocket", protocol, 1)
        async with served() as http, await http.connect() as stream:
            await stream.send_all(upgrade)
            assert (await stream.receive_some(4096)).startswith(b"HTTP/1.1 200 ")


async def test_over_h2_no_websocket_can_begin() -> None:
    client = H2Connection()
    client.initiate_connection()
    client.send_headers(1, [(":method", "CONNECT"), (":authority", "a")])
    async with served() as http, await http.connect() as stream:
        await _wait_for_event(client, stream, StreamReset)
        assert client.remote_settings.enable_connect_protocol == 0
        assert await http.is_alive()


async def _wait_for_event(
    client: H2Connection, stream: trio.SocketStream, wanted: type[Event]
) -> None:
    with trio.fail_after(PATIENCE_SECONDS):
        while True:
            await stream.send_all(client.data_to_send())
            if any(
                isinstance(event, wanted)
                for event in client.receive_data(await stream.receive_some(65536))
            ):
                return


async def test_failing_connections_are_counted_and_logged_by_minute() -> None:
    written = io.StringIO()
    configure_logging(format="json", stream=written)
    async with served(frame=FrameLimits(drain_seconds=0.01)) as http:
        for _ in range(20):
            await _send_a_body_after_the_answer(http)
        await http.wait_for_count("contained_failures", 20)
    lines = [line for line in written.getvalue().splitlines() if "http_connection_failed" in line]
    assert len(lines) == 1


async def _send_a_body_after_the_answer(http: Served) -> None:
    """Send a body over h2 to a stream that has ended. Hypercorn's code fails on it."""
    client = H2Connection()
    client.initiate_connection()
    client.send_headers(
        1, [(":method", "POST"), (":path", "/ok"), (":scheme", "http"), (":authority", "a")]
    )
    async with await http.connect() as stream:
        await _wait_for_event(client, stream, StreamEnded)
        client.send_data(1, b"x")
        await stream.send_all(client.data_to_send())
        with trio.fail_after(PATIENCE_SECONDS), suppress(trio.BrokenResourceError):
            while await stream.receive_some(65536):
                pass


async def test_a_client_that_stops_reading_is_cut_off_in_time() -> None:
    async with served(server=ServerLimits(write_seconds=0.2)) as http:
        async with await http.connect() as stream:
            await stream.send_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
            await http.wait_for_count("write_timeouts", 1)
            await http.wait_for_count("connections_open", 0)
        assert await http.is_alive()


async def test_a_client_that_stops_reading_does_not_hold_the_shutdown() -> None:
    limits = ServerLimits(write_seconds=0.3)
    async with served(server=limits, graceful_seconds=0.2) as http, await http.connect() as stream:
        await stream.send_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
        await stream.receive_some(1)
        http.stop.set()
        started = trio.current_time()
        with trio.fail_after(PATIENCE_SECONDS):
            await http.ended.wait()
        assert trio.current_time() - started < 0.2 + 0.3 + 1.0  # and a second for a busy machine


async def test_at_the_stop_a_request_in_flight_is_told_of_its_end() -> None:
    async with served(graceful_seconds=0.1) as http, await http.connect() as stream:
        await stream.send_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        await http.slow_started.wait()
        http.stop.set()
        answer = await read_to_end(stream)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"urn:lastheard:problem:ending" in answer
        assert http.slow_cancelled.is_set()


async def test_at_the_stop_an_idle_connection_closes_at_once() -> None:
    async with served(graceful_seconds=60.0) as http, await http.connect() as stream:
        await stream.send_all(b"GET /ok HTTP/1.1\r\nHost: a\r\n\r\n")
        await stream.receive_some(4096)
        http.stop.set()
        with trio.fail_after(PATIENCE_SECONDS):
            await http.ended.wait()


async def test_a_connection_that_begins_after_the_stop_ends_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It was accepted just before."""
    run = Connection.run

    async def run_after_stop(connection: Connection) -> None:
        http.stop.set()
        await connection.context.terminated.wait()
        await run(connection)

    monkeypatch.setattr(Connection, "run", run_after_stop)
    async with served(graceful_seconds=60.0) as http, await http.connect():
        with trio.fail_after(PATIENCE_SECONDS):
            await http.ended.wait()


async def test_at_the_stop_an_h2_connection_closes_after_its_answer() -> None:
    client = H2Connection()
    client.initiate_connection()
    target = [(":method", "GET"), (":path", "/stream"), (":scheme", "http"), (":authority", "a")]
    client.send_headers(1, target, end_stream=True)
    async with served(graceful_seconds=60.0) as http, await http.connect() as stream:
        await _wait_for_event(client, stream, DataReceived)
        http.stop.set()
        await _wait_for_event(client, stream, StreamEnded)
        with trio.fail_after(PATIENCE_SECONDS):
            await http.ended.wait()


async def test_a_short_answer_is_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bytes] = []
    send_all = trio.SocketStream.send_all

    async def note(stream: trio.SocketStream, data: bytes) -> None:
        written.append(bytes(data))
        await send_all(stream, data)

    request = b"GET /ok HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    async with served() as http, await http.connect() as stream:
        await stream.send_all(request)
        monkeypatch.setattr(trio.SocketStream, "send_all", note)
        assert await read_to_end(stream) == b"".join(written)
    assert len(written) == 1


async def test_the_head_of_a_stream_does_not_wait_for_its_first_piece() -> None:
    async with served() as http, await http.connect() as stream:
        await stream.send_all(b"GET /silent HTTP/1.1\r\nHost: a\r\n\r\n")
        with trio.fail_after(PATIENCE_SECONDS):
            assert (await stream.receive_some(4096)).startswith(b"HTTP/1.1 200 ")


async def test_a_client_that_asks_to_close_sees_the_connection_closed() -> None:
    async with served(server=ServerLimits(keep_alive_seconds=60.0)) as http:
        answer = await http.exchange(b"GET /ok HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert answer.endswith(b'{"ok":true}')


async def test_a_connection_is_closed_after_its_idle_time() -> None:
    async with served(server=ServerLimits(keep_alive_seconds=0.1)) as http:
        assert (await http.exchange(b"GET /ok HTTP/1.1\r\nHost: a\r\n\r\n")).endswith(
            b'{"ok":true}'
        )


async def test_a_client_that_disconnects_frees_its_place_at_once() -> None:
    async with served(server=ServerLimits(keep_alive_seconds=60.0)) as http:
        await (await http.connect()).aclose()
        await http.wait_for_count("connections_open", 0)


async def test_many_requests_and_no_reading_do_not_keep_a_place() -> None:
    async with served() as http:
        async with await http.connect() as stream:
            await stream.send_all(b"GET /ok HTTP/1.1\r\nHost: a\r\n\r\n" * 50)
            stream.setsockopt(
                trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
        await http.wait_for_count("connections_open", 0)


async def test_after_the_stop_nobody_listens_any_more() -> None:
    async with served() as http:
        http.stop.set()
        with trio.fail_after(PATIENCE_SECONDS):
            await http.ended.wait()
        with pytest.raises(OSError, match="all attempts to connect"):
            await http.connect()


async def test_cancelling_the_server_ends_it_without_grace() -> None:
    with trio.fail_after(PATIENCE_SECONDS), trio.CancelScope() as scope:
        async with served(graceful_seconds=60.0) as http, await http.connect() as stream:
            await stream.send_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
            await http.slow_started.wait()
            scope.cancel()
            await trio.sleep_forever()
    assert http.slow_cancelled.is_set()


async def test_headers_that_trickle_in_have_the_idle_time_at_most() -> None:
    async with (
        served(server=ServerLimits(keep_alive_seconds=0.3)) as http,
        await http.connect() as stream,
    ):
        with pytest.raises((trio.BrokenResourceError, trio.ClosedResourceError)):
            await _send_slowly(stream, b"GET /ok HTTP/1.1\r\nX: " + b"y" * 1000)


async def _send_slowly(stream: trio.SocketStream, data: bytes) -> None:
    with trio.fail_after(PATIENCE_SECONDS):
        for byte in data:
            await stream.send_all(bytes([byte]))
            await trio.sleep(0.02)  # on the real clock: the pace of the sender is what is tested


async def test_at_the_limit_the_longest_waiting_connection_is_closed() -> None:
    async with served(server=ServerLimits(max_connections=2)) as http:
        first, second = await http.connect(), await http.connect()
        async with first, second:
            await http.wait_for_count("connections_open", 2)
            await second.send_all(b"GET /ok HTT")  # half of a head is no request
            assert await http.is_alive()
            assert await read_to_end(first) == b""
            assert (http.traffic.connections_evicted, http.traffic.connections_refused) == (1, 0)
            await second.send_all(b"P/1.1\r\nHost: a\r\n\r\n")
            assert (await second.receive_some(4096)).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("rounds", range(16))
async def test_a_connection_may_be_closed_at_any_instant(rounds: int) -> None:
    """It is closed some rounds of the loop after bytes arrived: waiting, reading or answering."""
    async with served() as http, await http.connect() as stream:
        await http.wait_for_count("connections_open", 1)
        await stream.send_all(b"GET /ok HTTP/1.1\r\nHost: a\r\n\r\nGET /slow HT")
        for _ in range(rounds):
            await trio.lowlevel.checkpoint()
        assert http.table.make_room()
        assert await http.is_alive()
        await http.wait_for_count("connections_open", 0)
        assert http.traffic.contained_failures == 0


async def test_connections_closed_for_others_cost_nobody_else_anything() -> None:
    """This holds for connections just accepted, and for those that read or answer just then."""

    async def ask_much(http: Served) -> None:
        with suppress(OSError, trio.BrokenResourceError):
            async with await http.connect() as stream:
                for _ in range(5):
                    await stream.send_all(b"GET /ok HTTP/1.1\r\nHost: a\r\n\r\n" * 5)
                    await stream.receive_some(100)

    async with served(server=ServerLimits(max_connections=3)) as http:
        async with trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(ask_much, http)
        assert await http.is_alive()
        await http.wait_for_count("connections_open", 0)
        assert http.traffic.connections_evicted > 10
        assert http.traffic.contained_failures == 0


async def test_an_address_at_its_limit_is_refused_then_closes_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with (
        served(server=ServerLimits(max_connections_per_address=1)) as http,
        await http.connect() as first,
    ):
        await http.wait_for_count("connections_open", 1)
        assert await http.exchange() == b""
        assert http.traffic.connections_refused_of_address == 1
        monkeypatch.setattr("api.connection_table.YOUNG_SECONDS", 0.0)
        assert await http.is_alive()
        assert await read_to_end(first) == b""


async def test_a_client_that_disconnects_cancels_its_handler() -> None:
    async with served() as http:
        async with await http.connect() as stream:
            await stream.send_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
            await http.slow_started.wait()
        with trio.fail_after(PATIENCE_SECONDS):
            await http.slow_cancelled.wait()
        await http.wait_for_count("in_flight", 0)


async def test_the_server_does_not_say_what_it_runs_on() -> None:
    async with served() as http:
        answer = await http.exchange(b"GET /ok HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert b"server:" not in answer.lower()
    assert b"hypercorn" not in answer.lower()


async def test_an_app_with_functions_that_would_never_run_is_refused() -> None:
    app = QuartTrio(__name__)

    @app.before_serving
    async def start_something() -> None: ...

    with pytest.raises(RuntimeError, match="belongs to an actor"):
        await serve_http(app, host="127.0.0.1", port=0, stop=trio.Event(), graceful_seconds=1)


async def test_an_address_in_use_is_an_os_error() -> None:
    async with served() as http:
        with pytest.raises(OSError, match="in use"):
            await serve_http(
                QuartTrio(__name__),
                host="127.0.0.1",
                port=http.port,
                stop=trio.Event(),
                graceful_seconds=1,
            )
