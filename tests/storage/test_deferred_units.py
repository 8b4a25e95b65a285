"""The ingest actor on PostgreSQL while another transaction holds a row, a table or the session."""

from __future__ import annotations

from contextlib import asynccontextmanager
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
import trio

from actors.ingest import IngestActor
from actors.session import CurrentSession
from domain.cycles import CycleEnd, CycleOutcome
from domain.model import CursorAdvance, Ownership, Receipt, Submission
from domain.resource import workspace_resource
from domain.schedule import cycle_id
from runtime.reply import Reply
from tests.storage.contract.cast import HARBOUR, ISLAND, populate, said, slot
from tests.storage.contract.conftest import InsidePostgres
from tests.storage.holding import holding

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from domain.model import CanonicalUpdate
    from storage.gateway import Database
    from tests.conftest import Stores
    from tests.storage.contract.cast import World

# at most (a transaction of the gateway lasts 10 s); each test lets go when it has seen enough
HELD_SECONDS = 9.0
SOON_SECONDS = 4.0  # a look, and a unit that waits its 0.5 s
A_BUS = "SELECT 1 FROM {} WHERE workspace_id = 'harbour' AND device_id = 'bus-1' FOR UPDATE"

A_CONNECTION = (
    "SELECT 1 FROM connection_state "
    "WHERE workspace_id = 'harbour' AND provider_id = 'steady' FOR UPDATE"
)


@pytest.fixture
async def world(postgres_stores: Stores, database: Database) -> World:
    return await populate(postgres_stores, InsidePostgres(database))


class RunningIngest:
    """A running ingest actor and the replies that it owes."""

    def __init__(self, world: World) -> None:
        current = CurrentSession()
        current.replace(world.session)
        session = world.session
        self._mine = Ownership(workspace_resource(HARBOUR), session.shard_id, session.epoch, 1)
        self.ingest = IngestActor(world.stores.ingest, current, random=Random(7))

    def send(self, *updates: CanonicalUpdate, **rest: Any) -> Reply[Receipt | None]:
        reply: Reply[Receipt | None] = Reply()
        plain = {"origin": "poll", "ownership": self._mine}
        self.ingest.submit_nowait(
            Submission(
                trace_id="trace-1", updates=updates, resolve=reply.resolve, **{**plain, **rest}
            )
        )
        return reply

    def check_identity(self) -> None:
        counted = self.ingest.statistics()
        assert counted.submitted == sum(counted.outcomes.values()) + counted.pending


@asynccontextmanager
async def working(world: World) -> AsyncIterator[RunningIngest]:
    running = RunningIngest(world)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(running.ingest.run)
        yield running
        nursery.cancel_scope.cancel()


async def outcomes(
    *replies: Reply[Receipt | None], seconds: float = SOON_SECONDS
) -> list[list[str]]:
    told = []
    with trio.fail_after(seconds):
        for reply in replies:
            receipt = await reply.wait()
            assert receipt is not None
            told.append([said(result) for result in receipt.results])
    return told


async def cursor_of(world: World) -> str | None:
    fleet = await world.stores.sessions.load_fleet(HARBOUR)
    assert fleet is not None
    return fleet.cursors.get("steady")


@pytest.mark.parametrize("table", ["device_state", "snapshots"])
async def test_cursor_and_cycle_end_commit_behind_waiting_data(
    world: World, database: Database, table: str
) -> None:
    """A page in two parts with its cursor on the second, a next page, and the cycle's end."""
    await world.start(slot())
    end = CycleEnd(slot(), cycle_id(slot()), world.now, CycleOutcome.COMPLETED, {})
    first, second = world.ago(minutes=3), world.ago(minutes=2)
    async with working(world) as running:
        async with holding(database, A_BUS.format(table), seconds=HELD_SECONDS):
            held = [
                running.send(world.update("bus-1", first, soc_percent=1.0)),
                running.send(
                    world.update("bus-2", first, soc_percent=1.0),
                    cursor=CursorAdvance(HARBOUR, "steady", "1"),
                ),
                running.send(
                    world.update("bus-2", second, soc_percent=2.0),
                    cursor=CursorAdvance(HARBOUR, "steady", "2"),
                ),
                running.send(cycle=end),
            ]
            other = running.send(world.update("ferry-1", first, soc_percent=1.0))
            assert await outcomes(other) == [["accepted"]]
            again = running.send(world.update("bus-1", second, soc_percent=2.0))
            await trio.sleep(2)
            assert not any(reply.done for reply in (*held, again))
            assert await cursor_of(world) is None  # a crash here fetches the first page again
            assert (await world.outcomes(), await world.sequences("bus-2")) == (["running"], [])
            running.check_identity()
        accepted = await outcomes(*held, again)
        assert accepted == [["accepted"], ["accepted"], ["accepted"], [], ["accepted"]]
        running.check_identity()
    assert (await cursor_of(world), await world.outcomes()) == ("2", ["completed"])
    assert (await world.sequences("bus-1"), await world.sequences("bus-2")) == ([2, 1], [2, 1])


async def test_poison_beside_a_locked_row_stops_nobody(world: World, database: Database) -> None:
    """PostgreSQL refuses the poisoned event before the unit asks for the connection's lock."""
    at = world.ago(minutes=3)
    async with working(world) as running:
        async with holding(database, A_CONNECTION, seconds=HELD_SECONDS):
            held = running.send(
                world.update("bus-1", at, soc_percent=1.0),
                cursor=CursorAdvance(HARBOUR, "steady", "1"),
            )
            poison = running.send(world.update("tram-1", at, soc_percent=1.0, trace_id="a\x00b"))
            other = running.send(world.update("ferry-1", at, soc_percent=1.0))
            assert await outcomes(poison, other) == [["quarantined:data_error"], ["accepted"]]
            assert (held.done, await cursor_of(world)) == (False, None)
        assert await outcomes(held) == [["accepted"]]
        running.check_identity()
    assert await cursor_of(world) == "1"


@pytest.mark.parametrize(
    "statement",
    [
        "LOCK TABLE snapshots IN ACCESS EXCLUSIVE MODE",
        "LOCK TABLE events IN ACCESS EXCLUSIVE MODE",
        "SELECT 1 FROM sessions FOR UPDATE",
    ],
)
async def test_a_locked_table_or_session_loses_nothing(
    world: World, database: Database, statement: str
) -> None:
    at = world.ago(minutes=3)
    async with working(world) as running:
        async with holding(database, statement, seconds=HELD_SECONDS):
            held = [
                running.send(
                    world.update("bus-1", at, soc_percent=1.0),
                    cursor=CursorAdvance(HARBOUR, "steady", "1"),
                ),
                running.send(
                    world.update("bus-1", at, soc_percent=2.0, workspace_id=ISLAND), origin="http"
                ),
            ]
            await trio.sleep(6)  # longer than two lock timeouts, the unit's and that of the look
            assert running.ingest.statistics().failing
            assert running.ingest.oldest_waiting_seconds() >= 5
            assert running.ingest.statistics().deferred.submissions == 0
            assert not any(reply.done for reply in held)
        # The back-off waits at most 5 s, then the unit commits.
        assert await outcomes(*held, seconds=5 + SOON_SECONDS) == [["accepted"], ["accepted"]]
        assert not running.ingest.statistics().failing
        running.check_identity()
    assert (await world.sequences("bus-1"), await cursor_of(world)) == ([1], "1")
