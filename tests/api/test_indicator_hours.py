"""Hours that are counted in advance: they change no answer, and can be made again."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from domain.cycles import CycleKey, CycleTrigger
from domain.schedule import cycle_id
from ports.cycles import WantedCycle
from tests.api.seeded_hour import play
from tests.api.standing_time import START

if TYPE_CHECKING:
    from tests.api.harness import Harness
    from tests.api.standing_time import FrozenDatabase

PATH = "/workspaces/north/indicators"
SPANS = (
    "from=2026-05-01T12:00:00Z",
    "from=2026-05-01T12:20:00Z&to=2026-05-01T14:10:00Z",
    "from=2026-05-01T12:59:59Z",
    "from=2026-05-01T11:00:00Z&to=2026-05-01T13:00:00Z",
)


async def build(harness: Harness, hours_back: int = 48) -> int:
    return await harness.stores.rollups.build_hours(hours_back=hours_back, most=100)


async def read_hours(frozen: FrozenDatabase) -> dict[str, str]:
    """Return the stored bytes of north's hours."""
    rows = await frozen.run(
        lambda connection: connection.fetch(
            "SELECT hour, content::text AS content FROM indicator_hours"
            " WHERE workspace_id = 'north'"
        )
    )
    return {row["hour"].isoformat(): row["content"] for row in rows}


async def run(frozen: FrozenDatabase, statement: str) -> None:
    await frozen.run(lambda connection: connection.execute(statement))


async def go_on(harness: Harness) -> None:
    """Let both workspaces go on to the next hour, until the last one can change no more."""
    harness.let_pass(20 * 60)
    for workspace in ("north", "south"):
        await harness.run_cycle(workspace)


async def test_fr_009_counted_hours_change_no_answer(
    harness: Harness, frozen: FrozenDatabase
) -> None:
    await play(harness, 4, slots=24)
    await go_on(harness)
    before = [await harness.get(f"{PATH}?{span}") for span in SPANS]
    assert await build(harness) == 4  # two of each workspace
    assert len(await read_hours(frozen)) == 2
    assert [await harness.get(f"{PATH}?{span}") for span in SPANS] == before
    # They are read, not counted again.
    await run(frozen, "DELETE FROM events; DELETE FROM poll_cycles; DELETE FROM rejections")
    shown = await harness.get(f"{PATH}?from=2026-05-01T12:00:00Z&to=2026-05-01T14:00:00Z")
    assert shown["cycles"]["slots"] == 24


async def test_fr_009_rollups_rebuilt_from_the_facts_are_byte_identical(
    harness: Harness, frozen: FrozenDatabase
) -> None:
    await play(harness, 5)
    await go_on(harness)
    await build(harness)
    first = await read_hours(frozen)
    assert first["2026-05-01T12:00:00+00:00"].startswith('{"active":36,"cycle ')
    await run(frozen, "DELETE FROM indicator_hours")
    harness.let_pass(86_400)
    await harness.report("bus-1", soc_percent=99.0)
    await build(harness)
    rebuilt = await read_hours(frozen)
    assert {hour: rebuilt[hour] for hour in first} == first
    assert await build(harness) == 0


async def test_an_hour_waits_until_the_schedule_has_gone_on(harness: Harness) -> None:
    """Slots that were missed are recorded before the next cycle, and not earlier."""
    await play(harness, 6)
    harness.let_pass(3 * 3600)
    assert await build(harness) == 0
    await harness.run_cycle()
    assert await build(harness) == 3
    harness.let_pass(86_400)
    assert await build(harness) > 0  # of the south too: no shard runs it


async def test_an_hour_waits_for_its_open_cycles(harness: Harness) -> None:
    key = CycleKey("north", START, CycleTrigger.SCHEDULE, 1)
    await harness.stores.cycles.start_cycle(
        harness.session, WantedCycle(key, cycle_id(key), "trace-c")
    )
    harness.let_pass(3600)
    await go_on(harness)
    north_and_south = await build(harness)
    assert north_and_south == 1
    assert len(await harness.stores.cycles.abandon_orphans(harness.session, "north")) == 1
    assert await build(harness) == 1


async def test_an_hour_that_has_just_ended_is_not_counted(harness: Harness) -> None:
    harness.let_pass(3600 + 14 * 60)
    for workspace in ("north", "south"):
        await harness.run_cycle(workspace)
    assert await build(harness) == 0
    harness.let_pass(60)
    assert await build(harness) == 2


@pytest.mark.parametrize(("days", "missing"), [(0, 0), (3, 24), (31, 31 * 24 - 48)])
async def test_hours_that_cannot_be_counted_now_are_said_to_be_missing(
    harness: Harness, frozen: FrozenDatabase, days: int, missing: int
) -> None:
    await run(frozen, f"UPDATE workspaces SET created_at = created_at - interval '{days} days'")
    begins_at = (START - timedelta(days=days or 1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    shown = await harness.get(f"{PATH}?from={begins_at}")
    assert shown["hours_missing"] == missing
    assert len(shown["hours"]) == min(days * 24, 48)


async def test_hours_whose_facts_are_gone_are_said_to_be_missing(
    harness: Harness, frozen: FrozenDatabase
) -> None:
    await run(frozen, "UPDATE workspaces SET created_at = created_at - interval '40 days'")
    span = "from=2026-03-27T00:00:00Z&to=2026-03-27T03:00:00Z"  # 35 days ago
    shown = await harness.get(f"{PATH}?{span}")
    assert (shown["hours_missing"], shown["hours"]) == (3, [])
