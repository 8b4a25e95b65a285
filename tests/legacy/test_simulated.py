"""The simulator's legacy system, read through the shape in docs/cutover.md, gives the fleet."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import orjson
import pytest
import trio

from domain.parity import within_tolerance
from lastheard.legacy_http import LegacyHttp
from lastheard.simulation import run_simulator
from legacy.client import LegacyClient
from legacy.shape import parse_shape
from legacy.units import FACTORS
from ports.legacy import LegacyConfiguration, LegacyDevice, LegacyUnreachable
from providers.http import HttpPool
from simulator.config import SimulatorConfig, Tenant
from simulator.legacy_faults import LegacyFaults
from simulator.legacy_shape import SHAPE as SIMULATED_SHAPE
from simulator.server import Simulator, serve
from tests.providers.servers import loopback_dialler
from tests.simulator.conftest import harbour, westgate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from ports.legacy import LegacyValues
    from simulator.fleet import Bus

DOCUMENT = (Path(__file__).parents[2] / "docs/cutover.md").read_text(encoding="utf-8")
SHAPE, ANSWER = (orjson.loads(one) for one in re.findall(r"```json\n(.*?)```", DOCUMENT, re.DOTALL))
STREAM_SIGNALS = {"soc_percent", "odometer_km", "speed_kmh", "power_kw", "position"}
RFMS_SIGNALS = {"soc_percent", "odometer_km", "speed_kmh", "position", "charging"}
# What each signal truly is, by the simulated bus and the instant.
TRUTH: dict[str, Callable[[Bus, float], Any]] = {
    "soc_percent": lambda bus, at: bus.soc(at),
    "odometer_km": lambda bus, at: bus.odo_km(at),
    "speed_kmh": lambda bus, at: bus.speed_kmh(at),
    "power_kw": lambda bus, at: bus.power_kw(at),
    "position": lambda bus, at: bus.position(at),
    "charging": lambda bus, at: bus.power_kw(at) < 0,
}


class Running(NamedTuple):
    simulator: Simulator
    client: LegacyClient
    configuration: LegacyConfiguration

    async def values(self, fleet: str) -> LegacyValues:
        return await self.client.load_values(fleet, self.configuration)

    async def wait_for_values(self, fleet: str, signals: int = 1) -> LegacyValues:
        """Wait until every device has so many values."""
        while True:
            values = await self.values(fleet)
            if all(len(view.values) >= signals for view in values.views.values()):
                return values
            await trio.sleep(0.05)

    async def order(self, **order: str) -> httpx.Response:
        async with httpx.AsyncClient(base_url=self.simulator.http_url, trust_env=False) as http:
            return await http.post("/sim/legacy", json=order)


@asynccontextmanager
async def running(*tenants: Tenant, faults: LegacyFaults | None = None) -> AsyncIterator[Running]:
    config = SimulatorConfig(tenants=tenants, seed=7, legacy=faults or LegacyFaults())
    with trio.fail_after(60):
        async with HttpPool(loopback_dialler()) as pool, trio.open_nursery() as nursery:
            simulator: Simulator = await nursery.start(partial(serve, config))
            legacy = simulator.legacy
            assert legacy is not None

            async def resolve(_: str) -> str:
                return legacy.token

            async with LegacyClient(LegacyHttp(pool), resolve, deadline_seconds=20) as client:
                reference = "env:LASTHEARD_SECRET_OLD"
                yield Running(
                    simulator, client, LegacyConfiguration(simulator.http_url, reference, SHAPE)
                )
            nursery.cancel_scope.cancel()


def test_the_document_shows_the_shape_that_the_demo_configures() -> None:
    assert SHAPE == SIMULATED_SHAPE


def test_the_documented_shape_reads_the_documented_answer() -> None:
    assert parse_shape(SHAPE).values.items.text == "data.state"
    assert [one["id"] for one in ANSWER["data"]["state"]] == ["bus_0001", "bus_0002"]


def test_the_document_names_every_unit() -> None:
    table = DOCUMENT.partition("### Units")[2].partition("###")[0]
    for unit, others in FACTORS.items():
        assert [one for one in (unit, *others) if not re.search(rf"\b{one}\b|{one}", table)] == []


async def test_the_registry_is_the_simulated_fleet() -> None:
    async with running(harbour(3), westgate(2)) as run:
        stream = await run.client.load_registry("harbour", run.configuration)
        rfms = await run.client.load_registry("westgate", run.configuration)
    vins = [one.vehicle_id for one in run.simulator.config.tenants[1].vehicles]
    assert stream.devices == tuple(
        LegacyDevice(f"bus_000{n}", "viriciti", f"bus_000{n}", f"vehicle-bus_000{n}", str(1000 + n))
        for n in (1, 2, 3)
    )
    assert [(one.external_id, one.provider_id) for one in rfms.devices] == [
        (vin, "rfms") for vin in vins
    ]
    assert (stream.unfit, rfms.unfit) == ((), ())


@pytest.mark.parametrize(
    ("fleet", "tenant", "signals"),
    [
        ("harbour", harbour(3), STREAM_SIGNALS),
        ("westgate", westgate(3, interval=0.5), RFMS_SIGNALS),
    ],
)
async def test_values_are_those_of_the_simulated_vehicles(
    fleet: str, tenant: Tenant, signals: set[str]
) -> None:
    async with running(tenant) as run:
        values = await run.wait_for_values(fleet, len(signals))
        buses = {bus.spec.vehicle_id: bus for bus in run.simulator.provider_of(fleet).roster.buses}
    assert (set(values.views), values.unfit) == (set(buses), ())
    for device_id, view in values.views.items():
        assert set(view.values) == signals
        assert view.received_at is not None
        for signal, shown in view.values.items():
            assert shown.observed_at is not None
            truth = TRUTH[signal](buses[device_id], shown.observed_at.timestamp())
            assert within_tolerance(signal, shown.value, truth), (signal, shown, truth)
            assert (view.received_at - shown.observed_at).total_seconds() < 5


async def test_a_fleet_of_several_pages_is_complete() -> None:
    async with running(harbour(1100, rate=0.1)) as run:
        registry = await run.client.load_registry("harbour", run.configuration)
        values = await run.values("harbour")
    assert len({device.device_id for device in registry.devices}) == 1100
    assert len(values.views) == 1100


async def test_losses_and_wrong_values_hit_their_share() -> None:
    faults = LegacyFaults(losses=0.25, wrong=0.5)
    async with running(harbour(8), faults=faults) as run:
        while True:  # until all but the lost ones have reported
            values = await run.values("harbour")
            heard = {name: view for name, view in values.views.items() if view.values}
            if len(heard) == 6 and all(len(view.values) == 5 for view in heard.values()):
                break
            await trio.sleep(0.05)
        buses = {
            bus.spec.vehicle_id: bus for bus in run.simulator.provider_of("harbour").roster.buses
        }
    wrong = set()
    for device_id, view in heard.items():
        shown = view.values["odometer_km"]
        assert shown.observed_at is not None
        truth = TRUTH["odometer_km"](buses[device_id], shown.observed_at.timestamp())
        if not within_tolerance("odometer_km", shown.value, truth):
            wrong.add(device_id)
    assert 2 <= len(wrong) <= 4  # four of eight, some of which may be lost
    assert all(view.received_at is None for name, view in values.views.items() if name not in heard)


async def test_a_lag_makes_values_late() -> None:
    async with running(harbour(2), faults=LegacyFaults(lag=3)) as run:
        values = await run.wait_for_values("harbour", 5)
    for view in values.views.values():
        assert view.observed_at is not None
        assert (values.answered_at - view.observed_at).total_seconds() >= 3


async def test_an_outage_begins_and_ends_on_demand() -> None:
    async with running(harbour(2), westgate(2)) as run:
        assert (await run.order(tenant="harbour", faults="outage=1")).status_code == 200
        with pytest.raises(LegacyUnreachable, match="answered 503"):
            await run.values("harbour")
        assert len((await run.values("westgate")).views) == 2
        answer = await run.order(faults="")
        assert len((await run.values("harbour")).views) == 2
    assert answer.json()["harbour"]["requests"] == {"state": 1}


@pytest.mark.parametrize(
    ("registry", "counts"), [("empty", [0, 0]), ("halved", [2, 2]), ("flapping", [4, 2, 4, 2])]
)
async def test_the_registry_leaves_out_on_demand(registry: str, counts: list[int]) -> None:
    async with running(harbour(4)) as run:
        await run.order(faults=f"registry={registry}")
        for count in counts:
            answer = await run.client.load_registry("harbour", run.configuration)
            assert len(answer.devices) == count


@pytest.mark.parametrize(
    ("order", "complaint"),
    [
        ({"faults": "lga=1"}, "unknown fault 'lga' of the legacy system. Allowed: lag"),
        ({"faults": "lag=-1"}, "lag=-1: a number from 0 to 900"),
        ({"faults": "losses=nan"}, "losses=nan: a number from 0 to 1"),
        ({"faults": "losses=some"}, "losses='some': use a number"),
        ({"faults": "registry=gone"}, "registry='gone': use whole, empty, halved, flapping"),
        ({"faults": "", "tenant": "nowhere"}, "no tenant 'nowhere'"),
        ({}, "faults"),
    ],
)
async def test_a_wrong_order_is_explained(order: dict[str, str], complaint: str) -> None:
    async with running(harbour(1)) as run:
        answer = await run.order(**order)
    assert answer.status_code == 400
    assert complaint in answer.json()["error"]


async def test_a_stranger_is_turned_away() -> None:
    async with running(harbour(1)) as run, httpx.AsyncClient(trust_env=False) as http:
        assert run.simulator.legacy is not None
        token = {"X-Legacy-Token": run.simulator.legacy.token}
        base = f"{run.simulator.http_url}/legacy"
        statuses = [
            (await http.get(f"{base}/harbour/state")).status_code,
            (await http.get(f"{base}/nowhere/state", headers=token)).status_code,
            (await http.get(f"{base}/harbour/else", headers=token)).status_code,
            (await http.get(f"{base}/harbour/state?page=x", headers=token)).status_code,
            (await http.post(f"{base}/harbour/state", headers=token)).status_code,
        ]
    assert statuses == [401, 404, 404, 400, 405]


@pytest.mark.processes
async def test_a_child_process_tells_the_credential() -> None:
    """The demo and the tests of the cutover start it so."""
    with trio.fail_after(60):
        async with run_simulator("--devices", "2", "--legacy") as simulated:
            assert simulated.legacy_credential is not None
            assert simulated.legacy_credential.startswith("legacy-")
