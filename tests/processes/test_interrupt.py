"""Ctrl-C and SIGTERM at any instant of the demo's life: it ends soon, says how, and leaves no process behind.

Every instant has a data folder of its own, so most of them begin with initdb. They run three at a time, once for all
tests of this file; afterwards each folder must still be good for another demo.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass
from signal import SIGINT, SIGKILL, SIGTERM
from typing import TYPE_CHECKING, Final

import pytest
import trio

from tests.postgres import public_folder
from tests.processes.census import Census
from tests.processes.child import LASTHEARD, Child, open_child

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.processes, pytest.mark.postgres, pytest.mark.timeout(180)]

STOP_SECONDS: Final = 15.0
# An orphaned simulator looks for its parent twice a second.
SILENCE_SECONDS: Final = 2.0
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
    Instant("importing", 0.3, SIGTERM),
    Instant("initdb_begins", 0.0, after_record="embedded_postgres_initdb"),
    Instant("initdb_works", 0.5, SIGTERM, after_record="embedded_postgres_initdb"),
    Instant("migrating", 0.0, after_record="embedded_postgres_ready"),
    Instant("simulator_starts", 0.6, SIGTERM, after_record="embedded_postgres_ready"),
    Instant("service_starts", 0.0, after_output="simulated fleets at"),
    Instant("fleets_are_configured", 0.0, SIGTERM, after_record="service_started"),
    Instant("it_says_that_it_runs", 0.0, after_output=RUNNING),
    Instant("collecting", 1.5, after_output=RUNNING),
    Instant("twice_at_once", 0.2, SIGTERM, after_output=RUNNING, again_seconds=0.2),
    Instant("twice_while_starting", 0.0, after_record="embedded_postgres_initdb", again_seconds=0.6),
)
# Nobody waits for an ordered end here: PostgreSQL may go on, and the next start adopts it.
VIOLENT: Final = (
    Instant("impatient", 0.2, after_output=RUNNING, again_seconds=0.55),
    Instant("killed", 0.5, SIGKILL, after_output=RUNNING),
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

    @property
    def status(self) -> int:
        """As a shell shows it. A second signal may meet an interpreter that has already put its handlers away."""
        code = self.child.exit_code
        assert code is not None
        return code if code >= 0 else 128 - code


@pytest.fixture(scope="module")
def endings() -> dict[str, Ending]:
    found: dict[str, Ending] = {}

    async def interrupt_all() -> None:
        limit = trio.CapacityLimiter(AT_ONCE)
        async with trio.open_nursery() as nursery:
            for instant in (*INSTANTS, *VIOLENT):
                nursery.start_soon(_interrupt_one, instant, limit, found)

    trio.run(interrupt_all)
    return found


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
        left = await census.wait_for_silence(SILENCE_SECONDS)
    async with open_child(*command, environment=environment) as next_child:
        await next_child.wait_for_output(RUNNING)
        next_child.send(SIGINT)
        await next_child.wait_ended(STOP_SECONDS)
        return Ending(child, seconds, left, next_child, await census.wait_for_silence(SILENCE_SECONDS))


async def _reach(instant: Instant, child: Child) -> None:
    if instant.after_record is not None:
        await child.wait_for_record(instant.after_record)
    if instant.after_output is not None:
        await child.wait_for_output(instant.after_output)
    await trio.sleep(instant.seconds)


def each(instants: tuple[Instant, ...]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("name", [instant.name for instant in instants])


@each(INSTANTS)
def test_it_ends_soon_and_its_exit_code_says_whether_it_was_running(endings: dict[str, Ending], name: str) -> None:
    ending = endings[name]
    assert ending.seconds < STOP_SECONDS
    assert ending.status == (0 if ending.was_running else EXIT_STOPPED_WHILE_STARTING), ending.child.tail()
    assert "Traceback" not in ending.child.errors


@each(INSTANTS)
def test_no_process_is_left(endings: dict[str, Ending], name: str) -> None:
    assert endings[name].left == []


@each((*INSTANTS, *VIOLENT))
def test_the_next_demo_on_the_same_folder_works_and_leaves_nothing_either(
    endings: dict[str, Ending], name: str
) -> None:
    ending = endings[name]
    assert ending.next_child.exit_code == 0, ending.next_child.tail()
    assert "everything holds" in ending.next_child.out
    assert ending.next_left == []


@each(VIOLENT)
def test_of_a_demo_that_could_not_end_in_order_only_postgresql_may_be_left(
    endings: dict[str, Ending], name: str
) -> None:
    assert [left for left in endings[name].left if not left.startswith("postgres")] == []


def test_the_instants_fell_on_both_sides_of_the_start(endings: dict[str, Ending]) -> None:
    """If all of them came while it was starting, or none, the tests above would show half of what they say."""
    running = [name for name, ending in endings.items() if ending.was_running]
    assert 4 <= len(running) < len(endings) - 4
