"""Ordinals under any sequence of commands: together they keep the schedule's bound (FR-002).

On the twin, which takes ordinals as PostgreSQL does (contract/test_ordinals.py).
"""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.model import Policy
from domain.schedule import starts_bound, worst_second, worst_second_of_all
from runtime.clock import VirtualClock
from storage.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Sequence

WORKSPACES = 150


class Command(NamedTuple):
    """These workspaces are created or changed, one after the other."""

    first: int
    number_of: int
    interval: int
    active: bool


def commands(intervals: st.SearchStrategy[int]) -> st.SearchStrategy[list[Command]]:
    one = st.builds(
        Command,
        first=st.integers(0, WORKSPACES - 1),
        number_of=st.integers(1, WORKSPACES),
        interval=intervals,
        active=st.booleans(),
    )
    return st.lists(one, min_size=1, max_size=12)


DIVIDING_AN_HOUR = st.sampled_from([60, 120, 180, 240, 300, 360, 600, 720, 900, 1200, 1800, 3600])
ANY_THREE = st.lists(st.integers(2, 3600), min_size=1, max_size=3, unique=True)


async def play(plan: Sequence[Command]) -> dict[int, list[int]]:
    """Return the ordinals in use, by interval, after each command held what must hold."""
    store = MemoryStore(VirtualClock(datetime(2026, 5, 1, 12, tzinfo=UTC)))
    series: dict[int, list[int]] = {}
    for command in plan:
        for number in range(command.first, min(command.first + command.number_of, WORKSPACES)):
            await put(store, number, command)
        series = read_series(store)
        for ordinals in series.values():
            assert len(set(ordinals)) == len(ordinals)
    return series


async def put(store: MemoryStore, number: int, command: Command) -> None:
    name = f"w-{number}"
    before = read_series(store)
    stored = store.tables.workspaces.get((name,))
    await store.registry.put_workspace(
        name,
        name=name,
        active=command.active,
        poll_interval_seconds=command.interval,
        policy=Policy(),
    )
    now = store.tables.workspaces.get((name,))
    assert now is not None
    assert (now.ordinal is not None) is command.active
    if command.active and (
        stored is None or stored.ordinal is None or stored.poll_interval_seconds != command.interval
    ):
        taken = before.get(command.interval, [])
        assert now.ordinal == min(set(range(len(taken) + 1)) - set(taken))


def read_series(store: MemoryStore) -> dict[int, list[int]]:
    series = defaultdict(list)
    for workspace in dict(store.tables.workspaces.items()).values():
        if workspace.ordinal is not None:
            series[workspace.poll_interval_seconds].append(workspace.ordinal)
    return dict(series)


def bound_of(series: dict[int, list[int]]) -> float:
    return starts_bound({interval: max(ordinals) for interval, ordinals in series.items()})


@settings(max_examples=25, deadline=None)
@given(plan=commands(DIVIDING_AN_HOUR))
def test_fr_002_mixed_intervals_keep_the_bound_after_commands(plan: list[Command]) -> None:
    series = trio.run(play, plan)
    assert worst_second_of_all(series) <= bound_of(series)


@settings(max_examples=25, deadline=None)
@given(plan=ANY_THREE.flatmap(lambda three: commands(st.sampled_from(three))))
def test_fr_002_any_three_intervals_keep_the_bound(plan: list[Command]) -> None:
    series = trio.run(play, plan)
    assert sum(worst_second(of, interval) for interval, of in series.items()) <= bound_of(series)
