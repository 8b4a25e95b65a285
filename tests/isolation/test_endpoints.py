"""No operation of the API tells or changes anything of a workspace that the key does not see.

The operations come from the served OpenAPI document. Each is asked with a key for `OURS`, with a
good request and with bad ones. About `THEIRS` it must give the answer about a workspace that does
not exist: the same status, headers and body, byte for byte. About an id within `OURS` that only
`THEIRS` has, it must give the answer about an id that nobody has. The names have equal lengths, so
only the names themselves need to be normalised. After each request not a byte of `THEIRS` has
changed.

A new operation is tested without any change here, unless it takes a body (requests.py).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import pytest

from api.keys import Scope
from storage.gateway import Database, open_bridge
from tests.api.harness import Harness as ApiHarness
from tests.api.standing_time import DatabaseClock
from tests.conftest import make_postgres_stores
from tests.isolation.fleets import OURS, SESSION, THEIRS, Harness
from tests.isolation.requests import IDS, NOBODYS, ONLY_THEIRS, Ask, read_operations, variants
from tests.isolation.running import dump

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import trio

    from tests.api.harness import Answer
    from tests.isolation.running import Databases

NOBODY: Final = "nobody"  # a workspace that does not exist
assert len(NOBODY) == len(THEIRS)
assert {name: len(one) for name, one in ONLY_THEIRS.items()} == {
    name: len(one) for name, one in NOBODYS.items()
}
TRACE: Final = {"x-request-id": "trace-asked"}
READING: Final = ("GET", "HEAD")
INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z")
# They make what does not exist, or judge it before; that a key can make and judge only what it
# lists is tested in tests/api/test_access.py and test_fleet_check.py.
MAKES_A_WORKSPACE: Final = {"put_workspace", "check_fleet"}


class Endpoints:
    """The API over the database with both workspaces.

    `touched` has the requests after which a byte of `THEIRS` had changed or `NOBODY` had a row.
    """

    def __init__(self, api: ApiHarness, inside: Harness, databases: Databases) -> None:
        self._api = api
        self._inside = inside
        self._go_back = databases.go_back
        self._written = True
        self.touched: list[Ask] = []

    async def operations(self) -> list[Ask]:
        return list(read_operations(await self._api.get("/openapi.json", key="unlimited")))

    async def variants(self) -> list[Ask]:
        """Return a good request and bad ones for every operation."""
        asks = await self.operations()
        return asks + [spoilt for ask in asks for spoilt in variants(ask)]

    async def ask(self, ask: Ask, key: str = "limited") -> Answer:
        """Send the request on the database as it was filled."""
        if self._written:
            await self.go_back()
        if ask.prepared:
            await self._inside.execute(ask.prepared)
        self._written = ask.method not in READING
        if not self._written:
            return await self._send(ask, key)
        before = await dump(self._inside, THEIRS, locks=True)
        answer = await self._send(ask, key)
        nobodys = [] if key == "unlimited" else await dump(self._inside, NOBODY, locks=True)
        if nobodys or before != await dump(self._inside, THEIRS, locks=True):
            self.touched.append(ask)
        return answer

    async def go_back(self) -> None:
        await self._inside.execute(self._go_back)
        for name, workspaces in KEYS.items():
            await self._api.add_key(name, list(Scope), workspaces)
        for name, workspace in (("key_of_ours", OURS), ("key_of_theirs", THEIRS)):
            key_id = IDS["key_id"] if workspace is OURS else ONLY_THEIRS["key_id"]
            await self._api.add_key(name, ["read"], [workspace], key_id=key_id)

    async def _send(self, ask: Ask, key: str) -> Answer:
        headers = {**TRACE, **ask.headers}
        headers |= {"content-type": ask.media_type} if ask.body is not None else {}
        data = None if ask.body is None else ask.fill(ask.body)
        path = ask.fill(ask.path + ask.query)
        return await self._api.ask(ask.method, path, key=key, headers=headers, data=data)


KEYS: Final = {"limited": [OURS], "listed": [OURS, NOBODY], "unlimited": None}


@pytest.fixture
async def endpoints(
    databases: Databases, nursery: trio.Nursery, tmp_path: Path
) -> AsyncIterator[Endpoints]:
    async with open_bridge():
        database = Database(databases.beside)
        inside = Harness(database, make_postgres_stores(database))
        clock = DatabaseClock()
        clock.let_pass((datetime.now(UTC) - clock.now()).total_seconds())
        api = ApiHarness(inside.stores, clock, SESSION, tmp_path)
        nursery.start_soon(api.ingest.run)
        endpoints = Endpoints(api, inside, databases)
        await endpoints.go_back()  # the first question is for the description, and needs a key
        yield endpoints
        nursery.cancel_scope.cancel()
        await database.aclose()


def told(answer: Answer, name: str) -> tuple[int, dict[str, str], str]:
    """Return all of an answer except for the name in the request and instants of the answer."""
    body = answer.body.decode().replace(name, "{name}")
    return answer.status, dict(answer.headers), INSTANT.sub("{instant}", body)


async def test_another_workspace_is_answered_like_none(endpoints: Endpoints) -> None:
    differences = []
    for ask in [one for one in await endpoints.variants() if one.mentions("workspace_id")]:
        theirs = told(await endpoints.ask(ask.of(THEIRS)), THEIRS)
        nobodys = told(await endpoints.ask(ask.of(NOBODY)), NOBODY)
        if theirs != nobodys:
            differences.append((ask, theirs, nobodys))
    assert not differences, "\n".join(map(str, differences))
    assert endpoints.touched == []


@pytest.mark.parametrize("key", ["listed", "unlimited"])
async def test_it_is_the_answer_that_others_get_about_no_workspace(
    endpoints: Endpoints, key: str
) -> None:
    """Keys that list the workspace that does not exist, or see all, get it too."""
    differences = []
    for ask in [one for one in await endpoints.operations() if one.mentions("workspace_id")]:
        theirs = told(await endpoints.ask(ask.of(THEIRS)), THEIRS)
        nobodys = told(await endpoints.ask(ask.of(NOBODY), key), NOBODY)
        if theirs != nobodys and ask.operation not in MAKES_A_WORKSPACE:
            differences.append((ask, theirs, nobodys))
    assert not differences, "\n".join(map(str, differences))


@pytest.mark.parametrize("name", ONLY_THEIRS)
async def test_an_id_that_only_they_have_is_answered_like_none(
    endpoints: Endpoints, name: str
) -> None:
    differences = []
    for ask in [one for one in await endpoints.variants() if one.mentions(name)]:
        known, unknown = ONLY_THEIRS[name], NOBODYS[name]
        theirs = told(await endpoints.ask(ask.of(OURS, **{name: known})), known)
        nobodys = told(await endpoints.ask(ask.of(OURS, **{name: unknown})), unknown)
        if theirs != nobodys:
            differences.append((ask, theirs, nobodys))
    assert not differences, "\n".join(map(str, differences))
    assert endpoints.touched == []


async def test_lists_across_workspaces_name_only_those_of_the_key(
    endpoints: Endpoints,
) -> None:
    telling = [
        (ask, answer.body)
        for ask in await endpoints.variants()
        if THEIRS.encode() in (answer := await endpoints.ask(ask.of(OURS))).body
    ]
    assert telling == []
    assert endpoints.touched == []


async def test_every_request_succeeds_for_a_key_of_the_workspace(
    endpoints: Endpoints,
) -> None:
    """Otherwise the tests above would compare refusals that have other reasons."""
    answers = [
        (ask, await endpoints.ask(ask.of(OURS), "unlimited"))
        for ask in await endpoints.operations()
    ]
    failed = [(ask, answer.body) for ask, answer in answers if answer.status >= 300]
    assert not failed, "\n".join(map(str, failed))
