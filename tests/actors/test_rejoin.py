"""Coming back after having been declared dead.

The end of the old session's last unit must be known before the next session begins, because the
session's row is the only evidence. The next session is known as our own even if the answer to its
beginning was lost.
"""

from __future__ import annotations

from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from actors.ingest import IngestActor
from actors.session import SessionKeeper, Superseded
from storage.faults import DatabaseAway
from tests.actors.harness import TTL_SECONDS, owned_by, said, update

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trio.testing import MockClock

    from domain.deferral import Key
    from domain.model import Receipt, SessionRef, Submission
    from domain.refusals import RefusalCounts
    from ports.sessions import SessionStart
    from storage.memory import MemoryStore
    from tests.actors.harness import Harness, Shard


class Hesitant:
    """A store between the ingest actor and the twin.

    The answer to the first commit is lost, and `load_last_unit` does not answer until `may_speak`.
    """

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.asked = trio.Event()
        self.may_speak = trio.Event()

    async def commit_unit(
        self,
        session: SessionRef,
        unit: int,
        submissions: Sequence[Submission],
        counts: RefusalCounts | None = None,
        writer: int = 0,
    ) -> Sequence[Receipt]:
        return await self._store.commit_unit(session, unit, submissions, counts, writer)

    async def load_last_unit(self, session: SessionRef, writer: int = 0) -> int | None:
        self.asked.set()
        await self.may_speak.wait()
        return await self._store.load_last_unit(session, writer)

    async def quarantine(self, *args: object) -> Sequence[Receipt]:
        raise NotImplementedError

    async def find_locked(self, rows: object) -> Mapping[Key, str]:
        raise NotImplementedError


@pytest.mark.parametrize("is_stored", [True, False])
async def test_the_row_of_a_dead_session_tells_of_its_unit_in_doubt(
    harness: Harness,
    shard: Shard,
    nursery: trio.Nursery,
    autojump_clock: MockClock,
    is_stored: bool,
) -> None:
    store, former = Hesitant(harness.store), shard.session
    ingest = IngestActor(store, shard.current, random=Random(7))
    keeper = SessionKeeper(
        "shard-1", harness.store, shard.current, shard.clock, shard.random, ttl_seconds=TTL_SECONDS
    )
    shard.ingest = ingest
    harness.store.lose_commit(after=is_stored)
    mine = shard.send(update("bus-1", 1, soc_percent=10), ownership=owned_by(former))
    anyones = shard.send(update("bus-2", 1, soc_percent=20), origin="http")
    nursery.start_soon(ingest.run)
    await store.asked.wait()
    await trio.sleep(TTL_SECONDS + 1)
    other = await harness.boot("shard-2")
    assert await harness.store.declare_dead(other.session) == [former]

    shard.current.mark_fenced(former)  # as a heartbeat does
    nursery.start_soon(partial(keeper.begin, after=former))
    await trio.testing.wait_all_tasks_blocked()
    store.may_speak.set()
    assert said(await mine.wait()) == ["accepted" if is_stored else "rejected:fenced"]
    assert said(await anyones.wait()) == ["accepted"]
    session = await shard.current.wait_for_session()
    assert session.epoch == former.epoch + 1
    nursery.cancel_scope.cancel()


class Forgetful:
    """Sessions of the twin. The answer to the first beginning gets lost behind its record."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._loses = True

    async def begin_session(self, shard_id: str, **terms: Any) -> SessionStart | None:
        start = await self._store.begin_session(shard_id, **terms)
        if self._loses:
            self._loses = False
            raise DatabaseAway("the answer was lost", retry_after=0.1)
        return start


async def test_a_rejoin_with_a_lost_answer_is_known_as_our_own(
    harness: Harness, shard: Shard, autojump_clock: MockClock
) -> None:
    former = shard.session
    sessions: Any = Forgetful(harness.store)
    keeper = SessionKeeper(
        "shard-1", sessions, shard.current, shard.clock, shard.random, ttl_seconds=TTL_SECONDS
    )
    shard.current.mark_fenced(former)
    session = await keeper.begin(after=former)
    assert session.epoch == former.epoch + 2
    await harness.store.begin_session("shard-1", ttl_seconds=TTL_SECONDS)
    with pytest.raises(Superseded):
        await keeper.begin(after=session)
