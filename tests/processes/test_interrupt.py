"""Ctrl-C and SIGTERM at any instant of a demo: it ends soon, says how, and leaves no process.

Three chains of demos run at a time, once for all tests of this file. Each chain has one data
folder, which is empty at first. The next demo of a chain works with what the interrupted one left
there, and the last one runs to a good end.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from signal import SIGINT, SIGKILL, SIGTERM
from typing import TYPE_CHECKING, Final

import pytest
import trio

from tests.postgres import public_folder
from tests.processes.census import Census
from tests.processes.child import LASTHEARD, Child, open_child

if TYPE_CHECKING:
    import signal

pytestmark = [pytest.mark.processes, pytest.mark.postgres, pytest.mark.timeout(180)]

STOP_SECONDS: Final = 30.0  # of a crowded machine, on which three demos start at a time
# An orphaned simulator looks for its parent twice a second.
SILENCE_SECONDS: Final = 2.0
EXIT_STOPPED_WHILE_STARTING: Final = 130
INITDB: Final = "embedded_postgresql_initdb"
RUNNING: Final = "\naddress  "  # the line that says that it runs


@dataclass(frozen=True)
class Instant:
    """When to interrupt: `seconds` after the process began, or after a sign of life.

    With `again_seconds` a second signal follows.
    """

    name: str
    seconds: float
    number: signal.Signals = SIGINT
    # Our own first line. Before it the interpreter alone handles signals.
    after_first_line: bool = False
    after_record: str | None = None
    after_output: str | None = None
    again_seconds: float | None = None
    is_ours: bool = True
    # The end is not in order: PostgreSQL may go on, and the next start adopts it.
    is_violent: bool = False


# A chain's first demos are ended before they have a cluster, so initdb runs again in the next.
CHAINS: Final = (
    (
        Instant("interpreter_starts", 0.05, is_ours=False),
        Instant("importing", 0.1, after_first_line=True),
        Instant("initdb_begins", 0.0, after_record=INITDB),
        Instant("initdb_begins_and_again", 0.0, SIGTERM, after_record=INITDB, again_seconds=0.7),
        Instant("migrating", 0.0, after_record="embedded_postgresql_ready"),
        Instant("fleets_are_configured", 0.0, SIGTERM, after_record="service_started"),
        Instant("collecting", 1.5, after_output=RUNNING),
        Instant("killed", 0.5, SIGKILL, after_output=RUNNING, is_violent=True),
    ),
    (
        Instant("importing_and_sigterm", 0.2, SIGTERM, after_first_line=True),
        Instant("initdb_works", 0.4, SIGTERM, after_record=INITDB),
        Instant("simulator_starts", 0.6, after_record="embedded_postgresql_ready"),
        Instant("it_says_that_it_runs", 0.0, after_output=RUNNING),
        Instant("impatient", 0.2, after_output=RUNNING, again_seconds=0.55, is_violent=True),
    ),
    (
        Instant("initdb_ends", 1.0, after_record=INITDB),
        Instant("service_starts", 0.0, SIGTERM, after_output="simulated fleets at"),
        Instant(
            "simulator_is_starting_again", 0.3, SIGTERM, after_record="embedded_postgresql_ready"
        ),
        Instant("twice_at_once", 0.5, after_output=RUNNING, again_seconds=0.02),
        Instant("collecting_and_sigterm", 0.8, SIGTERM, after_output=RUNNING),
    ),
)
INSTANTS: Final = tuple(instant for chain in CHAINS for instant in chain)


@dataclass
class Ending:
    """How one demo ended."""

    child: Child
    seconds: float
    left: list[str]

    @property
    def was_running(self) -> bool:
        return RUNNING in self.child.out

    @property
    def status(self) -> int:
        """The exit status as a shell shows it.

        A second signal may meet an interpreter that has already put its handlers away.
        """
        code = self.child.exit_code
        assert code is not None
        return code if code >= 0 else 128 - code


@pytest.fixture(scope="module")
def endings() -> dict[str, Ending]:
    """Return endings by the names of the instants, and by `last of N` for the end of chain N."""
    found: dict[str, Ending] = {}

    async def run_all() -> None:
        async with trio.open_nursery() as nursery:
            for number in range(len(CHAINS)):
                nursery.start_soon(_run_chain, number, found)

    trio.run(run_all)
    return found


async def _run_chain(number: int, found: dict[str, Ending]) -> None:
    last = Instant(f"last of {number}", 0.3, after_output=RUNNING)
    with public_folder("lastheard-interrupt-") as folder:
        census = Census(folder)
        try:
            for instant in (*CHAINS[number], last):
                found[instant.name] = await _end_one(instant, folder, census)
        finally:
            census.end_all()


async def _end_one(instant: Instant, folder: Path, census: Census) -> Ending:
    environment = {**census.environment, "LASTHEARD_LOG_LEVEL": "info"}
    async with open_child(
        *LASTHEARD, "demo", "--data-dir", str(folder), environment=environment
    ) as child:
        await _reach(instant, child)
        began = trio.current_time()
        child.send_to_group(instant.number)
        if instant.again_seconds is not None:
            await trio.sleep(instant.again_seconds)
            child.send_to_group(instant.number)
        await child.wait_ended(STOP_SECONDS)
        return Ending(
            child, trio.current_time() - began, await census.wait_for_silence(SILENCE_SECONDS)
        )


async def _reach(instant: Instant, child: Child) -> None:
    if instant.after_first_line:
        await _wait_until_it_minds_signals(child)
    if instant.after_record is not None:
        await child.wait_for_record(instant.after_record)
    if instant.after_output is not None:
        await child.wait_for_output(instant.after_output)
    await trio.sleep(instant.seconds)


async def _wait_until_it_minds_signals(child: Child) -> None:
    """Wait until its first line has set a handler for SIGTERM: bit 14 of SigCgt, see proc(5)."""
    with trio.fail_after(STOP_SECONDS):
        while not _signals_caught(child.pid) >> (SIGTERM - 1) & 1:  # noqa: ASYNC110 no event
            await trio.sleep(0.005)


def _signals_caught(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1], 16) for line in lines if line.startswith("SigCgt:"))


def each(*, violent: bool) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "name", [instant.name for instant in INSTANTS if instant.is_violent is violent]
    )


@pytest.mark.parametrize(
    "name", [instant.name for instant in INSTANTS if instant.is_ours and not instant.is_violent]
)
def test_it_ends_soon_and_the_exit_code_says_if_it_was_running(
    endings: dict[str, Ending], name: str
) -> None:
    ending = endings[name]
    assert ending.seconds < STOP_SECONDS
    assert "Traceback" not in ending.child.errors
    assert ending.status in _statuses(ending, name), ending.child.tail()


def _statuses(ending: Ending, name: str) -> tuple[int, ...]:
    if ending.was_running:
        return (0,)
    # Both endings are "while starting". If there is a second signal, the line may name that one.
    again = next(instant for instant in INSTANTS if instant.name == name).again_seconds is not None
    return (EXIT_STOPPED_WHILE_STARTING, 128 + SIGTERM) if again else (EXIT_STOPPED_WHILE_STARTING,)


@each(violent=False)
def test_no_process_is_left(endings: dict[str, Ending], name: str) -> None:
    assert endings[name].left == []


@each(violent=True)
def test_only_postgresql_may_outlive_a_demo_that_ends_badly(
    endings: dict[str, Ending], name: str
) -> None:
    """A killed demo can stop nothing. With a second signal it still stops its children."""
    assert endings[name].was_running
    may_be_left = ("postgres",) if name == "killed" else ()
    assert [left for left in endings[name].left if not left.startswith(may_be_left)] == []


@pytest.mark.parametrize("number", range(len(CHAINS)))
def test_a_demo_on_the_same_folder_works_after_all_of_that(
    endings: dict[str, Ending], number: int
) -> None:
    last = endings[f"last of {number}"]
    assert last.status == 0, last.child.tail()
    assert "everything holds" in last.child.out
    assert last.left == []


def test_the_instants_fell_on_both_sides_of_the_start(endings: dict[str, Ending]) -> None:
    """The tests above need both demos that were starting and demos that ran."""
    running = [name for name, ending in endings.items() if ending.was_running]
    assert 6 <= len(running) <= len(endings) - 8
