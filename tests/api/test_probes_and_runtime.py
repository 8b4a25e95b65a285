"""Alive, ready, and what the shards are doing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from api.app import create_app
from runtime.faults import EnvironmentFault

if TYPE_CHECKING:
    from datetime import datetime

    from trio.testing import MockClock

    from tests.api.harness import Harness


class _HangingDatabase:
    """Reads of a database that takes a question and never answers."""

    async def check_ready(self) -> int:
        await trio.sleep_forever()
        raise AssertionError("unreachable")


class _ClockUnknown:
    def now(self) -> datetime:
        raise EnvironmentFault("the database's clock has not been observed yet")


async def test_ready_lists_every_check(harness: Harness) -> None:
    answer = await harness.ask("GET", "/readyz", key=None)
    checks = {"database": True, "partitions": True, "ingest": True, "lanes": True}
    assert (answer.status, answer.json) == (200, {"checks": checks})


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


async def test_a_database_that_is_away_makes_it_not_ready_and_requests_503(
    harness: Harness,
) -> None:
    harness.store.go_away()
    ready = await harness.ask("GET", "/readyz", key=None)
    assert (ready.status, ready.json["checks"]["database"], ready.headers["retry-after"]) == (
        503,
        False,
        "5",
    )
    answer = await harness.ask("GET", "/workspaces")
    assert (answer.status, answer.problem, answer.headers["retry-after"]) == (
        503,
        "dependency-away",
        "1",
    )


async def test_a_database_that_hangs_makes_it_not_ready_in_time(
    harness: Harness, autojump_clock: MockClock
) -> None:
    harness.client = create_app(harness.make_services(reads=_HangingDatabase())).test_client()
    with trio.fail_after(4):
        answer = await harness.ask("GET", "/readyz", key=None)
    assert (answer.status, answer.json["checks"]["database"]) == (503, False)


async def test_before_the_databases_time_is_known_requests_are_503_and_it_is_alive(
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
