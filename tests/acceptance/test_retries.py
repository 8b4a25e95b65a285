"""FR-015: data sent again changes nothing, in any number, in any order, through any shard."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any

import trio

from tests.acceptance.harness import open_harness
from tests.acceptance.shard import Shard, update

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.harness import Harness

BUSES = [f"bus-{number}" for number in range(5)]
READINGS = 30
SENDERS = 3  # to each of two shards
GUARDED = """
SELECT device_id, array_agg(sequence ORDER BY sequence) AS sequences,
       count(DISTINCT readings -> 'odometer_km' ->> 1) AS instants, max(s.version) AS version
FROM readable_events JOIN device_state s USING (workspace_id, device_id)
GROUP BY device_id ORDER BY device_id
"""


async def test_fr_015_a_batch_sent_again_changes_nothing(dsn: str, tmp_path: Path) -> None:
    async with open_harness(dsn, tmp_path) as harness:
        await harness.shard.add_pushed_fleet("harbour", BUSES)
        now = await harness.now()
        batch = [update("harbour", bus, now, soc_percent=61, odometer_km=1000) for bus in BUSES]
        assert await harness.shard.outcomes(*batch) == ["accepted"] * len(BUSES)
        before = await _stored(harness)
        assert await harness.shard.outcomes(*batch) == ["duplicate"] * len(BUSES)
        assert await _stored(harness) == before


async def test_fr_015_older_updates_are_stale_and_ties_a_conflict(dsn: str, tmp_path: Path) -> None:
    async with open_harness(dsn, tmp_path) as harness:
        await harness.shard.add_pushed_fleet("harbour", ["bus-1"])
        now = await harness.now()
        earlier, newer = now - timedelta(seconds=1), now + timedelta(seconds=1)
        assert await harness.shard.outcomes(
            update("harbour", "bus-1", now, soc_percent=61),
            update("harbour", "bus-1", earlier, soc_percent=62),
            update("harbour", "bus-1", now, soc_percent=63),
            update("harbour", "bus-1", now, soc_percent=61),
            # Of these two signals only the speed is new.
            update("harbour", "bus-1", earlier, soc_percent=62, speed_kmh=20),
            update("harbour", "bus-1", newer, soc_percent=60),
            update("harbour", "bus-1", newer + timedelta(minutes=10), soc_percent=59),
        ) == [
            "accepted",
            "stale",
            "conflict",
            "duplicate",
            "accepted",
            "accepted",
            "rejected:future_timestamp",
        ]
        values = await harness.shard.values("harbour", "bus-1")
        ledger = Counter(row["outcome"] for row in await harness.shard.rejections("harbour"))

    assert {name: (value, datetime.fromisoformat(at)) for name, (value, at) in values.items()} == {
        "soc_percent": (60, newer),
        "speed_kmh": (20, earlier),
    }
    assert ledger == {"stale": 1, "conflict": 1, "rejected": 1}


async def test_fr_015_two_shards_store_the_same_readings_at_most_once(
    dsn: str, tmp_path: Path
) -> None:
    """Every sender sends every reading, in its own order. The history has no gap and no repeat."""
    async with open_harness(dsn, tmp_path, shards=("shard-1", "shard-2")) as harness:
        await harness.shard.add_pushed_fleet("harbour", BUSES)
        began_at = await harness.now() - timedelta(seconds=READINGS)
        sent = [
            update("harbour", bus, began_at + timedelta(seconds=second), odometer_km=1000 + second)
            for second in range(READINGS)
            for bus in BUSES
        ]
        outcomes: Counter[str] = Counter()
        async with trio.open_nursery() as nursery:
            for seed, shard in enumerate(harness.shards * SENDERS):
                nursery.start_soon(_send_shuffled, shard, sent, seed, outcomes)
        guarded = await harness.fetch(GUARDED)
        values = [(await harness.shard.values("harbour", bus))["odometer_km"][0] for bus in BUSES]

    accepted = sum(len(row["sequences"]) for row in guarded)
    assert set(outcomes) <= {"accepted", "duplicate", "stale"}
    assert outcomes.total() == 2 * SENDERS * len(sent)
    assert outcomes["accepted"] == accepted
    for row in guarded:
        assert row["sequences"] == list(range(1, row["version"] + 1))
        assert row["instants"] == row["version"]
    assert values == [1000 + READINGS - 1] * len(BUSES)


async def _send_shuffled(
    shard: Shard, sent: list[dict[str, Any]], seed: int, outcomes: Counter[str]
) -> None:
    """Send ten updates at once, in an order that is only roughly that of time."""
    chance = Random(seed)
    order = sorted(range(len(sent)), key=lambda place: place + chance.uniform(0, 40))
    for cut in range(0, len(order), 10):
        outcomes.update(await shard.outcomes(*(sent[place] for place in order[cut : cut + 10])))


async def _stored(harness: Harness) -> list[Any]:
    tables = ("device_state", "snapshots", "events", "rejections")
    return [
        await harness.fetch(f"SELECT t.*, t.ctid::text FROM {table} t ORDER BY ctid")
        for table in tables
    ]
