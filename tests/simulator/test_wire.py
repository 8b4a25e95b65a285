"""The HTTP interfaces over sockets on loopback, with a consumer's client: httpx."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
import trio

from simulator.config import RateLimit
from simulator.reporting import Reporting
from tests.simulator.conftest import HARBOUR_KEY, WESTGATE_TOKEN, harbour, running, westgate
from tests.simulator.wire import client, parsed, shake_hands

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


SILENT = Reporting(silent_after_seconds=0)
STATUSES = {
    "Authorization": f"Bearer {WESTGATE_TOKEN}",
    "Accept": "application/json; rfms=vehiclestatuses.v4.0",
}


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


async def test_a_body_waits_for_the_server_s_leave() -> None:
    async with running(harbour()) as simulator:
        raw = await trio.open_tcp_stream("127.0.0.1", simulator.port)
        head = "POST /api/v2/state HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n"
        head += f"x-api-key: {HARBOUR_KEY}\r\n"
        await raw.send_all(f"{head}Expect: 100-continue\r\n\r\n".encode())
        assert (await raw.receive_some(1000)).startswith(b"HTTP/1.1 100 Continue")
        await raw.send_all(b"{}")
        assert (await raw.receive_some(1000)).startswith(b"HTTP/1.1 200 OK")
        await raw.aclose()
