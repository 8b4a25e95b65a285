"""The product's way from the mailbox to the commit, in a process of its own.

Only this file of the benchmarks calls the product. Import few and stable names from the product
here, because this file drives old commits too. `python -m benchmarks.ingest_driver DSN UPDATES
DEVICES [SIZE]`, with the product first on the path; SIZE devices are one workspace each.
"""

from __future__ import annotations

import sys
import time
from contextlib import aclosing
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any

import trio

from actors.ingest import IngestActor
from actors.session import CurrentSession
from benchmarks.load import UPDATES_PER_SUBMISSION, Load, Update, workspace_of
from benchmarks.names import PROVIDER
from benchmarks.verification import DURABILITY
from benchmarks.workers import hear_word, say
from domain.model import CanonicalUpdate, Ownership, Reading, Submission
from runtime import garbage
from runtime.logs import configure_logging
from storage.gateway import open_bridge
from storage.ingest import PostgresIngestStore
from storage.pools import Pools
from storage.sessions import PostgresSessionStore

try:
    from domain import position
except ImportError:  # old commits judge the halves of a position one by one
    position = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Sequence

    from domain.model import SessionRef
    from storage.gateway import Database

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


async def main(dsn: str, load: Load, size: int) -> None:
    """Commit the load, then try a unit under a session that is over.

    Tells the parent when it is ready, and waits for its word before each of the two steps.
    """
    pools = Pools(dsn, collecting=1, api=1, application_name="bench")
    async with open_bridge(), aclosing(pools):
        start = await PostgresSessionStore(pools.session).begin_session("bench", ttl_seconds=3600)
        if start is None:
            raise RuntimeError("somebody else has this shard's session")
        store, session = PostgresIngestStore(pools.ingest), start.session
        submissions = _submissions(load.make(), session, size)
        say(ready=True, shard_id=session.shard_id)
        await hear_word()
        told = await _commit(store, session, submissions)
        say(**told, durability=await _ask_durability(pools.ingest))
        await hear_word()
        late = _submissions(load.after_the_end(), session, size)
        say(**await _try_dead(store, session, len(submissions) + 1, late))
        # The connections stay open until the parent has read PostgreSQL's core time.
        await hear_word()


async def _commit(
    store: PostgresIngestStore, session: SessionRef, submissions: Sequence[Submission]
) -> dict[str, Any]:
    """Commit all submissions through mailbox, ingest actor and bridge, to the last receipt."""
    current = CurrentSession()
    current.replace(session)
    ingest = IngestActor(store, current, random=Random(1))
    _tune_garbage_collector()
    began, cores = time.monotonic(), time.process_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ingest.run)
        for submission in submissions:
            await ingest.submit(submission)
        ingest.close()
    seconds, cores = time.monotonic() - began, time.process_time() - cores
    counts = _as_mapping(ingest.statistics())
    told = {name: counts[name] for name in ("submitted", "pending", "units", "largest_unit")}
    told["outcomes"] = {str(outcome): number for outcome, number in counts["outcomes"].items()}
    return {"seconds": seconds, "cores": cores, "counts": told}


def _tune_garbage_collector() -> None:
    """Set the collector as the service does. Its function has an older name in old commits."""
    names = ("freeze_and_tune", "settle")
    tune = next(getattr(garbage, name) for name in names if hasattr(garbage, name))
    tune()


def _as_mapping(statistics: Any) -> dict[str, Any]:
    """Return the statistics by name. Old commits return a dict, later ones a record."""
    if isinstance(statistics, dict):
        return statistics
    return {field.name: getattr(statistics, field.name) for field in fields(statistics)}


async def _try_dead(
    store: PostgresIngestStore, session: SessionRef, unit: int, late: Sequence[Submission]
) -> dict[str, Any]:
    """Return whether the unit was refused, and by which exception.

    Any exception is a refusal. The parent checks what was written.
    """
    try:
        await store.commit_unit(session, unit, late)
    except Exception as error:
        return {"refused": True, "by": type(error).__name__}
    return {"refused": False, "by": None}


async def _ask_durability(database: Database) -> dict[str, str]:
    """Read the durability settings in the pool that committed the load.

    They can differ from the server's, since a session can change them for itself.
    """
    statement = "SELECT name, setting FROM pg_settings WHERE name = ANY($1::text[])"

    async def work(connection: Any) -> dict[str, str]:
        return {row[0]: row[1] for row in await connection.fetch(statement, list(DURABILITY))}

    return await database.run(work)


def _submissions(updates: Sequence[Update], session: SessionRef, size: int) -> list[Submission]:
    """Return the updates in submissions of one workspace each: of `size` devices, or of all."""
    per_submission = size or UPDATES_PER_SUBMISSION
    parts = (
        updates[start : start + per_submission] for start in range(0, len(updates), per_submission)
    )
    return [
        _submission(part, workspace_of(part[0].device_id, size), session, number)
        for number, part in enumerate(parts)
    ]


def _submission(
    updates: Sequence[Update], workspace_id: str, session: SessionRef, number: int
) -> Submission:
    # Old commits, which this file drives too, have no type for the name of a resource.
    resource: Any = f"workspace:{workspace_id}"
    trace_id = f"{number:032x}"  # as the service makes them
    return Submission(
        origin="stream",
        trace_id=trace_id,
        updates=tuple(_to_canonical(update, workspace_id, trace_id) for update in updates),
        ownership=Ownership(resource, session.shard_id, session.epoch, 1),
    )


def _to_canonical(update: Update, workspace_id: str, trace_id: str) -> CanonicalUpdate:
    readings = tuple(Reading(signal, value, _at(at)) for signal, value, at in update.readings)
    if position is not None:
        readings = position.pair_positions(readings)
    return CanonicalUpdate(
        workspace_id,
        PROVIDER,
        update.device_id,
        update.device_id,
        None,
        readings,
        _at(update.received_ms),
        trace_id,
    )


def _at(milliseconds: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=milliseconds)


if __name__ == "__main__":
    configure_logging(level="error")
    updates, devices, size, *_ = [*map(int, sys.argv[2:]), 0]
    trio.run(main, sys.argv[1], Load(updates, devices), size)
