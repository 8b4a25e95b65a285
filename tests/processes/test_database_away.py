"""PostgreSQL goes away under load and comes back: nothing acknowledged is lost, with no help.

It is cut off or frozen by a proxy, or killed and started again. Meanwhile clients are told to come
back, streams stay connected and coalesce, and the probes name the fault.
"""

from __future__ import annotations

import os
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from random import Random
from signal import SIGKILL, SIGTERM
from typing import TYPE_CHECKING, Final

import pytest
import trio

from lastheard.simulation import Simulated, run_simulator
from storage.embedded import EmbeddedPostgres
from storage.gateway import Database, open_bridge
from storage.migrations import migrate
from tests.conftest import Stores, make_postgres_stores
from tests.postgres import public_folder
from tests.processes.database_proxy import Condition, DatabaseProxy, LostCommit, open_proxy
from tests.processes.fleets import ask_simulator, make_depot, make_fleets, make_key
from tests.processes.history import find_faults, find_miscounted, find_unlogged, find_unstored
from tests.processes.poster import BATCH_SIZE, Poster
from tests.processes.rows import fetch_history, generation_of
from tests.processes.shard import PREFIX, Shard, find_uncounted, open_shard

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    import httpx

pytestmark = [pytest.mark.processes, pytest.mark.postgres]

FLEETS: Final = (
    "--devices",
    "20",
    "--tenants",
    "2",
    "--rate",
    "8",
    "--faults",
    "duplicates=0.05",
    "--seed",
    "3",
)
COALESCED_FRAMES: Final = 200  # at least so many arrive while the database is away
RETURN_SECONDS: Final = 20.0
# A shard closes its streams when its trust window is over. Here the database is away for less than
# that.
TRUST_SECONDS: Final = "60"
# Liveness does not ask the database. Readiness waits up to 3 s for it.
ALIVE_SECONDS: Final = 1.0


@dataclass
class Scene:
    """A shard at work: streams are collected and a client posts."""

    shard: Shard
    simulated: Simulated
    poster: Poster
    dsn: str

    async def readings_sent(self) -> int:
        return int(
            (await ask_simulator(self.simulated, "/sim/statistics?brief=true"))["readings_sent"]
        )

    async def streams(self) -> list[tuple[str, int, str | None]]:
        """Return every stream connection that there was, and how it ended."""
        entries = await ask_simulator(self.simulated, "/sim/connections")
        return [(entry["tenant"], entry["number"], entry["ending"]) for entry in entries]


@asynccontextmanager
async def at_work(dsn: str, shard_dsn: str, stores: Stores, folder: Path) -> AsyncIterator[Scene]:
    """Open a shard at work. `dsn` is for the test, `shard_dsn` for the shard.

    At the end of the block the poster has all its verdicts.
    """
    key = await make_key(stores)
    poster = Poster("post", await make_depot(stores, 10), key, Random(11))
    async with run_simulator(*FLEETS) as simulated, trio.open_nursery() as nursery:
        await make_fleets(stores, simulated, folder)
        async with open_shard(shard_dsn, key, ttl_seconds=TRUST_SECONDS) as shard:
            poster.shard_port = shard.port
            nursery.start_soon(poster.run)
            await poster.wait_for_verdicts(3)
            await shard.child.wait_until(
                lambda: _streams_at_work(shard) == 2, "both streams accepted"
            )
            yield Scene(shard, simulated, poster, dsn)
            nursery.cancel_scope.cancel()


def _streams_at_work(shard: Shard) -> int:
    records = shard.child.events("telematics_update_accepted")
    return len({record["resource"] for record in records if record["origin"] == "stream"})


async def go_through(
    scene: Scene, leave: Callable[[], Awaitable[object]], come_back: Callable[[], Awaitable[object]]
) -> None:
    """Check the whole course of an absence, which is the same for every kind."""
    shard, poster = scene.shard, scene.poster
    streams, frames_before = (
        await scene.streams(),
        (await shard.runtime())["shard"]["frames"]["received"],
    )
    await leave()
    assert_told_to_come_back(await _post_until_refused(shard))
    unready = await shard.wait_unready()
    assert unready.status_code == 503
    assert unready.json()["checks"]["database"] is False
    assert "database" in unready.json()["detail"]
    with trio.fail_after(ALIVE_SECONDS):
        assert (await shard.get("/healthz")).status_code == 200
    sent = await scene.readings_sent()
    await wait_until_async(lambda: _more_than(scene, sent + COALESCED_FRAMES), 20.0)

    await come_back()
    await shard.wait_ready(RETURN_SECONDS)
    await poster.wait_for_verdicts(3)
    await poster.finish()
    for each in poster.refusals:
        assert_told_to_come_back(each)
    runtime = await shard.runtime()
    assert runtime["shard"]["frames"]["received"] >= frames_before + COALESCED_FRAMES
    assert runtime["ingest"]["failing"] is False
    assert find_uncounted(runtime) == []
    assert await scene.streams() == streams, "a stream was lost because the database was away"
    await assert_history_is_exact(scene)


def assert_told_to_come_back(answer: httpx.Response) -> None:
    assert answer.status_code == 503, answer.text
    assert int(answer.headers["retry-after"]) >= 1
    kind = answer.json()["type"].removeprefix("urn:lastheard:problem:")
    assert kind in ("dependency-away", "outcome-unknown", "overloaded", "deadline-passed"), (
        answer.text
    )


async def assert_history_is_exact(scene: Scene) -> None:
    """Check the history after an ordered end, when nothing is pending any more."""
    child = scene.shard.child
    child.send(SIGTERM)
    assert await child.wait_ended() == 0, child.tail()
    events, devices = await fetch_history(scene.dsn)
    assert find_faults(events, devices) == []
    assert find_unstored(scene.poster.acknowledged, events) == []
    assert find_miscounted(scene.poster.expected_events(), events) == []
    assert find_unlogged([generation_of(child, killed=False)], events) == []
    assert {event.workspace_id for event in events} >= {"depot", "fleet-01", "fleet-02"}


async def _post_until_refused(shard: Shard) -> httpx.Response:
    """Post with another client, because the poster may be waiting up to 10 s for a commit."""
    with trio.fail_after(RETURN_SECONDS):
        while True:
            answer = await shard.client.post(f"{PREFIX}/ingest", json={"updates": []})
            if answer.status_code != 200:
                return answer
            await trio.sleep(0.05)


async def _more_than(scene: Scene, readings: int) -> bool:
    return await scene.readings_sent() > readings


async def wait_until_async(condition: Callable[[], Awaitable[bool]], seconds: float) -> None:
    with trio.fail_after(seconds):
        while not await condition():  # noqa: ASYNC110 another process has no event
            await trio.sleep(0.1)


@pytest.mark.parametrize(
    "condition", [Condition.CUT, Condition.FROZEN], ids=lambda condition: condition.value
)
async def test_the_database_is_unreachable_for_a_while(
    dsn: str, postgres_stores: Stores, tmp_path: Path, condition: Condition
) -> None:
    async with (
        open_proxy(dsn) as proxy,
        at_work(dsn, proxy.dsn, postgres_stores, tmp_path) as scene,
    ):
        await go_through(scene, _changer(proxy, condition), _changer(proxy, Condition.OPEN))


def _changer(proxy: DatabaseProxy, condition: Condition) -> Callable[[], Awaitable[None]]:
    async def change() -> None:
        proxy.change(condition)
        await trio.lowlevel.checkpoint()

    return change


async def test_the_postmaster_is_killed_and_started_again(tmp_path: Path) -> None:
    with public_folder("lastheard-postmaster-") as folder:
        # The server has a real one's settings. Acknowledged data must survive, so none may be only
        # in a cache.
        server = EmbeddedPostgres(folder)
        try:
            await server.start()
            await migrate(server.dsn)
            await _go_through_on(server, tmp_path)
        finally:
            await server.stop()


async def _go_through_on(server: EmbeddedPostgres, folder: Path) -> None:
    async def kill() -> None:
        os.kill(server.pid, SIGKILL)
        await trio.lowlevel.checkpoint()

    async with (
        open_bridge(),
        aclosing(Database(server.dsn, pool_size=2)) as database,
        at_work(server.dsn, server.dsn, make_postgres_stores(database), folder) as scene,
    ):
        await go_through(scene, kill, server.start)


@pytest.mark.parametrize("fate", LostCommit, ids=lambda fate: fate.value)
async def test_a_commit_whose_answer_is_lost_is_stored_once(
    dsn: str, postgres_stores: Stores, fate: LostCommit
) -> None:
    key = await make_key(postgres_stores)
    poster = Poster("post", await make_depot(postgres_stores, 5), key, Random(5))
    async with (
        open_proxy(dsn) as proxy,
        open_shard(proxy.dsn, key) as shard,
        trio.open_nursery() as nursery,
    ):
        proxy.lose_commit_of("post-2", fate)
        await shard.wait_ready()
        poster.shard_port = shard.port
        nursery.start_soon(poster.run)
        await poster.wait_for_verdicts(5)
        await poster.finish()
        assert proxy.commits_lost == 1
        shard.child.send(SIGTERM)
        assert await shard.child.wait_ended() == 0
        assert len(shard.child.events("commit_was_unknown")) == 1
    events, devices = await fetch_history(dsn)
    # The process asked for the result by itself, so no client was refused.
    assert poster.refusals == []
    assert len(poster.acknowledged) == len(poster.batches) * BATCH_SIZE
    assert find_faults(events, devices) == []
    assert find_unstored(poster.acknowledged, events) == []
    assert find_miscounted(poster.expected_events(), events) == []
