"""The control interface over real sockets: reading the counts, changing the faults."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from simulator.control import read_reporting
from simulator.faults import FaultsInvalid
from simulator.frames import FrameKind
from simulator.reporting import Reporting
from tests.simulator.conftest import harbour, running, westgate
from tests.simulator.wire import client, hear, listening

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


async def test_faults_change_while_it_runs(until: Callable[..., Awaitable[None]]) -> None:
    async with (
        running(harbour(), westgate()) as simulator,
        client(simulator) as http,
        listening(simulator) as heard,
    ):
        await hear(heard)
        answer = await http.post(
            "/sim/faults", json={"tenant": "harbour", "faults": "duplicates=1"}
        )
        written = simulator.provider_of("harbour").live.written
        await until(lambda: written[FrameKind.DUPLICATE] > 10)
        assert [each["tenant"] for each in answer.json()] == ["harbour"]
        assert answer.json()[0]["faults"]["duplicates"] == 1
        assert simulator.provider_of("westgate").roster.faults.duplicates == 0


async def test_a_vehicle_falls_silent_on_demand(until: Callable[..., Awaitable[None]]) -> None:
    async with running(harbour()) as simulator, client(simulator) as http:
        live = simulator.provider_of("harbour").live
        await until(lambda: all(signal.known_ms for signal in live.signals))
        order = {"tenant": "harbour", "reporting": {"bus_0001": {"silent_after_seconds": 0}}}
        assert (await http.post("/sim/faults", json=order)).status_code == 200
        silent, other = live.signals_of("bus_0001")[0], live.signals_of("bus_0002")[0]
        heard_until, then = silent.known_ms, other.known_ms
        await until(lambda: other.known_ms > then + 300)
        assert silent.known_ms == heard_until


@pytest.mark.parametrize(
    ("order", "complaint"),
    [
        ({"tenant": "nowhere", "faults": ""}, "no tenant 'nowhere'"),
        ({"faults": "gremlins=1"}, "unknown fault 'gremlins'"),
        (
            {"reporting": {"bus_9999": {"never": True}}},
            "tenant harbour has no vehicle ['bus_9999']",
        ),
        (
            {"reporting": {"bus_0001": {"asleep": True}}},
            "unknown reporting ['asleep']; allowed: never",
        ),
        ([], "no attribute"),
    ],
)
async def test_a_wrong_order_changes_nothing_and_is_explained(order: Any, complaint: str) -> None:
    async with running(harbour()) as simulator, client(simulator) as http:
        before = simulator.provider_of("harbour").roster.faults
        answer = await http.post("/sim/faults", json=order)
        assert simulator.provider_of("harbour").roster.faults is before
    assert answer.status_code == 400
    assert complaint in answer.json()["error"]


async def test_an_unknown_control_is_404() -> None:
    async with running(harbour()) as simulator, client(simulator) as http:
        assert (await http.get("/sim/else")).status_code == 404


async def test_brief_statistics_leave_the_vehicles_out() -> None:
    async with running(harbour(), westgate()) as simulator, client(simulator) as http:
        brief = (await http.get("/sim/statistics", params={"brief": "true"})).json()
        full = (await http.get("/sim/statistics")).json()
    assert "sent" not in brief["tenants"]["harbour"]
    assert full["tenants"]["harbour"]["sent"] == {}
    assert {name: counts["provider"] for name, counts in full["tenants"].items()} == {
        "harbour": "viriciti",
        "westgate": "rfms",
    }


async def test_the_log_of_connections_is_served(until: Callable[..., Awaitable[None]]) -> None:
    async with running(harbour()) as simulator, client(simulator) as http:
        async with listening(simulator) as connection:
            await hear(connection)
            open_ones = (await http.get("/sim/connections")).json()
        await until(lambda: simulator.connections[0].closed_at is not None)
        closed = (await http.get("/sim/connections")).json()
    assert [each["closed_at"] for each in open_ones] == [None]
    assert [(each["tenant"], each["number"], each["ending"]) for each in closed] == [
        ("harbour", 1, "client_closed")
    ]
    assert closed[0]["opened_at"] <= closed[0]["closed_at"]


def test_manners_are_read_by_name() -> None:
    wanted = {"every_seconds": 5, "stopped_labels": {"soc": 3.0}}
    assert read_reporting(wanted) == Reporting(every_seconds=5, stopped_labels=(("soc", 3.0),))
    with pytest.raises(FaultsInvalid):
        read_reporting({"asleep": True})
