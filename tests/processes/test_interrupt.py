"""Ctrl-C and SIGTERM at any instant of the demo's life: it ends soon, says how, and leaves no process behind.

Every instant has a data folder of its own, so most of them begin with initdb. They run three at a time, once for all
tests of this file; afterwards each folder must still be good for another demo.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass
from functools import partial
from signal import SIGINT, SIGTERM
from typing import TYPE_CHECKING, Final

import pytest
import trio

from tests.postgres import public_folder
from tests.processes.census import Census
from tests.processes.child import LASTHEARD, Child, open_child

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.processes, pytest.mark.postgres, pytest.mark.timeout(180)]

STOP_SECONDS: Final = 15.0
AT_ONCE: Final = 3
EXIT_STOPPED_WHILE_STARTING: Final = 130
RUNNING: Final = "\naddress  "  # the line that says so


@dataclass(frozen=True)
class Instant:
    """When to interrupt: so many seconds after the process began, or after it said something. Then, again or not."""

    name: str
    seconds: float
    number: signal.Signals = SIGINT
    after_record: str | None = None
    after_output: str | None = None
    again_seconds: float | None = None


INSTANTS: Final = (
    Instant("before_anything", 0.05),
    Instant("importing", 0.3),
    Instant("importing_and_sigterm", 0.45, SIGTERM),
    Instant("initdb_begins", 0.0, after_record="embedded_postgres_initdb"),
    Instant("initdb_works", 0.5, after_record="embedded_postgres_initdb"),
    Instant("initdb_ends", 1.2, SIGTERM, after_record="embedded_postgres_initdb"),
    Instant("migrating", 0.0, after_record="embedded_postgres_ready"),
    Instant("migrated", 0.3, after_record="embedded_postgres_ready"),
    Instant("simulator_starts", 0.8, SIGTERM, after_record="embedded_postgres_ready"),
    Instant("service_starts", 0.0, after_output="simulated fleets at"),
    Instant("fleets_are_configured", 0.0, SIGTERM, after_record="service_started"),
    Instant("it_says_that_it_runs", 0.0, after_output=RUNNING),
    Instant("collecting", 2.0, after_output=RUNNING),
    Instant("collecting_and_sigterm", 1.0, SIGTERM, after_output=RUNNING),
    Instant("twice_as_one", 0.5, after_output=RUNNING, again_seconds=0.2),
    Instant("twice_while_shutting_down", 0.5, after_output=RUNNING, again_seconds=0.6),
    Instant("twice_while_starting", 0.0, after_record="embedded_postgres_initdb", again_seconds=0.6),
)


@dataclass
class Ending:
    """What was seen of one interrupted demo, and of the one that was started after it on the same folder."""

    child: Child
    seconds: float
    left: list[str]
    next_child: Child
    next_left: list[str]

    @property
    def was_running(self) -> bool:
        return RUNNING in self.child.out


@pytest.fixture(scope="module")
def endings() -> Iterator[dict[str, Ending]]:
    found: dict[str, Ending] = {}

    async def interrupt_all() -> None:
        limit = trio.CapacityLimiter(AT_ONCE)
        async with trio.open_nursery() as nursery:
            for instant in INSTANTS:
                nursery.start_soon(_interrupt_one, instant, limit, found)

    with public_folder("lastheard-interrupt-"):
        trio.run(interrupt_all)
    yield found


async def _interrupt_one(instant: Instant, limit: trio.CapacityLimiter, found: dict[str, Ending]) -> None:
    async with limit:
        with public_folder("lastheard-interrupt-") as folder:
            census = Census(folder)
            try:
                found[instant.name] = await _end_and_begin_again(instant, folder, census)
            finally:
                census.end_all()


async def _end_and_begin_again(instant: Instant, folder: Path, census: Census) -> Ending:
    command = (*LASTHEARD, "demo", "--data-dir", str(folder))
    environment = {**census.environment, "LASTHEARD_LOG_LEVEL": "info"}
    async with open_child(*command, environment=environment) as child:
        await _reach(instant, child)
        began = trio.current_time()
        child.send_to_group(instant.number)
        if instant.again_seconds is not None:
            await trio.sleep(instant.again_seconds)
            child.send_to_group(instant.number)
        await child.wait_ended(STOP_SECONDS)
        seconds = trio.current_time() - began
        left = await census.wait_for_silence(1.0)
    async with open_child(*command, environment=environment) as next_child:
        await next_child.wait_for_output(RUNNING)
        next_child.send(SIGINT)
        await next_child.wait_ended(STOP_SECONDS)
        return Ending(child, seconds, left, next_child, await census.wait_for_silence(1.0))


async def _reach(instant: Instant, child: Child) -> None:
    if instant.after_record is not None:
        await child.wait_for_record(instant.after_record)
    if instant.after_output is not None:
        await child.wait_for_output(instant.after_output)
    await trio.sleep(instant.seconds)
