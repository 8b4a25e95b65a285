"""The faults of our own side and of the customer, in the timetable of a verdict run.

Owns the acts: a shard is paused, then killed; rows are held locked; everything stops. Meanwhile one
connection gets a wrong address, and one is switched off.
"""

from __future__ import annotations

import asyncio
from time import time
from typing import TYPE_CHECKING, Final, NamedTuple

import asyncpg
import trio

from benchmarks.truth import CUSTOMER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.verdict_record import Record
    from benchmarks.verdict_service import Account, Shards

SHARDS: Final = ("verdicts-1", "verdicts-2")
VICTIM: Final = SHARDS[1]


class Plan(NamedTuple):
    """The size of a run. `pace`: troubles come so many times as often as in the long run.

    `without`: names of faults that are left out, joined by '+'. `save`: a file for the samples and
    the story, for a closer look.
    """

    seconds: float = 600.0
    devices: int = 200
    every: float = 2.0  # between two samples of a device
    seed: int = 0
    pace: float = 1.0
    has_backlog: bool = True
    save: str | None = None
    without: str = ""


async def trouble_ourselves(plan: Plan, shards: Shards, record: Record, dsn: str) -> None:
    """Pause a shard, kill one, hold rows locked, and stop everything, one after the other."""
    part = plan.seconds / 12
    length = max(12.0, part / 2)
    await trio.sleep(2.5 * part)
    _begin_gaps(record, "shard paused", VICTIM)
    shards.pause(VICTIM)
    await trio.sleep(length)
    shards.go_on(VICTIM)
    await trio.sleep(2 * part)
    _begin_gaps(record, "shard killed", VICTIM)
    await shards.kill(VICTIM)
    await trio.sleep(length)
    await shards.start(VICTIM)
    if plan.has_backlog:
        await trio.sleep(1.5 * part)
        await _hold_rows(record, dsn, length + record.limits.backlog)
    await trio.sleep(part)
    _begin_gaps(record, "all stopped", None)
    for name in SHARDS:
        await shards.end(name)
    await trio.sleep(length)
    for name in SHARDS:
        await shards.start(name)


async def misconfigure(
    plan: Plan, shards: Shards, accounts: Mapping[str, Account], record: Record
) -> None:
    """Give one connection a wrong address for a while, and switch another one off."""
    part = plan.seconds / 12
    length = max(15.0, part / 2)
    wrong, off = accounts["stream-noisy"], accounts["rfms-unsorted"]
    hidden = record.limits.due + record.limits.interval
    await trio.sleep(part)
    record.begin(wrong.name, "wrong address", time() + length, hidden)
    address = {"base_url": f"{wrong.http_url}/nowhere"}
    await shards.put(wrong.path, wrong.connection(**address))
    record.begin(off.name, "switched off", time() + length, record.limits.interval, CUSTOMER)
    await shards.put(off.path, off.connection(active=False))
    await trio.sleep(length)
    await shards.put(wrong.path, wrong.connection())
    await shards.put(off.path, off.connection())


def _begin_gaps(record: Record, name: str, owner: str | None) -> None:
    """Note a gap of ours for the workspaces of a shard; of every shard if it is None."""
    for workspace, found in record.owners.items():
        if owner is None or found == owner:
            record.begin(workspace, name, None, record.limits.overdue)


async def _hold_rows(record: Record, dsn: str, seconds: float) -> None:
    """Lock the rows of one workspace for so long, so that its updates wait."""
    workspace = sorted(record.owners)[-1]
    hidden = record.limits.backlog + record.limits.interval
    record.begin(workspace, "updates wait", time() + seconds, hidden)

    async def hold() -> None:
        connection = await asyncpg.connect(dsn, timeout=10)
        try:
            async with connection.transaction():
                await connection.fetch(
                    "SELECT 1 FROM device_state WHERE workspace_id = $1 FOR UPDATE", workspace
                )
                await asyncio.sleep(seconds)
        finally:
            await connection.close()

    await trio.to_thread.run_sync(lambda: asyncio.run(hold()), abandon_on_cancel=True)
