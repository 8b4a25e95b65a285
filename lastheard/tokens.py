"""`lastheard token …`: keys made, listed and revoked directly in the database, so it needs the DSN.

The format is in api/keys.py and the table in storage/keys.py.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Final, NamedTuple

from api.bodies import encode_json
from api.key_management import present_key
from api.keys import DEFAULT_SCOPES, Scope, check_name, mint_key
from domain.changes import Author
from lastheard.key_table import keys_table
from lastheard.serving import StopSignal, open_database_for_command, until_stopped
from lastheard.terminal import EXIT_FAILED, EXIT_USAGE, out, say
from runtime.clock import SystemClock
from storage.gateway import Database
from storage.keys import PostgresKeys
from storage.migrations import check_schema

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from datetime import datetime

    from lastheard.settings import Settings
    from ports.keys import ListedKey

COMMAND: Final = Author("lastheard token")
PAGE_KEYS: Final = 500


class KeyOrder(NamedTuple):
    """A key as the command line describes it. None takes the default."""

    name: str
    scopes: Sequence[str] | None
    workspaces: Sequence[str] | None
    expires_at: datetime | None


async def create_token(settings: Settings, order: KeyOrder, *, as_json: bool = False) -> int:
    """Store a new key and print its text, and nothing else, on standard output.

    Return the exit code: 2 for an argument that is wrong, or a name that is taken.
    """
    fault = _fault_of(order)
    if fault is not None:
        return _refuse(fault)
    name = check_name(order.name)
    scopes = order.scopes or DEFAULT_SCOPES
    record, token = mint_key(name, scopes, order.workspaces or None, order.expires_at)

    async def work(keys: PostgresKeys) -> int:
        stored = await keys.create_key(record, by=COMMAND)
        if stored is None:
            return await _refuse_name(keys, name)
        _print_json(stored, token=token) if as_json else print(token)
        return 0

    return await _with_keys(settings, work)


async def list_tokens(settings: Settings, *, with_revoked: bool, as_json: bool = False) -> int:
    """Print all keys by name, as a table or as one line of JSON for each. Return 0."""

    async def work(keys: PostgresKeys) -> int:
        found: list[ListedKey] = []
        page: list[ListedKey] | None = None
        while page is None or len(page) == PAGE_KEYS:
            after = found[-1].name if found else None
            page = await keys.list_keys(
                within=None, with_revoked=with_revoked, after=after, limit=PAGE_KEYS
            )
            found += page
        if as_json:
            for key in found:
                _print_json(key)
        else:
            out.print(keys_table(found, SystemClock().wall()))
        return 0

    return await _with_keys(settings, work)


async def revoke_token(settings: Settings, id_or_name: str, *, as_json: bool = False) -> int:
    """Revoke a key and say so. Return the exit code: 1 if there is no such key."""

    async def work(keys: PostgresKeys) -> int:
        key = await keys.find_listed_key(id_or_name)
        revoked = key and await keys.revoke_key(key.key_id, within=None, by=COMMAND)
        if revoked is None:
            return _refuse(
                f"there is no key with the id or name {id_or_name}: "
                "`lastheard token list --revoked` shows them all",
                EXIT_FAILED,
            )
        if as_json:
            _print_json(revoked.key, was_revoked=revoked.before)
        else:
            _say_revoked(revoked.key, before=revoked.before)
        return 0

    return await _with_keys(settings, work)


async def _with_keys(settings: Settings, work: Callable[[PostgresKeys], Awaitable[int]]) -> int:
    """Run `work` on the keys of the configured database, and return its exit code."""

    async def main(_: StopSignal) -> int:
        async with (
            open_database_for_command(settings) as dsn,
            aclosing(Database(dsn, pool_size=2)) as database,
        ):
            (await check_schema(database)).require()
            return await work(PostgresKeys(database))

    return await until_stopped(main)


def _fault_of(order: KeyOrder) -> str | None:
    unknown = [scope for scope in order.scopes or () if scope not in list(Scope)]
    if unknown:
        return (
            f"--scope: no such scope: {', '.join(unknown)}. The scopes are {', '.join(Scope)}; "
            "give --scope once for each"
        )
    if "" in (order.workspaces or ()):
        return "--workspace: give the id of a workspace"
    try:
        check_name(order.name)
    except ValueError as error:
        return f"NAME: {error}"
    return None


async def _refuse_name(keys: PostgresKeys, name: str) -> int:
    other = await keys.find_listed_key(name)
    which = "" if other is None else f" (id {other.key_id})"
    return _refuse(
        f"NAME: there is or was a key with the name {name}{which}. Names are not used again: "
        "choose another"
    )


def _refuse(why: str, code: int = EXIT_USAGE) -> int:
    say(f"lastheard: {why}", err=True)
    return code


def _say_revoked(key: ListedKey, *, before: bool) -> None:
    when = f"{key.revoked_at:%Y-%m-%d %H:%M:%S} UTC"
    if before:
        print(f"{key.name} ({key.key_id}) had been revoked already, at {when}")
    else:
        print(f"{key.name} ({key.key_id}) is revoked as of {when}: every shard refuses it now")


def _print_json(key: ListedKey, **more: object) -> None:
    shown = present_key(key, SystemClock().wall())
    print(encode_json({**shown.model_dump(), **more}).decode())
