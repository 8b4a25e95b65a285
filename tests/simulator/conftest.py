"""The fleets of these tests, harbour on the stream and westgate on rFMS, and their simulators."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio

from simulator.config import SimulatorConfig, Tenant, Vendor
from simulator.faults import parse_faults
from simulator.fleet import VehicleSpec, make_vin
from simulator.server import Simulator, serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

NOON = 1_780_000_000.0  # an instant inside the odometers' range
HARBOUR_KEY = "0d5c0f0e-key-of-the-harbour"
WESTGATE_TOKEN = "token-of-westgate"
DEADLINE_SECONDS = 10.0


def harbour(count: int = 3, *, rate: float = 50.0, faults: str = "", delay: float = 0.0) -> Tenant:
    """A fleet on the stream that speaks often enough for a test to hear it at once."""
    return Tenant(
        name="harbour",
        vendor=Vendor.VIRICITI,
        credential=HARBOUR_KEY,
        vehicles=tuple(
            VehicleSpec(f"bus_{number:04d}", str(1000 + number), rate=rate)
            for number in range(1, count + 1)
        ),
        faults=parse_faults(faults),
        authorisation_delay_seconds=delay,
    )


def westgate(count: int = 3, *, interval: float = 10.0, faults: str = "", **more: object) -> Tenant:
    """A fleet on rFMS; `more` are fields of Tenant."""
    vehicles = tuple(
        VehicleSpec(make_vin(7, number), str(2000 + number), report_interval_seconds=interval)
        for number in range(1, count + 1)
    )
    return Tenant(
        name="westgate",
        vendor=Vendor.RFMS,
        credential=WESTGATE_TOKEN,
        vehicles=vehicles,
        faults=parse_faults(faults),
        **more,  # type: ignore[arg-type]
    )


@asynccontextmanager
async def running(*tenants: Tenant, **settings: float) -> AsyncIterator[Simulator]:
    """Run a simulator on a port of its own for the block, which must end before the deadline."""
    config = SimulatorConfig(tenants=tenants, seed=7, **settings)  # type: ignore[arg-type]
    with trio.fail_after(DEADLINE_SECONDS):
        async with trio.open_nursery() as nursery:
            simulator: Simulator = await nursery.start(partial(serve, config))
            yield simulator
            nursery.cancel_scope.cancel()


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], Awaitable[None]]:
    """Wait for a fact of the running simulator; the block's own deadline bounds it."""

    async def wait(fact: Callable[[], bool]) -> None:
        while not fact():  # noqa: ASYNC110 - the fact is a count, which rings no bell
            await trio.sleep(0.005)

    return wait
