"""Requests for the same page at the same time: one reading, which no request is older than."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from api.app import create_app
from runtime.faults import EnvironmentFault
from tests.api.legacy_reads import read_from

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from ports.reads import HealthPage, Reads
    from tests.api.harness import Answer, Harness

HEALTH = "/workspaces/north/health"
LISTS = (HEALTH, "/workspaces/north/issues", "/worklist")


class HeldReads:
    """The reads of the harness, whose pages of health wait at a door."""

    def __init__(self, reads: Reads) -> None:
        self._reads = reads
        self.began = 0
        self.fleets = 0
        self.fault: Exception | None = None
        self.opened = trio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reads, name)

    async def load_health(self, *args: Any, **rest: Any) -> HealthPage:
        self.began += 1
        fault, opened = self.fault, self.opened
        page = await self._reads.load_health(*args, **rest)  # the door is behind the reading
        await opened.wait()
        if fault is not None:
            raise fault
        return page

    async def load_fleet(self, *args: Any, **rest: Any) -> Any:
        self.fleets += 1
        await self.opened.wait()
        return await self._reads.load_fleet(*args, **rest)

    def let_through(self) -> None:
        self.opened.set()

    def close(self) -> None:
        self.opened = trio.Event()


@pytest.fixture
async def reads(harness: Harness) -> AsyncIterator[HeldReads]:
    held = HeldReads(harness.stores.reads)
    harness.client = create_app(harness.make_services(reads=held)).test_client()
    yield held
    held.let_through()


async def ask_all(harness: Harness, paths: Sequence[str], **rest: Any) -> list[Answer]:
    """Ask at once; return the answers in the order of the paths."""
    answers: dict[int, Answer] = {}

    async def ask(place: int, path: str) -> None:
        answers[place] = await harness.ask("GET", path, **rest)

    async with trio.open_nursery() as nursery:
        for place, path in enumerate(paths):
            nursery.start_soon(ask, place, path)
    return [answers[place] for place in range(len(paths))]


async def settle() -> None:
    """Let every request come as far as it can."""
    for _ in range(200):
        await trio.lowlevel.checkpoint()
    await trio.testing.wait_all_tasks_blocked(0.02)


@pytest.mark.parametrize("path", LISTS)
async def test_requests_for_one_page_are_answered_by_two_readings(
    harness: Harness, reads: HeldReads, nursery: trio.Nursery, path: str
) -> None:
    async def open_later() -> None:
        await settle()
        reads.let_through()

    reads.let_through()
    await harness.get(path)
    one_reading, reads.began = reads.began, 0  # it may look more than once
    reads.close()
    nursery.start_soon(open_later)
    answers = await ask_all(harness, [path] * 8)
    assert [answer.status for answer in answers] == [200] * 8
    assert reads.began == 2 * one_reading  # the first one's, and one for who came meanwhile
    assert len({answer.body for answer in answers}) <= 2
    assert len({answer.headers["x-request-id"] for answer in answers}) == 8


async def test_a_newcomer_is_shown_what_was_written_meanwhile(
    harness: Harness, reads: HeldReads, nursery: trio.Nursery
) -> None:
    nursery.start_soon(harness.ask, "GET", HEALTH)
    await settle()
    assert reads.began == 1
    assert (await harness.report("bus-1", soc_percent=80.0)).status == 200
    reads.let_through()
    items = (await harness.get(HEALTH))["items"]
    assert items[0]["state"] == "healthy"


async def test_a_newcomer_is_shown_a_changed_workspace(
    harness: Harness, reads: HeldReads, nursery: trio.Nursery
) -> None:
    """The workspace is read before a request waits, so requests that saw another wait apart."""
    for _ in range(2):  # one reads, and one waits
        nursery.start_soon(harness.ask, "GET", HEALTH)
        await settle()
    changed = await harness.ask(
        "PATCH",
        "/workspaces/north",
        json={"time_zone": "Europe/Paris"},
        headers={"If-Match": "*"},
    )
    assert changed.status == 200, changed.body
    seen: list[Any] = []

    async def ask() -> None:
        seen.append(await harness.get(HEALTH))

    nursery.start_soon(ask)
    await settle()
    reads.let_through()
    await settle()
    assert [one["time_zone"] for one in seen] == ["Europe/Paris"]


async def test_other_queries_forms_and_sights_are_read_by_themselves(
    harness: Harness, reads: HeldReads, nursery: trio.Nursery
) -> None:
    answers: dict[str, Answer] = {}

    async def ask(name: str, path: str, **rest: Any) -> None:
        answers[name] = await harness.ask("GET", path, **rest)

    nursery.start_soon(ask, "all", "/worklist")
    await settle()

    async def ask_as_north() -> None:
        await ask("north", "/worklist", key="north")

    async def ask_for_csv() -> None:
        await ask("csv", "/worklist", headers={"Accept": "text/csv"})

    nursery.start_soon(ask_as_north)
    nursery.start_soon(ask_for_csv)
    nursery.start_soon(ask, "few", "/worklist?limit=1")
    await settle()
    assert reads.began == 4
    reads.let_through()
    await settle()
    named = {item["workspace_id"] for item in answers["north"].json["items"]}
    assert named <= {"north"}
    assert answers["csv"].headers["content-type"].startswith("text/csv")
    assert len(answers["few"].json["items"]) <= 1


async def test_a_reading_that_fails_costs_those_who_wait_for_it_only(
    harness: Harness, reads: HeldReads, nursery: trio.Nursery
) -> None:
    reads.fault = EnvironmentFault("the database is away")
    reads.let_through()
    answers = await ask_all(harness, [HEALTH] * 3)
    assert {answer.status for answer in answers} == {503}
    reads.fault = None
    assert (await harness.ask("GET", HEALTH)).status == 200


async def test_a_client_that_leaves_costs_nobody_an_answer(
    harness: Harness, reads: HeldReads, nursery: trio.Nursery
) -> None:
    answers: list[Answer] = []

    async def ask(scope: trio.CancelScope) -> None:
        with scope:
            answers.append(await harness.ask("GET", HEALTH))

    scopes = [trio.CancelScope() for _ in range(5)]
    for scope in scopes:
        nursery.start_soon(ask, scope)
        await settle()
    assert reads.began == 1
    scopes[0].cancel()  # it reads; the second one is next, for all who wait
    await settle()
    assert reads.began == 2
    scopes[1].cancel()  # the others read for themselves
    await settle()
    assert reads.began == 5
    scopes[2].cancel()
    reads.let_through()
    await settle()
    assert [answer.status for answer in answers] == [200, 200]


async def test_later_pages_are_not_shared(harness: Harness, reads: HeldReads) -> None:
    reads.let_through()
    first = await harness.get(f"{HEALTH}?limit=1")
    later = f"{HEALTH}?limit=1&cursor={first['next_cursor']}"
    reads.began = 0
    answers = await ask_all(harness, [later] * 3)
    assert [answer.status for answer in answers] == [200] * 3
    assert reads.began == 3


async def test_pages_of_a_legacy_system_are_not_shared(
    harness: Harness, reads: HeldReads, nursery: trio.Nursery
) -> None:
    """One that hangs costs its deadline, and who comes later would wait for that of another."""
    await read_from(harness, "legacy")
    for _ in range(3):
        nursery.start_soon(harness.ask, "GET", HEALTH)
    await settle()
    assert reads.fleets == 3
    reads.let_through()
