"""Starts stay staggered when a killed shard's workspaces all go to another shard at once."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import chain, pairwise
from signal import SIGKILL
from typing import TYPE_CHECKING, Any, Final

import pytest
import trio

from tests.conftest import fetch
from tests.processes.cluster import wait_until
from tests.processes.fleets import make_key
from tests.processes.instances import add_workspace, ask
from tests.processes.shard import open_shard

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.conftest import Stores

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.processes,
    pytest.mark.postgres,
    pytest.mark.timeout(180),
]

WORKSPACES: Final = tuple(f"fleet-{number:02d}" for number in range(60))
INTERVAL: Final = 20  # so long that even a busy machine starts a wave in a part of it
TTL: Final = "3"
SECOND: Final = timedelta(seconds=1)
OWNED: Final = "SELECT count(*) FROM leases WHERE shard_id = 'shard-{}'"
# Regular starts, twice as many late ones, and what a busy machine may push together. Seven of ten
# workspaces have a late start: all of those in one second would be more than twice this.
MOST_IN_A_SECOND: Final = 3 * len(WORKSPACES) // INTERVAL + 6


async def test_fr_001_fr_002_d_002_a_takeover_keeps_starts_apart(
    dsn: str, postgres_stores: Stores
) -> None:
    """Each slot has its cycle, or is recorded as missed; the slots stay where they were."""
    key = await make_key(postgres_stores)
    settings = {"ttl_seconds": TTL, "min_poll_interval_seconds": "2"}

    async def owns(number: int, count: int) -> bool:
        ((found,),) = await trio.to_thread.run_sync(fetch, dsn, OWNED.format(number))
        return bool(found >= count)

    async with open_shard(dsn, key, shard_id="shard-1", **settings) as killed:
        for name in WORKSPACES:
            await add_workspace(killed, name, poll_interval_seconds=INTERVAL)
        await wait_until(lambda: owns(1, len(WORKSPACES)), "an owner of all", 30)
        await trio.sleep(INTERVAL)
        killed.child.send(SIGKILL)
        await killed.child.wait_ended()
    async with open_shard(dsn, key, shard_id="shard-2", **settings) as heir:
        await wait_until(lambda: owns(2, len(WORKSPACES)), "its heir", 30)
        await trio.sleep(1.3 * INTERVAL)
        cycles = {
            name: (await ask(heir, "GET", f"/workspaces/{name}/cycles?limit=100"))["items"]
            for name in WORKSPACES
        }

        taken_up_at = {
            record["workspace_id"]: datetime.fromisoformat(record["timestamp"])
            for record in heir.child.events("workspace_taken_up")
        }

    starts = _starts(chain.from_iterable(cycles.values()), by="shard-2")
    assert len(starts) >= 1.2 * len(WORKSPACES)
    assert _most_in_a_second(starts) <= MOST_IN_A_SECOND
    waits = list(_late_waits(cycles, taken_up_at))
    assert len(waits) > len(WORKSPACES) / 4
    assert sum(wait < 2 * SECOND for wait in waits) <= len(waits) / 2
    for of_one in cycles.values():
        # A slot may have two attempts, if the first one was killed.
        slots = sorted({datetime.fromisoformat(cycle["slot_start_at"]) for cycle in of_one})
        assert {later - earlier for earlier, later in pairwise(slots)} == {INTERVAL * SECOND}
        assert {cycle["shard_id"] for cycle in of_one} >= {"shard-1", "shard-2"}


def _late_waits(
    cycles: dict[str, list[dict[str, Any]]], taken_up_at: dict[str, datetime]
) -> Iterator[timedelta]:
    """Yield how long each late start waited after its workspace was taken up.

    By the rule a quarter of them wait less than 2 s. A busy shard takes up a few workspaces in a
    second, so starts at once would be no crowd in any second.
    """
    for name, of_one in cycles.items():
        (first, *_) = _starts(of_one, by="shard-2")
        (cycle,) = [each for each in of_one if _instant(each["started_at"]) == first]
        if datetime.fromisoformat(cycle["slot_start_at"]) < taken_up_at[name]:
            yield first - taken_up_at[name]


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _starts(cycles: Iterable[dict[str, Any]], *, by: str) -> list[datetime]:
    """Return when the shard started cycles, in order."""
    return sorted(
        datetime.fromisoformat(cycle["started_at"])
        for cycle in cycles
        if cycle["shard_id"] == by and cycle["started_at"] is not None
    )


def _most_in_a_second(starts: list[datetime]) -> int:
    return max(sum(start <= other < start + SECOND for other in starts) for start in starts)
