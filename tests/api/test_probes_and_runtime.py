"""The probes, and the report on the shards."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

import trio

from api.app import create_app
from runtime.faults import EnvironmentFault
from storage.gateway import Database
from tests.conftest import make_postgres_stores

if TYPE_CHECKING:
    from datetime import datetime

    from trio.testing import MockClock

    from tests.api.harness import Answer, Harness


class _HangingDatabase:
    """Reads of a database that never answers a query."""

    def __init__(self) -> None:
        self.asked = trio.Event()

    async def check_ready(self) -> int:
        self.asked.set()
        await trio.sleep_forever()
        raise AssertionError("unreachable")


class _ClockUnknown:
    def now(self) -> datetime:
        raise EnvironmentFault("the database's clock has not been observed yet")


async def test_ready_lists_every_check(harness: Harness) -> None:
    answer = await harness.ask("GET", "/readyz", key=None)
    checks = {"database": True, "partitions": True, "ingest": True, "lanes": True}
    assert (answer.status, answer.json) == (200, {"checks": checks, "collecting_paused": False})


async def test_a_full_lane_makes_it_not_ready_and_stays_alive(harness: Harness) -> None:
    harness.ready["lanes"] = False
    answer = await harness.ask("GET", "/readyz", key=None)
    assert (answer.status, answer.problem) == (503, "dependency-away")
    assert answer.json["checks"]["lanes"] is False
    assert answer.json["detail"] == "Not ready: lanes."
    assert (await harness.ask("GET", "/healthz", key=None)).status == 200


async def test_without_partitions_for_two_days_it_is_not_ready(harness: Harness) -> None:
    harness.let_pass(6 * 86_400)
    answer = await harness.ask("GET", "/readyz", key=None)
    assert (answer.status, answer.json["checks"]["partitions"]) == (503, False)


async def test_while_the_database_is_away_it_is_not_ready_and_503(
    harness: Harness,
) -> None:
    async with aclosing(Database("postgresql://postgres@127.0.0.1:1/nobody-listens")) as away:
        stores = make_postgres_stores(away)
        harness.client = create_app(
            harness.make_services(registry=stores.registry, reads=stores.reads, keys=stores.keys)
        ).test_client()
        ready = await harness.ask("GET", "/readyz", key=None)
        answer = await harness.ask("GET", "/workspaces")
    assert (ready.status, ready.json["checks"]["database"], ready.headers["retry-after"]) == (
        503,
        False,
        "5",
    )
    assert (answer.status, answer.problem, answer.headers["retry-after"]) == (
        503,
        "dependency-away",
        "1",
    )


async def test_a_database_that_hangs_makes_it_not_ready_in_time(
    harness: Harness, mock_clock: MockClock
) -> None:
    reads = _HangingDatabase()
    harness.client = create_app(harness.make_services(reads=reads)).test_client()
    answers: list[Answer] = []

    async def ask() -> None:
        answers.append(await harness.ask("GET", "/readyz", key=None))

    async with trio.open_nursery() as asking:
        asking.start_soon(ask)
        await reads.asked.wait()
        mock_clock.jump(4)
    assert (answers[0].status, answers[0].json["checks"]["database"]) == (503, False)


async def test_before_the_databases_time_is_known_requests_are_503(
    harness: Harness,
) -> None:
    harness.client = create_app(harness.make_services(clock=_ClockUnknown())).test_client()
    answer = await harness.ask("GET", "/workspaces")
    assert (answer.status, answer.problem) == (503, "dependency-away")
    assert (await harness.ask("GET", "/healthz", key=None)).status == 200


async def test_the_runtime_shows_this_process_and_all_shards(harness: Harness) -> None:
    runtime = await harness.get("/runtime")
    assert runtime["process"]["shard_id"] == "shard-1"
    assert runtime["process"]["http"]["in_flight"] == 1
    assert [shard["shard_id"] for shard in runtime["shards"]] == ["shard-1"]
