"""`lastheard token …`: what the commands print, refuse and leave in the database."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from rich.console import Console

from lastheard.key_table import keys_table
from ports.keys import ListedKey
from tests.processes.child import run_lastheard

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.processes.child import Child

    Command = Callable[..., Any]

NOW = datetime(2026, 5, 1, 12, 30, tzinfo=UTC)
ID = "0123456789abcdef"


def listed(**changes: Any) -> ListedKey:
    plain = ListedKey(
        *(ID, "liaison", frozenset({"read"}), None, NOW, None),
        expires_at=None,
        revoked_at=None,
        revoked_by=None,
        last_used_at=None,
    )
    return plain._replace(**changes)


def printed(*keys: ListedKey, width: int = 80) -> list[str]:
    console = Console(file=io.StringIO(), width=width, highlight=False, soft_wrap=True)
    console.print(keys_table(keys, NOW))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_the_list_fits_80_columns_and_shortens_no_id_or_time() -> None:
    long = listed(
        name="the gateway of the harbour's depot, line [7] :house:",
        scopes=frozenset({"read", "ingest", "control", "admin"}),
        workspaces=frozenset({"harbour-lines-of-the-north", "island"}),
        expires_at=NOW + timedelta(days=365),
        last_used_at=NOW,
    )
    lines = printed(long, listed())
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    assert [text.count(part) for part in (ID, "2027-05-01", "2026-05-01 12:30")] == [2, 1, 1]
    assert "…" not in text
    assert "[7] :house:" in " ".join(printed(long, width=200))


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"expires_at": NOW}, ["2026-05-01", "expired"]),
        ({"expires_at": NOW + timedelta(days=1)}, ["2026-05-02"]),
        ({"revoked_at": NOW - timedelta(days=1), "expires_at": NOW}, ["2026-04-30", "revoked"]),
        ({}, ["no end"]),
    ],
)
def test_the_list_says_until_when_a_key_works(changes: dict[str, Any], shown: list[str]) -> None:
    text = "\n".join(printed(listed(**changes)))
    assert all(part in text for part in shown)
    assert ("expired" in text) == ("expired" in shown)


@pytest.fixture
def command(dsn: str) -> Command:
    async def run(*words: str, code: int = 0) -> Child:
        child = await run_lastheard("token", *words, environment={"LASTHEARD_DSN": dsn})
        assert child.exit_code == code, child.tail()
        assert "Traceback" not in child.errors
        return child

    return run


@pytest.mark.processes
async def test_a_key_is_made_listed_and_revoked_twice(command: Command) -> None:
    token = (await command("create", "liaison", "--days", "30")).out.strip()
    key_id = token.split("_")[1]
    (item,) = map(orjson.loads, (await command("list", "--json")).out.splitlines())
    assert (item["key_id"], item["scopes"], item["state"]) == (key_id, ["read"], "active")
    assert item["created_by"] == "lastheard token"
    assert token.split("_")[2] not in (await command("list")).out
    assert "is revoked as of" in (await command("revoke", "liaison")).out
    assert "had been revoked already" in (await command("revoke", key_id)).out
    assert (await command("list", "--json")).out == ""
    again = orjson.loads((await command("revoke", key_id, "--json")).out)
    assert (again["was_revoked"], again["state"]) == (True, "revoked")
    taken = await command("create", "liaison", code=2)
    assert f"NAME: there is or was a key with the name liaison (id {key_id})" in taken.errors


@pytest.mark.processes
async def test_a_wrong_argument_is_named_with_the_remedy(command: Command) -> None:
    for wrong in ("write", "read,control"):
        unknown = await command("create", "x", "--scope", wrong, code=2)
        assert f"--scope: no such scope: {wrong}. The scopes are read, ingest" in unknown.errors
        assert "give --scope once for each" in unknown.errors
    nobody = await command("revoke", "nobody", code=1)
    assert "there is no key with the id or name nobody: `lastheard token list" in nobody.errors
    assert "NAME: a name has 1 to 100 characters" in (await command("create", " ", code=2)).errors


@pytest.mark.processes
async def test_help_states_the_default_scope(command: Command) -> None:
    assert "default: read" in (await command("create", "--help")).out
