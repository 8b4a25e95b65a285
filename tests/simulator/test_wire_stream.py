"""The stream over sockets on loopback, with a consumer's client: trio-websocket."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream

from tests.simulator.conftest import HARBOUR_KEY, harbour, running
from tests.simulator.wire import ALL, client, hear, listening, parsed, shake_hands

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


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


async def test_latency_delays_answers_and_handshakes() -> None:
    async with running(harbour(faults="latency=0.15")) as simulator, client(simulator) as http:
        started = trio.current_time()
        await http.get("/api/v1/my/assets", headers={"x-api-key": HARBOUR_KEY})
        answered = trio.current_time()
        async with listening(simulator):
            accepted = trio.current_time()
    assert answered - started >= 0.15
    assert accepted - answered >= 0.15


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
