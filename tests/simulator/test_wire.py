"""The wire, over real sockets on loopback, with the clients that a consumer would use: trio-websocket and httpx."""

from __future__ import annotations

from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import orjson
import pytest
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream

from simulator.config import RateLimit
from simulator.reporting import Reporting
from tests.simulator.conftest import HARBOUR_KEY, WESTGATE_TOKEN, harbour, running, westgate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from simulator.server import Simulator

SILENT = Reporting(silent_after_seconds=0)
ALL = {
    "vehicles": {
        f"bus_{number:04d}": ["gps", "soc", "speed", "power", "odo"] for number in range(1, 4)
    }
}
STATUSES = {
    "Authorization": f"Bearer {WESTGATE_TOKEN}",
    "Accept": "application/json; rfms=vehiclestatuses.v4.0",
}


@asynccontextmanager
async def listening(
    simulator: Simulator,
    query: object = ALL,
    *,
    resource: str = f"/api/v2/live?apiKey={HARBOUR_KEY}",
) -> AsyncIterator[WebSocketConnection]:
    """A subscribed client.

    It closes its stream itself: trio-websocket leaves it open after a server's close.
    """
    stream = await trio.open_tcp_stream("127.0.0.1", simulator.port)
    try:
        async with trio.open_nursery() as nursery:
            connection = await wrap_client_stream(nursery, stream, "simulator", resource)
            await connection.send_message(
                query if isinstance(query, str) else orjson.dumps(query).decode()
            )
            yield connection
            with trio.move_on_after(1):
                await connection.aclose()
            nursery.cancel_scope.cancel()
    finally:
        await trio.aclose_forcefully(stream)


async def shake_hands(
    http: httpx.AsyncClient, key: str | None = None, path: str = "/api/v2/live"
) -> httpx.Response:
    """A handshake that is expected to be refused: the answer to it."""
    headers = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    headers["Sec-WebSocket-Key"] = "dGhlIHNhbXBsZSBub25jZQ=="
    return await http.get(path, headers=headers | ({"x-api-key": key} if key else {}))


async def hear(connection: WebSocketConnection) -> Any:
    return orjson.loads(await connection.get_message())


def client(simulator: Simulator) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=simulator.http_url, trust_env=False, timeout=5)


async def test_the_subscription_is_echoed_and_data_follows() -> None:
    async with running(harbour()) as simulator, listening(simulator) as connection:
        assert await hear(connection) == ALL
        heard = [await hear(connection) for _ in range(30)]
    assert {frame["type"] for frame in heard} == {"vehicles"}
    assert {frame["payload"]["vid"] for frame in heard} == set(ALL["vehicles"])
    assert {frame["payload"]["label"] for frame in heard} <= set(ALL["vehicles"]["bus_0001"])


async def test_data_waits_for_the_authorisation() -> None:
    async with running(harbour(delay=0.2)) as simulator, listening(simulator) as connection:
        assert await hear(connection) == ALL
        echoed_at = trio.current_time()
        await hear(connection)
        assert trio.current_time() - echoed_at > 0.1


@pytest.mark.parametrize("path", ["/api/v2/live", "/api/v2/live?apiKey=wrong"])
async def test_a_wrong_key_is_401_at_the_handshake(path: str) -> None:
    async with running(harbour()) as simulator, client(simulator) as http:
        answer = await shake_hands(http, path=path)
    assert (answer.status_code, answer.json()) == (
        401,
        {"statusCode": 401, "message": "invalid API key"},
    )


async def test_the_key_may_stand_in_the_header() -> None:
    async with running(harbour()) as simulator:
        stream = await trio.open_tcp_stream("127.0.0.1", simulator.port)
        async with trio.open_nursery() as nursery:
            key = [(b"X-Api-Key", HARBOUR_KEY.encode())]
            connection = await wrap_client_stream(
                nursery, stream, "simulator", "/api/v2/live", extra_headers=key
            )
            await connection.send_message("show acl")
            acl = await hear(connection)
            await connection.aclose()
        await trio.aclose_forcefully(stream)
    assert acl == {"type": "acl", "payload": {"vehicles": ["bus_0001", "bus_0002", "bus_0003"]}}


async def test_nonsense_gets_an_error_frame_and_the_connection_lives() -> None:
    async with running(harbour()) as simulator, listening(simulator, "{nonsense") as connection:
        assert (await hear(connection))["type"] == "error"
        await connection.send_message('{"vehicles": {"bus_9999": ["soc"]}}')
        heard = [await hear(connection), await hear(connection)]
    assert heard[0] == {"vehicles": {"bus_9999": ["soc"]}}
    assert heard[1] == {
        "type": "error",
        "payload": {"message": "not authorised", "vids": ["bus_9999"]},
    }


async def test_a_subscription_belongs_to_its_connection() -> None:
    async with running(harbour()) as simulator:
        async with listening(simulator) as connection:
            await hear(connection)
        async with listening(simulator, "show query") as connection:
            assert await hear(connection) == {}
            with trio.move_on_after(0.2) as silence:
                await hear(connection)
    assert silence.cancelled_caught


async def collect(connection: WebSocketConnection) -> list[str]:
    """Every frame behind the echo, until the server closes."""
    heard: list[str] = []
    try:
        while True:
            heard.append(str(await connection.get_message()))
    except ConnectionClosed:
        return heard[1:]


async def test_what_the_simulator_counts_is_what_a_client_received(
    until: Callable[..., Awaitable[None]],
) -> None:
    faults = "duplicates=0.1,out_of_order=0.05,malformed=0.05,non_object=0.05"
    heard: list[str] = []
    async with running(harbour(faults=faults)) as simulator, client(simulator) as http:
        async with listening(simulator) as connection, trio.open_nursery() as nursery:

            async def listen() -> None:
                heard.extend(await collect(connection))

            nursery.start_soon(listen)
            await until(lambda: simulator.statistics()["readings_sent"] > 100)
            assert (
                await http.post("/sim/disconnect", json={"tenant": "harbour"})
            ).status_code == 200
        counts = (await http.get("/sim/statistics")).json()["tenants"]["harbour"]
        last = (await http.get("/sim/last")).json()["harbour"]

    readings = [frame["payload"] for frame in map(parsed, heard) if isinstance(frame, dict)]
    sent = Counter(
        {(vid, label): n for vid, labels in counts["sent"].items() for label, n in labels.items()}
    )
    assert Counter((each["vid"], each["label"]) for each in readings) == sent
    assert len(heard) == sum(
        number for kind, number in counts["frames"].items() if kind != "control"
    )
    assert {kind for kind, number in counts["frames"].items() if number} >= {
        "duplicate",
        "malformed",
        "non_object",
    }
    for each in sorted(readings, key=lambda each: each["time"]):
        newest = last[each["vid"]][each["label"]]
        assert each["time"] <= newest["time"]
        if each["time"] == newest["time"]:
            assert each["value"] == newest["value"]


def parsed(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


@pytest.mark.parametrize(("abrupt", "code"), [(False, 1001), (True, 1006)])
async def test_a_stream_can_end_with_and_without_a_handshake(abrupt: bool, code: int) -> None:
    async with (
        running(harbour()) as simulator,
        client(simulator) as http,
        listening(simulator) as connection,
    ):
        await hear(connection)
        await http.post("/sim/disconnect", json={"abrupt": abrupt})
        await collect(connection)
        assert connection.closed is not None
        assert connection.closed.code == code


async def test_streams_are_closed_about_as_often_as_asked(
    until: Callable[..., Awaitable[None]],
) -> None:
    async with running(harbour(faults="disconnect_every=0.1,disconnect_abrupt=0")) as simulator:
        async with listening(simulator) as connection:
            await collect(connection)
        await until(lambda: simulator.connections[0].closed_at is not None)
        entry = simulator.connections[0]
    assert (entry.tenant, entry.ending) == ("harbour", "closed_by_fault")
    assert entry.closed_monotonic is not None
    assert 0.05 <= entry.closed_monotonic - entry.opened_monotonic < 2
    assert entry.frames > 0


async def test_the_state_has_the_last_value_of_each_label(
    until: Callable[..., Awaitable[None]],
) -> None:
    async with running(harbour()) as simulator, client(simulator) as http:
        live = simulator.provider_of("harbour").live
        await until(lambda: live.signals[0].known_ms > 0)
        simulator.provider_of("harbour").roster.change_reporting(
            "bus_0001", SILENT, simulator.elapsed()
        )
        known = {signal.label: signal.known_ms for signal in live.signals_of("bus_0001")}
        body = {"bus_0001": ["gps", "soc", "voltage"], "bus_9999": ["soc"]}
        answer = await http.post("/api/v2/state", json=body, headers={"x-api-key": HARBOUR_KEY})
    bus = live.roster.buses[0]
    expected = {
        label: {"time": known[label], "value": bus.readers[label](known[label] / 1000)}
        if known[label]
        else {}
        for label in ("gps", "soc")
    }
    assert answer.json() == {"bus_0001": expected}


async def test_the_assets_carry_the_operator_s_bus_numbers() -> None:
    async with running(harbour(2)) as simulator, client(simulator) as http:
        answer = await http.get("/api/v1/my/assets", params={"apiKey": HARBOUR_KEY})
    assert answer.json() == [
        {"vid": "bus_0001", "name": "1001"},
        {"vid": "bus_0002", "name": "1002"},
    ]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/api/v2/state", None, 405),
        ("HEAD", "/api/v2/state", None, 405),
        ("POST", "/api/v2/state", b"[]", 400),
        ("POST", "/api/v2/state", b"{", 400),
        ("GET", "/api/v9/else", None, 404),
        ("GET", "/api/v2/live", None, 404),
        ("GET", "/elsewhere", None, 404),
    ],
)
async def test_refusals_of_the_http_interface(
    method: str, path: str, body: bytes | None, status: int
) -> None:
    async with running(harbour()) as simulator, client(simulator) as http:
        answer = await http.request(method, path, content=body, headers={"x-api-key": HARBOUR_KEY})
        again = await http.get("/api/v1/my/assets", headers={"x-api-key": HARBOUR_KEY})
    assert (answer.status_code, again.status_code) == (status, 200)


async def test_rfms_pages_over_the_wire(until: Callable[..., Awaitable[None]]) -> None:
    async with (
        running(westgate(5, interval=0.2, page_size=2)) as simulator,
        client(simulator) as http,
    ):
        log = simulator.provider_of("westgate").fleet.log  # type: ignore[union-attr]
        await until(lambda: len(log.latest) == 5)
        link, vins = "/rfms/vehiclestatuses?latestOnly=true", []
        while link:
            body = (await http.get(link, headers=STATUSES)).raise_for_status().json()
            vins += [status["vin"] for status in body["vehicleStatusResponse"]["vehicleStatuses"]]
            link = body.get("moreDataAvailableLink", "")
        counts = simulator.statistics()["tenants"]["westgate"]
    assert vins == sorted(log.roster.vehicles)
    assert counts["sent"] == dict.fromkeys(vins, 1)
    assert counts["requests"] == {"GET /rfms/vehiclestatuses 200": 3}


@pytest.mark.parametrize(
    ("headers", "status", "error"),
    [
        ({}, 400, "NoBearerToken"),
        ({"Authorization": "Bearer wrong"}, 401, "InvalidAccessToken"),
        (
            {"Authorization": f"Bearer {WESTGATE_TOKEN}", "Accept": "application/json"},
            406,
            "UnsupportedAcceptParameter",
        ),
    ],
)
async def test_rfms_refusals_over_the_wire(
    headers: dict[str, str], status: int, error: str
) -> None:
    async with running(westgate()) as simulator, client(simulator) as http:
        answer = await http.get("/rfms/vehiclestatuses?latestOnly=true", headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert ("WWW-Authenticate" in answer.headers) == (status == 401)


async def test_the_rate_limit_is_announced_and_kept() -> None:
    async with (
        running(westgate(rate_limit=RateLimit(calls=1))) as simulator,
        client(simulator) as http,
    ):
        answers = [
            await http.get("/rfms/vehiclestatuses?latestOnly=true", headers=STATUSES)
            for _ in range(2)
        ]
    assert [answer.status_code for answer in answers] == [200, 429]
    assert [answer.headers["X-Rate-Limit-Remaining"] for answer in answers] == ["0", "0"]


async def test_a_tenant_sees_its_own_fleet_only() -> None:
    async with running(harbour(2), westgate(2)) as simulator, client(simulator) as http:
        with_token = await http.get("/api/v1/my/assets", headers={"x-api-key": WESTGATE_TOKEN})
        with_key = await http.get(
            "/rfms/vehicles", headers={"Authorization": f"Bearer {HARBOUR_KEY}"}
        )
    assert (with_token.status_code, with_key.status_code) == (401, 401)


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
async def test_injected_refusals_of_the_stream_provider(status: int) -> None:
    async with (
        running(harbour(faults=f"http_{status}=1,retry_after=7")) as simulator,
        client(simulator) as http,
    ):
        answer = await http.get("/api/v1/my/assets", headers={"x-api-key": HARBOUR_KEY})
        handshake = await shake_hands(http, HARBOUR_KEY)
    assert (answer.status_code, handshake.status_code) == (status, status)
    assert answer.headers.get("Retry-After") == ("7" if status in (429, 503) else None)


async def test_injected_refusals_of_rfms_say_when_the_window_resets() -> None:
    async with (
        running(westgate(faults="http_429=1,retry_after=7")) as simulator,
        client(simulator) as http,
    ):
        answer = await http.get("/rfms/vehiclestatuses?latestOnly=true", headers=STATUSES)
        reset = float(answer.headers["X-Rate-Limit-Reset"]) - simulator.statistics()["started_at"]
    assert answer.status_code == 429
    assert 7 < reset < 7 + 5
    assert "Retry-After" not in answer.headers


@pytest.mark.parametrize("faults", ["malformed=1", "non_object=1"])
async def test_rfms_answers_can_be_spoilt_as_a_whole(faults: str) -> None:
    async with running(westgate(faults=faults)) as simulator, client(simulator) as http:
        answer = await http.get("/rfms/vehiclestatuses?latestOnly=true", headers=STATUSES)
        assert simulator.statistics()["tenants"]["westgate"]["faults_injected"].popitem()[1] == 1
    assert answer.status_code == 200
    assert not isinstance(parsed(answer.text), dict)


async def test_an_answer_can_be_dropped() -> None:
    async with running(harbour(faults="http_drop=1")) as simulator, client(simulator) as http:
        with pytest.raises(httpx.RemoteProtocolError):
            await http.get("/api/v1/my/assets", headers={"x-api-key": HARBOUR_KEY})


async def test_latency_delays_answers_and_handshakes() -> None:
    async with running(harbour(faults="latency=0.15")) as simulator, client(simulator) as http:
        started = trio.current_time()
        await http.get("/api/v1/my/assets", headers={"x-api-key": HARBOUR_KEY})
        answered = trio.current_time()
        async with listening(simulator):
            accepted = trio.current_time()
    assert answered - started >= 0.15
    assert accepted - answered >= 0.15


async def test_a_client_that_breaks_off_in_the_middle_harms_nobody(
    until: Callable[..., Awaitable[None]],
) -> None:
    async with running(harbour()) as simulator, client(simulator) as http:
        for start in (
            b"",
            b"GET /api/v1/my/ass",
            b"\x16\x03\x01 not http\r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Le",
        ):
            raw = await trio.open_tcp_stream("127.0.0.1", simulator.port)
            await raw.send_all(start)
            await raw.aclose()
        answer = await http.get("/api/v1/my/assets", headers={"x-api-key": HARBOUR_KEY})
    assert answer.status_code == 200


async def test_a_handshake_without_a_key_is_400() -> None:
    async with running(harbour()) as simulator:
        raw = await trio.open_tcp_stream("127.0.0.1", simulator.port)
        request = (
            f"GET /api/v2/live?apiKey={HARBOUR_KEY} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
        )
        await raw.send_all(f"{request}Connection: Upgrade\r\n\r\n".encode())
        head = await raw.receive_some(1000)
        await raw.aclose()
    assert head.startswith(b"HTTP/1.1 400 Bad Request")


async def test_a_body_waits_for_the_server_s_leave() -> None:
    async with running(harbour()) as simulator:
        raw = await trio.open_tcp_stream("127.0.0.1", simulator.port)
        head = f"POST /api/v2/state HTTP/1.1\r\nHost: x\r\nx-api-key: {HARBOUR_KEY}\r\nContent-Length: 2\r\n"
        await raw.send_all(f"{head}Expect: 100-continue\r\n\r\n".encode())
        assert (await raw.receive_some(1000)).startswith(b"HTTP/1.1 100 Continue")
        await raw.send_all(b"{}")
        assert (await raw.receive_some(1000)).startswith(b"HTTP/1.1 200 OK")
        await raw.aclose()
