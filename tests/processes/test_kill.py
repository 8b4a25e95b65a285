"""`kill -9` under load, again and again: acknowledged data is stored exactly once.

One shard collects four chatty fleets with duplicates, late and malformed frames, while a client
posts batches. It is killed at seeded instants, each a few commits into a process's life, and
started again with the same shard_id.
"""

from __future__ import annotations

from random import Random
from signal import SIGKILL, SIGTERM
from typing import TYPE_CHECKING, Final

import pytest
import trio

from lastheard.simulation import run_simulator
from tests.processes.fleets import make_depot, make_fleets, make_key
from tests.processes.history import (
    Generation,
    find_faults,
    find_miscounted,
    find_unlogged,
    find_unstored,
)
from tests.processes.poster import Poster
from tests.processes.rows import fetch_history, generation_of
from tests.processes.shard import Shard, find_uncounted, open_shard

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Stores
    from tests.processes.child import Child

pytestmark = [pytest.mark.processes, pytest.mark.postgres]

SEED: Final = 20260501
KILLS: Final = 4
MAX_COMMITS: Final = 80
FLEETS: Final = (
    *(
        "--devices",
        "48",
        "--tenants",
        "4",
        "--rfms-tenants",
        "1",
        "--rate",
        "8",
        "--report-interval",
        "1",
    ),
    *("--faults", "duplicates=0.1,out_of_order=0.1,malformed=0.01", "--seed", "7"),
)


async def test_fr_015_a_kill_neither_loses_nor_repeats_acknowledged_data(
    dsn: str, postgres_stores: Stores, tmp_path: Path
) -> None:
    random = Random(SEED)
    key = await make_key(postgres_stores)
    poster = Poster("post", await make_depot(postgres_stores, 30), key, random)
    generations: list[Generation] = []
    async with run_simulator(*FLEETS) as simulated, trio.open_nursery() as nursery:
        await make_fleets(postgres_stores, simulated, tmp_path)
        for number in range(KILLS):
            async with open_shard(dsn, key) as shard:
                poster.shard_port = shard.port
                if number == 0:
                    nursery.start_soon(poster.run)
                generations.append(await _kill_some_time(shard, random))
        async with open_shard(dsn, key) as shard:
            poster.shard_port = shard.port
            await shard.child.wait_until(
                lambda: len(_workspaces_heard(shard.child)) == 5, "all fleets heard"
            )
            await poster.finish()
            uncounted = find_uncounted(await shard.runtime())
            shard.child.send(SIGTERM)
            assert await shard.child.wait_ended() == 0, shard.child.tail()
            generations.append(generation_of(shard.child, killed=False))

    events, devices = await fetch_history(dsn)
    assert poster.broken_off >= 1, "no kill met a request in flight, so no answer could get lost"
    assert uncounted == []
    assert [each.epoch for each in generations] == list(range(1, KILLS + 2))
    assert find_faults(events, devices) == []
    assert find_unstored(poster.acknowledged, events) == []
    assert find_miscounted(poster.expected_events(), events) == []
    assert find_unlogged(generations, events) == []


async def _kill_some_time(shard: Shard, random: Random) -> Generation:
    """Kill the process after so many commits and a random part of the next one."""
    child, commits = shard.child, random.randint(1, MAX_COMMITS)
    await child.wait_until(lambda: _accepted_from(child, "stream") >= 3, "streams at work")
    await child.wait_until(
        lambda: len(child.events("telematics_update_accepted")) >= commits, f"{commits} commits"
    )
    await trio.sleep(random.uniform(0.0, 0.05))
    child.send(SIGKILL)
    assert await child.wait_ended() == -SIGKILL
    return generation_of(child, killed=True)


def _workspaces_heard(child: Child) -> set[str]:
    return {record["workspace_id"] for record in child.events("telematics_update_accepted")}


def _accepted_from(child: Child, origin: str) -> int:
    return sum(record["origin"] == origin for record in child.events("telematics_update_accepted"))
