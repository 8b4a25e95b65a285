"""The primary fails under load and its standby is promoted: a shard finds the new primary itself.

The shard's DSN has both hosts. Nothing acknowledged is lost with a synchronous standby. With an
asynchronous one, at most the data is lost that the standby had not received. Either way the history
on the new primary is whole. `pytest tests/processes/test_failover.py -s` prints the time of each
step.
"""

from __future__ import annotations

from contextlib import aclosing, asynccontextmanager
from signal import SIGKILL, SIGTERM
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest
import trio

from storage.embedded.server import DATABASE
from storage.gateway import Database, open_bridge
from tests.conftest import make_postgres_stores
from tests.processes.database_proxy import Condition
from tests.processes.history import find_faults, find_miscounted, find_unstored
from tests.processes.poster import BATCH_SIZE
from tests.processes.replication import Pair, Server, dsn_of, open_pair
from tests.processes.rows import fetch_history
from tests.processes.shard import SHARD_ID, Shard, find_uncounted
from tests.processes.test_database_away import (
    Scene,
    assert_history_is_exact,
    assert_told_to_come_back,
    at_work,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from datetime import datetime
    from pathlib import Path

    from tests.processes.history import Acknowledged, Event
    from tests.processes.poster import Poster

    Breakdown = Callable[[Server], Awaitable[None]]

pytestmark = [pytest.mark.cluster, pytest.mark.processes, pytest.mark.postgres]

RETURN_SECONDS: Final = 30.0
# Every 10 s the listener asks whether its server still takes writes. It began moments ago, so this
# is well before its first question.
LEFT_SECONDS: Final = 6.0
SESSIONS: Final = (
    f"SELECT count(*) FROM pg_stat_activity WHERE application_name = 'lastheard/{SHARD_ID}'"
)
LISTENERS: Final = f"{SESSIONS} AND query LIKE '%pg_is_in_recovery()%'"
LAST_UNIT: Final = "SELECT last_unit FROM session_writers WHERE writer = 0"
WAIT_FOR_STANDBY: Final = "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
END_WAITS: Final = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
)


class Failover(NamedTuple):
    """The instants of one failover, in database time.

    `batches` counts those that the client had begun when it was over.
    """

    broken_at: datetime
    gone_at: datetime
    promoted_at: datetime
    batches: int


@asynccontextmanager
async def at_work_on(pair: Pair, folder: Path, *hosts: Server) -> AsyncIterator[Scene]:
    """Open a shard at work that knows these hosts.

    Everything is configured on the primary and judged on the standby.
    """
    async with (
        open_bridge(),
        aclosing(Database(pair.primary.dsn, pool_size=2)) as database,
        at_work(pair.standby.dsn, dsn_of(*hosts), make_postgres_stores(database), folder) as scene,
    ):
        yield scene


async def killed(primary: Server) -> None:
    await primary.kill(SIGKILL)


async def silent(primary: Server) -> None:
    await primary.fall_silent()


async def fail_over(pair: Pair, scene: Scene, broken: Breakdown) -> Failover:
    """Fail over as an operator does: promote only when the old primary can write no more."""
    broken_at = await pair.standby.now()
    await broken(pair.primary)
    gone_at = await pair.standby.now()
    await pair.promote()
    return Failover(broken_at, gone_at, await pair.standby.now(), len(scene.poster.batches))


async def wait_resumed(scene: Scene) -> None:
    """Wait until client and streams are served again, without any help."""
    shard, poster = scene.shard, scene.poster
    heard = len(shard.child.events("telematics_update_accepted"))
    await poster.wait_for_verdicts(5, RETURN_SECONDS)
    await shard.wait_ready(RETURN_SECONDS)
    await shard.child.wait_until(
        lambda: _streams_heard(shard, heard) == 2, "both streams heard again", RETURN_SECONDS
    )
    await poster.finish()
    for each in poster.refusals:
        assert_told_to_come_back(each)
    runtime = await shard.runtime()
    assert runtime["ingest"]["failing"] is False
    assert find_uncounted(runtime) == []


def _streams_heard(shard: Shard, since: int) -> int:
    records = shard.child.events("telematics_update_accepted")[since:]
    return len({record["resource"] for record in records if record["origin"] == "stream"})


def acknowledged_of(poster: Poster, *, since: int) -> list[Acknowledged]:
    """Return the acknowledged updates of the batches begun after so many others."""
    later = set(list(poster.batches)[since:])
    return [each for each in poster.acknowledged if each.trace_id in later]


async def end(shard: Shard) -> None:
    shard.child.send(SIGTERM)
    assert await shard.child.wait_ended() == 0, shard.child.tail()


def report(
    name: str, failover: Failover, events: Sequence[Event], acknowledged: int, missing: int
) -> None:
    first = min(event.recorded_at for event in events if event.recorded_at > failover.gone_at)
    promotion, commit = failover.promoted_at - failover.broken_at, first - failover.promoted_at
    print(
        f"\nfailover, {name}: {promotion.total_seconds():.2f} s from failure to promotion,"
        f" {commit.total_seconds():.2f} s from there to the first commit,"
        f" {missing} of {acknowledged} acknowledged updates missing"
    )


async def test_a_synchronous_standby_loses_nothing_acknowledged(tmp_path: Path) -> None:
    async with open_pair() as pair, at_work_on(pair, tmp_path, pair.primary, pair.standby) as scene:
        await pair.make_synchronous()
        await scene.poster.wait_for_verdicts(10)
        streams = await scene.streams()
        failover = await fail_over(pair, scene, killed)
        await wait_resumed(scene)
        assert await scene.streams() == streams, "a stream was lost because the database was away"
        await assert_history_is_exact(scene)
        events, _ = await fetch_history(scene.dsn)
        report("synchronous standby", failover, events, len(scene.poster.acknowledged), 0)


async def test_a_unit_that_no_standby_confirmed_is_not_acknowledged(
    tmp_path: Path,
) -> None:
    """A COMMIT that is broken off while it waits for the standby is visible on the primary alone.

    If the shard asks the primary and takes the answer for an acknowledgement, the data is lost with
    that primary.
    """
    async with open_pair() as pair, at_work_on(pair, tmp_path, pair.primary, pair.standby) as scene:
        await pair.make_synchronous()
        await scene.poster.wait_for_verdicts(3)
        pair.link.change(Condition.FROZEN)
        await pair.primary.wait_for(WAIT_FOR_STANDBY, "t")
        await pair.standby.wait_for(
            "SELECT pg_last_wal_replay_lsn() = pg_last_wal_receive_lsn()", "t"
        )
        confirmed = int(await pair.standby.ask(LAST_UNIT, DATABASE) or 0)
        await break_off_commit(pair, after=confirmed)
        await pair.primary.wait_for(
            WAIT_FOR_STANDBY, "t"
        )  # the shard asked and has the answer, and has to wait for the standby too
        failover = await fail_over(pair, scene, killed)
        await wait_resumed(scene)
        unknown = scene.shard.child.events("commit_was_unknown")
        assert [(each["unit"], each["last_unit"]) for each in unknown] == [
            (confirmed + 1, confirmed)
        ]
        await assert_history_is_exact(scene)
        events, _ = await fetch_history(scene.dsn)
        report(
            "synchronous standby that fell behind",
            failover,
            events,
            len(scene.poster.acknowledged),
            0,
        )


async def break_off_commit(pair: Pair, *, after: int) -> None:
    """End sessions that wait for the standby, until the next unit is committed without it."""
    with trio.fail_after(RETURN_SECONDS):
        while int(await pair.primary.ask(LAST_UNIT, DATABASE) or 0) == after:
            await pair.primary.ask(END_WAITS)


@pytest.mark.parametrize("broken", [killed, silent])
async def test_an_asynchronous_standby_loses_only_the_newest_history(
    tmp_path: Path, broken: Breakdown
) -> None:
    async with open_pair() as pair, at_work_on(pair, tmp_path, pair.primary, pair.standby) as scene:
        poster = scene.poster
        followed = len(poster.acknowledged)
        await pair.wait_caught_up()
        pair.link.change(Condition.FROZEN)
        await poster.wait_for_verdicts(5)
        failover = await fail_over(pair, scene, broken)
        await wait_resumed(scene)
        await end(scene.shard)
        events, devices = await fetch_history(scene.dsn)
        missing = find_unstored(poster.acknowledged, events)
        name = f"asynchronous standby that fell behind, primary {broken.__name__}"
        report(name, failover, events, len(poster.acknowledged), len(missing))

        assert missing, "the standby had received everything, so nothing could get lost"
        assert find_unstored(poster.acknowledged[:followed], events) == []
        assert find_unstored(acknowledged_of(poster, since=failover.batches), events) == []
        assert find_faults(events, devices) == []
        assert (
            find_miscounted({trace_id: {0, BATCH_SIZE} for trace_id in poster.batches}, events)
            == []
        )


async def test_every_connection_follows_a_switchover_without_loss(
    tmp_path: Path,
) -> None:
    async with open_pair() as pair, at_work_on(pair, tmp_path, pair.primary, pair.standby) as scene:
        shard = scene.shard
        assert await pair.primary.ask(LISTENERS) == "1"
        # 1. The primary takes no more writes but still answers. No connection breaks, so the pool
        # must leave by itself.
        fenced_at = await pair.primary.now()
        await pair.primary.change("default_transaction_read_only", "on")
        await shard.child.wait_for_record("ingest_commit_failed")
        with trio.fail_after(LEFT_SECONDS):
            await pair.primary.wait_for(f"{SESSIONS} AND backend_start < '{fenced_at}'", "0")
        # 2. The roles change. The old primary returns as a standby and stays the first host.
        await pair.wait_caught_up()
        await pair.primary.stop()
        await pair.primary.start_following(pair.standby.port)
        await pair.promote()
        await wait_resumed(scene)
        assert await pair.primary.ask("SELECT pg_is_in_recovery()") == "t"
        assert (await shard.runtime())["database"]["expired"] >= 1
        await pair.standby.wait_for(LISTENERS, "1")
        await assert_history_is_exact(scene)
