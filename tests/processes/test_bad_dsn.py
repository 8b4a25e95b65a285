"""An unreadable DSN: every command says what is wrong, and none repeats a part of the password."""

from __future__ import annotations

import pytest
import trio

from tests.broken_dsns import BROKEN, LEFT, RIGHT, repeated
from tests.processes.child import Child, run_lastheard

pytestmark = pytest.mark.processes

USAGE, UNAVAILABLE = 2, 69
COMMANDS = (
    ("config", "check"),
    ("serve",),
    ("migrate",),
    ("migrate", "--check"),
    ("token", "create", "x"),
)
AT_ONCE = 3
# One of each kind; tests/test_settings.py has the whole table.
KINDS = (
    "slash",
    "at",
    "hash",
    "question mark",
    "percent",
    "folded by NFKC",
    "in the query: and",
    "keywords",
)


async def run_all(runs: list[tuple[tuple[str, ...], str]]) -> list[Child]:
    """Run each command with its DSN, a few at a time."""
    children: dict[int, Child] = {}
    places = trio.CapacityLimiter(AT_ONCE)

    async def run(number: int, command: tuple[str, ...], dsn: str) -> None:
        async with places:
            children[number] = await run_lastheard(*command, environment={"LASTHEARD_DSN": dsn})

    async with trio.open_nursery() as nursery:
        for number, (command, dsn) in enumerate(runs):
            nursery.start_soon(run, number, command, dsn)
    return [children[number] for number in range(len(runs))]


@pytest.mark.parametrize("command", COMMANDS[:3], ids=" ".join)
async def test_no_command_repeats_any_of_a_password_that_broke_its_dsn(
    command: tuple[str, ...],
) -> None:
    rows = [row for row in BROKEN if row[0] in KINDS]
    assert len(rows) == len(KINDS)
    children = await run_all([(command, dsn) for _, dsn, _ in rows])
    for (name, _, says), child in zip(rows, children, strict=True):
        assert (name, child.exit_code) == (name, USAGE), child.tail()
        assert says in child.errors, name
        assert "Traceback" not in child.errors
        assert (name, repeated(child.out + child.errors)) == (name, set())


async def test_no_command_repeats_the_password_of_a_readable_dsn() -> None:
    """The database does not answer. The message names all parts of the DSN but the password."""
    dsn = f"postgresql://app:{LEFT}%2F{RIGHT}@127.0.0.1:1/fleet?password={LEFT}{RIGHT}"
    for command, child in zip(
        COMMANDS, await run_all([(command, dsn) for command in COMMANDS]), strict=True
    ):
        assert child.exit_code == (0 if command == ("config", "check") else UNAVAILABLE), (
            child.tail()
        )
        assert repeated(child.out + child.errors) == set()
