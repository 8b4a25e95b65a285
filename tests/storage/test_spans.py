"""Cycles and refusals whose time is over go on as spans: runs of like ones become one row."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from ports.upkeep import Retention
from tests.storage.fixtures import WORKSPACE, populate

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from storage.gateway import Connection, Database
    from tests.conftest import Stores

KEPT = Retention()

# Minutes count from an instant of forty days ago.
ADD_CYCLE = """
INSERT INTO poll_cycles (workspace_id, slot_start_at, trigger, attempt, cycle_id, trace_id,
                         started_at, ended_at, outcome)
SELECT $1, slot, 'schedule', $4, gen_random_uuid()::text, 't', slot, slot, $3
FROM (SELECT $5::timestamptz + make_interval(mins => $2) AS slot) AS one
"""
ADD_REFUSAL = """
INSERT INTO rejections (workspace_id, recorded_at, origin, provider_id, external_id, outcome,
                        reason, signal, occurrences, trace_id, sample, hour, last_at)
SELECT $1, at, 'poll', $4, $3, 'rejected', 'invalid', 'soc_percent', 5, 't', 'x', at,
       at + interval '10 minutes'
FROM (SELECT $5::timestamptz + make_interval(mins => $2) AS at) AS one
"""
CYCLE_SPANS = """
SELECT workspace_id, outcome, cycles,
       round(extract(epoch FROM last_slot_at - first_slot_at) / 60)::int AS minutes
FROM cycle_spans ORDER BY workspace_id, span_id
"""
REFUSAL_SPANS = """
SELECT external_id, occurrences,
       round(extract(epoch FROM last_at - first_at) / 60)::int AS minutes
FROM rejection_spans ORDER BY external_id, first_at
"""


class World(NamedTuple):
    database: Database
    stores: Stores
    base: datetime

    async def execute(self, statement: str, *args: Any) -> None:
        await self.database.run(lambda connection: connection.execute(statement, *args))

    async def fetch(self, statement: str) -> list[tuple[Any, ...]]:
        async def work(connection: Connection) -> list[tuple[Any, ...]]:
            return [tuple(row) for row in await connection.fetch(statement)]

        return await self.database.run(work)

    async def add_cycles(
        self, cycles: Sequence[tuple[int, str]], *, workspace_id: str = WORKSPACE, attempt: int = 1
    ) -> None:
        for minutes, outcome in cycles:
            await self.execute(ADD_CYCLE, workspace_id, minutes, outcome, attempt, self.base)

    async def add_refusals(
        self, minutes: Sequence[int], external_id: str = "x-1", provider_id: str | None = "live"
    ) -> None:
        for each in minutes:
            await self.execute(ADD_REFUSAL, WORKSPACE, each, external_id, provider_id, self.base)

    async def apply(self, kept: Retention = KEPT) -> dict[str, int]:
        dropped = await self.stores.upkeep.drop_expired(kept)
        return {table: rows for table, rows in dropped.items() if rows}


@pytest.fixture
async def world(database: Database, postgres_stores: Stores) -> World:
    cast = await populate(postgres_stores)
    return World(database, postgres_stores, cast.noon - timedelta(days=40))


def spans(*told: tuple[str, int, int]) -> list[tuple[Any, ...]]:
    return [(WORKSPACE, *one) for one in told]


@pytest.mark.parametrize("batch", [1, 2, 5_000])
@pytest.mark.parametrize(
    ("cycles", "expected"),
    [
        ([(0, "completed"), (5, "completed"), (10, "completed")], spans(("completed", 3, 10))),
        (
            [(0, "completed"), (5, "failed"), (10, "failed"), (15, "completed")],
            spans(("completed", 1, 0), ("failed", 2, 5), ("completed", 1, 0)),
        ),
        ([(0, "missed"), (120, "missed")], spans(("missed", 2, 120))),
        ([(0, "missed"), (121, "missed")], spans(("missed", 1, 0), ("missed", 1, 0))),
    ],
    ids=["like", "unlike", "two hours", "longer pause"],
)
async def test_cycles_in_a_row_with_one_outcome_become_a_span(
    world: World,
    cycles: list[tuple[int, str]],
    expected: list[tuple[Any, ...]],
    batch: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("storage.upkeep.DELETE_BATCH", batch)
    await world.add_cycles(cycles)
    assert await world.apply() == {"poll_cycles": len(cycles)}
    assert await world.fetch(CYCLE_SPANS) == expected
    assert await world.apply() == {}


@pytest.mark.parametrize("batch", [1, 5_000])
async def test_attempts_of_a_slot_stay_in_their_order(
    world: World, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.upkeep.DELETE_BATCH", batch)
    for attempt, outcome in ((2, "completed"), (1, "failed")):
        await world.add_cycles([(0, outcome), (5, outcome)], attempt=attempt)
    await world.apply()
    assert [row[1] for row in await world.fetch(CYCLE_SPANS)] == ["failed", "completed"] * 2


async def test_spans_of_workspaces_are_apart(world: World) -> None:
    await world.execute(
        "INSERT INTO workspaces (workspace_id, name, active) VALUES ('a', 'A', false)"
    )
    await world.add_cycles([(0, "completed"), (10, "completed")])
    await world.add_cycles([(5, "failed"), (7, "completed")], workspace_id="a")
    await world.apply()
    assert await world.fetch(CYCLE_SPANS) == [
        ("a", "failed", 1, 0),
        ("a", "completed", 1, 0),
        (WORKSPACE, "completed", 2, 10),
    ]


async def test_only_what_is_past_its_time_and_over_goes_into_a_span(world: World) -> None:
    limit = 10 * 24 * 60 + 20  # minutes from the base, which is forty days and 20 minutes ago
    at_the_limit = [(limit - 2, "completed"), (limit + 2, "completed")]
    await world.add_cycles([*at_the_limit, (0, "running")])
    await world.add_refusals([limit - 2, limit + 2])
    assert await world.apply() == {"poll_cycles": 1, "rejections": 1}
    assert await world.fetch(CYCLE_SPANS) == spans(("completed", 1, 0))
    assert await world.fetch(REFUSAL_SPANS) == [("x-1", 5, 10)]
    kept = await world.fetch("SELECT outcome FROM poll_cycles ORDER BY slot_start_at")
    assert kept == [("running",), ("completed",)]


async def test_a_later_hour_goes_on_with_the_newest_span(world: World) -> None:
    for minutes in (0, 60, 120):
        await world.add_cycles([(minutes, "completed"), (minutes + 5, "completed")])
        await world.add_refusals([minutes])
        await world.apply()
    assert await world.fetch(CYCLE_SPANS) == spans(("completed", 6, 125))
    assert await world.fetch(REFUSAL_SPANS) == [("x-1", 15, 130)]


async def test_a_cycle_that_ends_after_later_ones_gets_its_own_span(world: World) -> None:
    await world.add_cycles([(0, "running"), (5, "completed")])
    await world.apply()
    await world.execute("UPDATE poll_cycles SET outcome = 'completed'")
    await world.apply()
    await world.add_cycles([(10, "completed")])
    await world.apply()
    assert sum(row[2] for row in await world.fetch(CYCLE_SPANS)) == 3
    assert all(row[3] >= 0 for row in await world.fetch(CYCLE_SPANS))


@pytest.mark.parametrize("batch", [1, 3, 5_000])
async def test_refusals_that_differ_in_nothing_but_time_become_a_span(
    world: World, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.upkeep.DELETE_BATCH", batch)
    await world.add_refusals([0, 60, 120, 400])
    await world.add_refusals([30], "x-2")
    await world.add_refusals([30, 90], "x-3", provider_id=None)
    assert await world.apply() == {"rejections": 7}
    assert await world.fetch(REFUSAL_SPANS) == [
        ("x-1", 15, 130),
        ("x-1", 5, 10),
        ("x-2", 5, 10),
        ("x-3", 10, 70),
    ]


async def test_refusals_of_an_older_release_go_into_spans_too(world: World) -> None:
    await world.add_refusals([0, 1])
    await world.execute("UPDATE rejections SET hour = NULL, last_at = NULL, signal = NULL")
    assert await world.apply() == {"rejections": 2}
    assert await world.fetch(REFUSAL_SPANS) == [("x-1", 10, 1)]


async def test_spans_go_some_days_after_their_end(world: World) -> None:
    await world.add_cycles([(0, "completed"), (60, "completed"), (120, "failed")])
    await world.add_refusals([0, 60])
    await world.apply()
    assert await world.apply(Retention(span_days=41)) == {}
    ended = "UPDATE cycle_spans SET last_slot_at = last_slot_at - interval '51 days'"
    await world.execute(f"{ended} WHERE outcome = 'completed'")
    await world.execute("UPDATE rejection_spans SET last_at = last_at - interval '51 days'")
    assert await world.apply() == {"cycle_spans": 1, "rejection_spans": 1}
    assert await world.fetch(CYCLE_SPANS) == spans(("failed", 1, 0))
