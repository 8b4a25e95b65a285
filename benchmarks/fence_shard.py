"""One shard of `make fence`, in a process of its own: an ingest actor with all its writers.

It sends updates of workspaces of its own and of one that all shards share, and begins a new session
whenever its session was ended by somebody else.
`python -m benchmarks.fence_shard DSN NAME UPDATES`.
"""

from __future__ import annotations

import sys
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Final

import trio

from actors.ingest import IngestActor
from actors.session import CurrentSession, SessionKeeper, Superseded
from benchmarks.names import PROVIDER
from benchmarks.workers import hear_word, say
from domain.model import CanonicalUpdate, Reading, Submission
from ports.sessions import VitalSigns
from runtime import garbage
from runtime.clock import SharedClock, SystemClock
from runtime.logs import configure_logging
from storage.gateway import open_bridge
from storage.ingest import PostgresIngestStore
from storage.pools import Pools
from storage.sessions import PostgresSessionStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from domain.model import Receipt, SessionRef

SHARED: Final = "shared"  # the workspace to which all shards write
OWN_WORKSPACES: Final = 20  # of each shard; enough for the units of all writers
DEVICES: Final = 40  # of each workspace
SUBMISSION_UPDATES: Final = 100
SHARED_EVERY: Final = 10  # submissions, of which one is of the shared workspace
_EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)


def workspaces_of(shard: str) -> list[str]:
    return [f"{shard}-{number}" for number in range(OWN_WORKSPACES)]


@dataclass
class Tally:
    """What the shard was told. `own` are updates of its own workspaces."""

    sent: int = 0
    accepted: int = 0
    own_refused: int = 0
    sessions: int = 0
    without_verdict: int = 0

    def take(self, submission: Submission, receipt: Receipt | None) -> None:
        if receipt is None:
            self.without_verdict += len(submission.updates)
            return
        accepted = sum(result.outcome == "accepted" for result in receipt.results)
        self.accepted += accepted
        if submission.updates[0].workspace_id != SHARED:
            self.own_refused += len(receipt.results) - accepted


async def main(dsn: str, shard: str, updates: int) -> None:
    pools = Pools(dsn, collecting=1, api=1, application_name=shard)
    async with open_bridge(), aclosing(pools), trio.open_nursery() as nursery:
        tally, current = Tally(), CurrentSession()
        ingest = IngestActor(PostgresIngestStore(pools.ingest), current, random=Random(1))
        clock = SharedClock(SystemClock())
        keeper = SessionKeeper(
            shard, PostgresSessionStore(pools.session), current, clock, Random(2), ttl_seconds=6.0
        )
        nursery.start_soon(keep_session, keeper, tally)
        await current.wait_for_session()
        garbage.freeze_and_tune()
        say(ready=True)
        await hear_word()
        async with trio.open_nursery() as committing:
            committing.start_soon(ingest.run)
            for submission in make_load(shard, updates):
                tally.sent += len(submission.updates)
                submission.resolve = partial(tally.take, submission)
                await ingest.submit(submission)
            ingest.close()
        statistics = ingest.statistics()
        say(
            sent=tally.sent,
            accepted=tally.accepted,
            own_refused=tally.own_refused,
            without_verdict=tally.without_verdict,
            sessions=tally.sessions,
            units=statistics.units,
            deferrals=statistics.deferred.deferrals,
        )
        await hear_word()
        nursery.cancel_scope.cancel()


async def keep_session(keeper: SessionKeeper, tally: Tally) -> None:
    """Begin a session, renew it until it is over, and begin the next one, for ever."""
    ended: SessionRef | None = None
    while True:
        try:
            session = await keeper.begin(after=ended)
        except Superseded:  # by the parent, as by a second process; go on as a third one
            session = await keeper.begin(after=None)
        tally.sessions += 1
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keeper.keep, session, VitalSigns)
            await keeper.current.wait_fenced(session)
            nursery.cancel_scope.cancel()
        ended = session


def make_load(shard: str, updates: int) -> Iterator[Submission]:
    """Yield the submissions. Every update of a device is newer than the one before."""
    random, own = Random(shard), workspaces_of(shard)
    for number in range(0, updates, SUBMISSION_UPDATES):
        is_shared = (number // SUBMISSION_UPDATES) % SHARED_EVERY == 0
        workspace_id = SHARED if is_shared else random.choice(own)
        yield Submission(
            "stream",
            "fence",
            updates=tuple(
                make_update(workspace_id, random.randrange(DEVICES), number + offset)
                for offset in range(SUBMISSION_UPDATES)
            ),
        )


def make_update(workspace_id: str, device: int, number: int) -> CanonicalUpdate:
    at = _EPOCH + timedelta(milliseconds=number)
    readings = (Reading("soc_percent", float(number % 100), at),)
    name = f"bus-{device}"
    return CanonicalUpdate(workspace_id, PROVIDER, name, None, None, readings, at, "fence")


if __name__ == "__main__":
    configure_logging(level="error")
    trio.run(main, sys.argv[1], sys.argv[2], int(sys.argv[3]))
