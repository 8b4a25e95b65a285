"""A session of psql locks one row. Data that needs the row waits, and all other data does not."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio

from storage.gateway import Database
from tests.acceptance.fleets import polled
from tests.acceptance.harness import open_harness, until
from tests.acceptance.shard import update
from tests.storage.holding import holding

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.conftest import Logbook
    from tests.acceptance.harness import Harness

HELD_SECONDS = 6.0
USUAL_SECONDS = 2.0


async def ingest_meanwhile(harness: Harness, *devices: tuple[str, str]) -> float:
    """Send to these devices in turn while a lock is held. Returns the longest time of an answer."""
    longest, until_then, value = 0.0, trio.current_time() + HELD_SECONDS, 0
    while trio.current_time() < until_then:
        for workspace_id, device_id in devices:
            value += 1
            begun, sent = (
                trio.current_time(),
                update(workspace_id, device_id, await harness.now(), odometer_km=value),
            )
            assert await harness.shard.outcomes(sent) == ["accepted"]
            longest = max(longest, trio.current_time() - begun)
            await trio.sleep(0.05)
    return longest


@pytest.mark.parametrize("table", ["snapshots", "device_state"])
async def test_one_locked_device_row_delays_only_what_carries_it(
    dsn: str, tmp_path: Path, logbook: Logbook, table: str
) -> None:
    answers: list[list[str]] = []
    async with open_harness(dsn, tmp_path) as harness, trio.open_nursery() as nursery:
        await harness.shard.add_pushed_fleet("harbour", ["bus-1", "bus-2"])
        await harness.shard.add_pushed_fleet("island", ["bus-1"])
        psql = Database(dsn, pool_size=1, application_name="psql")

        async def send(value: int) -> None:
            sent = update("harbour", "bus-1", await harness.now(), odometer_km=value)
            answers.append(await harness.shard.outcomes(sent))

        row = (
            f"SELECT 1 FROM {table} WHERE workspace_id = 'harbour' AND device_id = 'bus-1'"
            " FOR UPDATE"
        )
        async with holding(psql, row, seconds=HELD_SECONDS + 3):
            for value in (1, 2):
                nursery.start_soon(send, value)
                await trio.sleep(0.1)
            longest = await ingest_meanwhile(harness, ("island", "bus-1"), ("harbour", "bus-2"))
            assert await harness.shard.is_ready()
            assert answers == []
        with trio.fail_after(5):
            while len(answers) < 2:  # noqa: ASYNC110 - the answers come over the network
                await trio.sleep(0.05)
        assert answers == [["accepted"], ["accepted"]]
        events = await harness.shard.events("harbour", "bus-1")
        assert [
            (event["sequence"], event["readings"]["odometer_km"]["value"]) for event in events
        ] == [(1, 1), (2, 2)]
        await psql.aclose()
    assert longest < USUAL_SECONDS
    assert len(logbook.lines(event="ingest_deferred")) == 1
    assert len(logbook.lines(event="ingest_deferred_recovered")) == 1
    assert logbook.lines(event="ingest_commit_failed") == []


async def test_one_locked_connection_row_delays_only_its_workspace(
    dsn: str, tmp_path: Path
) -> None:
    held, free = polled("held"), polled("free")
    async with open_harness(dsn, tmp_path, held, free) as harness:
        for fleet in (held, free):
            await harness.add_fleet(fleet, interval=2)
        await harness.shard.add_pushed_fleet("island", ["bus-1"])
        for name in ("held", "free"):
            await until(partial(_completed, harness, name, 1))
        psql = Database(dsn, pool_size=1, application_name="psql")
        row = "SELECT 1 FROM connection_state WHERE workspace_id = 'held' FOR UPDATE"
        async with holding(psql, row, seconds=HELD_SECONDS + 3):
            before = {name: len(await harness.shard.cycles(name)) for name in ("held", "free")}
            assert await ingest_meanwhile(harness, ("island", "bus-1")) < USUAL_SECONDS
            assert await _completed(harness, "free", before["free"] + 2)
            assert not await _completed(harness, "held", before["held"] + 2)
        await psql.aclose()
        # The waiting data is committed, each cursor with its data, and the cycles go on.
        await until(lambda: _completed(harness, "held", before["held"] + 2))
        gaps = (
            "SELECT device_id FROM events GROUP BY workspace_id, device_id"
            " HAVING count(*) <> max(sequence)"
        )
        assert await harness.fetch(gaps) == []
        assert harness.shard.service.ingest.statistics().deferred.submissions == 0


async def _completed(harness: Harness, workspace_id: str, count: int) -> bool:
    cycles = await harness.shard.cycles(workspace_id)
    return len([cycle for cycle in cycles if cycle["outcome"] == "completed"]) >= count
