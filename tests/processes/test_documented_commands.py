"""The commands of the runbook and of the quickstarts, each against a running demo."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
import trio

from tests.debian import find_program
from tests.postgres import MAJOR, find_binaries, public_folder
from tests.processes.census import Census
from tests.processes.child import LASTHEARD, Child, open_child

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

pytestmark = [pytest.mark.processes, pytest.mark.postgres, pytest.mark.timeout(600)]

DOCS: Final = Path(__file__).parents[2] / "docs"
PAGES: Final = (DOCS / "runbook.md", *sorted((DOCS / "quickstarts").glob("*.md")))
BLOCK: Final = re.compile(r"^( *)```\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
LEAKED: Final = "3d381bf52291b053"  # the key that the runbook revokes
ATTEMPTS: Final = 3  # a simulated vendor may be out of order for a moment
STATES: Final = "configured-no-data [1-9]"  # then the worklist has something


def blocks() -> list[tuple[str, str]]:
    """Return the page and the text of every block of commands."""
    return [(page.name, script) for page in PAGES for _, script in BLOCK.findall(page.read_text())]


def is_hollow(said: str) -> bool:
    """Return whether a JSON value in an output is null, or has nothing but nulls.

    That is what jq makes of a member that the answer does not have.
    """
    decoder, at = json.JSONDecoder(), 0
    while found := re.compile(r"^(?=[{\[]|null$)", re.MULTILINE).search(said, at):
        try:
            value, at = decoder.raw_decode(said, found.start())
        except ValueError:
            at = found.start() + 1  # not JSON, such as a table
            continue
        parts = list(value.values()) if isinstance(value, dict) else value
        if parts is None or (parts and all(part is None for part in parts)):
            return True
    return False


async def run(script: str, environment: Mapping[str, str], folder: Path) -> tuple[int, str]:
    """Return the exit code of a script that ends with its first failure, and its output."""
    with trio.move_on_after(60):
        ended = await trio.run_process(
            ["bash", "-euo", "pipefail", "-c", script],
            env=environment,
            cwd=folder,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
        return ended.returncode, (ended.stdout + ended.stderr).decode()
    return -1, "no end within 60 s"


@asynccontextmanager
async def running_demo(folder: Path) -> AsyncIterator[Child]:
    """Run a demo with its data in this folder for the block. Its PostgreSQL must end with it."""
    census = Census(folder)
    data = {"LASTHEARD_DATA_DIR": str(folder / "data"), "LASTHEARD_LOG_LEVEL": "info"}
    environment = {**census.environment, **data}
    try:
        async with open_child(*LASTHEARD, "demo", environment=environment) as demo:
            yield demo
            demo.send(signal.SIGTERM)  # a demo that is killed leaves its PostgreSQL running
            assert await demo.wait_ended() == 0, demo.tail()
        assert await census.wait_for_silence(10.0) == []
    finally:
        census.end_all()


def environment_of(demo: Child, folder: Path) -> dict[str, str]:
    """Return the variables that the pages name, as the demo's output has them."""
    found = dict(re.findall(r"^(address|key) +(\S+)$", demo.out, re.MULTILINE))
    (ready,) = demo.events("embedded_postgresql_ready")
    own = (Path(sys.executable).parent, find_binaries(MAJOR).folder)
    sockets = Path(ready["socket"]).parent
    return {
        **os.environ,
        "PATH": ":".join((*map(str, own), os.environ["PATH"])),
        "API": f"{found['address']}/api/telematics-mvp",
        "KEY": found["key"],
        "SECRET_OF_TEST": found["key"],
        "LASTHEARD_ADDRESS": found["address"],
        "LASTHEARD_KEY": "env:SECRET_OF_TEST",
        "LASTHEARD_DATA_DIR": str(folder / "data"),
        "LASTHEARD_DSN": f"postgresql://postgres@/lastheard?host={sockets}",
        "NO_PROXY": "127.0.0.1",
    }


@pytest.mark.parametrize(
    ("said", "hollow"),
    [
        ('{"a": null}\n', True),
        ('["x", null]\n[null, null]', True),
        ("null", True),
        ('bus-1\tstale\n{"a": null}', True),
        ('{"a": {"b": null}}', False),
        ("[]", False),
        ("Worklist: 7 devices", False),
        ("", False),
    ],
)
def test_an_answer_without_the_member_is_hollow(said: str, hollow: bool) -> None:
    assert is_hollow(said) is hollow


async def test_every_command_of_runbook_and_quickstarts_works() -> None:
    find_program("jq", "jq")
    # PostgreSQL's user may pass through it, so the cluster is in it and nothing is left elsewhere.
    with public_folder("lastheard-commands-") as folder:
        async with running_demo(folder) as demo:
            failed = await find_failing(demo, folder)
    assert len(blocks()) > 30
    assert failed == [], "\n\n".join(failed)


async def find_failing(demo: Child, folder: Path) -> list[str]:
    """Run every block against the demo. Returns those that failed each time, with their output."""
    await demo.wait_for_output("\naddress  ", 90)
    await demo.wait_until(lambda: bool(re.search(STATES, demo.out)), "a silent device", 90)
    environment = environment_of(demo, folder)
    (folder / "lastheard.log").write_text(demo.errors)
    leaked = await run("lastheard token create leaked --scope read", environment, folder)
    leaked_id = leaked[1].split("lh_")[1].partition("_")[0]
    failed = []
    for page, script in blocks():
        for attempt in range(ATTEMPTS):
            code, said = await run(script.replace(LEAKED, leaked_id), environment, folder)
            if code == 0 and not is_hollow(said):
                break
            if attempt == ATTEMPTS - 1:
                failed.append(f"{page}: {script.strip()}\n-> {code}: {said[-500:]}")
    return failed
