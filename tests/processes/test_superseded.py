"""A second process with the same shard_id: the first one ends and says why; history stays exact.

This happens with a copied configuration, or when an orchestrator starts the new container before it
has ended the old one.
"""

from __future__ import annotations

from random import Random
from signal import SIGTERM
from typing import TYPE_CHECKING, Final

import pytest
import trio

from lastheard.simulation import run_simulator
from tests.processes.fleets import make_depot, make_fleets, make_key
from tests.processes.history import find_faults, find_miscounted, find_unlogged, find_unstored
from tests.processes.poster import Poster
from tests.processes.rows import fetch_history, generation_of
from tests.processes.shard import find_uncounted, open_shard

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Stores

pytestmark = [pytest.mark.processes, pytest.mark.postgres]

EXIT_SUPERSEDED: Final = 75
# A unit notices at once, a heartbeat after 5 s. Then the steps of the ordered end have their
# budgets.
SUPERSEDED_SECONDS: Final = 30.0
FLEETS: Final = ("--devices", "20", "--tenants", "2", "--rate", "8", "--seed", "9")


async def test_the_first_process_ends_and_the_second_leaves_no_gap(
    dsn: str, postgres_stores: Stores, tmp_path: Path
) -> None:
    key = await make_key(postgres_stores)
    vans = await make_depot(postgres_stores, 20)
    # Each process has its own client with its own vehicles. So an update that is sent again was
    # sent by the same client before.
    first_poster, second_poster = (
        Poster(n, vans[i::2], key, Random(i)) for i, n in enumerate(("first", "second"))
    )
    async with run_simulator(*FLEETS) as simulated, trio.open_nursery() as nursery:
        await make_fleets(postgres_stores, simulated, tmp_path)
        async with open_shard(dsn, key) as first:
            first_poster.shard_port = first.port
            nursery.start_soon(first_poster.run)
            await first_poster.wait_for_verdicts(3)
            async with open_shard(dsn, key) as second:
                second_poster.shard_port = second.port
                nursery.start_soon(second_poster.run)

                assert await first.child.wait_ended(SUPERSEDED_SECONDS) == EXIT_SUPERSEDED, (
                    first.child.tail()
                )
                said = first.child.events("shard_superseded")
                first_poster.shard_port = second.port
                await first_poster.finish()
                await second_poster.wait_for_verdicts(3)
                await second_poster.finish()

                await second.wait_ready()
                uncounted = find_uncounted(await second.runtime())
                second.child.send(SIGTERM)
                assert await second.child.wait_ended() == 0, second.child.tail()

    assert len(said) == 1
    assert "LASTHEARD_SHARD_ID of its own" in said[0]["remedy"]
    assert (
        "LASTHEARD_SHARD_ID of its own" in second.child.events("shard_id_taken_over")[0]["remedy"]
    )
    assert "Traceback" not in first.child.errors
    assert uncounted == []
    events, devices = await fetch_history(dsn)
    generations = [generation_of(shard.child, killed=False) for shard in (first, second)]
    assert find_faults(events, devices) == []
    assert find_unlogged(generations, events) == []
    for poster in (first_poster, second_poster):
        assert find_unstored(poster.acknowledged, events) == []
        assert find_miscounted(poster.expected_events(), events) == []
    assert {event.epoch for event in events} == {1, 2}
