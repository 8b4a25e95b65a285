"""Whether legacy systems answer is noted: each edge at once, and the rest now and then."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import trio

from legacy import noting
from legacy.noting import NotedLegacySystems
from ports.legacy import LegacyUnfit, LegacyUnreachable, LegacyValues, UnfitItem
from runtime.clock import VirtualClock
from runtime.faults import EnvironmentFault
from tests.legacy.scripted import CONFIGURATION, NOON, ScriptedLegacy

if TYPE_CHECKING:
    from trio.testing import MockClock

    from ports.cutovers import UnfitNote
    from ports.legacy import LegacyConfiguration

START = datetime(2026, 5, 1, 12, tzinfo=UTC)
AWAY = LegacyUnreachable("no answer")
MOVED = CONFIGURATION._replace(base_url="http://127.0.0.1:10")


class Notebook:
    """ports.cutovers.LegacyNotes; `notes` has seconds since the start, workspace and fault."""

    def __init__(self) -> None:
        self.notes: list[tuple[float, str, str | None]] = []
        self.unfit: list[UnfitNote] = []
        self.is_away = False

    async def note_legacy_answer(
        self, workspace_id: str, at: datetime, fault: str | None = None
    ) -> None:
        await trio.lowlevel.checkpoint()
        if self.is_away:
            raise EnvironmentFault("away")
        self.notes.append(((at - START) / timedelta(seconds=1), workspace_id, fault))

    async def note_legacy_unfit(self, workspace_id: str, note: UnfitNote) -> None:
        await trio.lowlevel.checkpoint()
        self.unfit.append(note)


class World:
    def __init__(self) -> None:
        self.legacy = ScriptedLegacy()
        self.notebook = Notebook()
        self.systems = NotedLegacySystems(self.legacy, self.notebook, VirtualClock(START))

    async def ask(
        self, workspace_id: str = "north", configuration: LegacyConfiguration = CONFIGURATION
    ) -> None:
        try:
            await self.systems.load_values(workspace_id, configuration)
        except (LegacyUnreachable, LegacyUnfit):
            assert self.legacy.fault is not None


@pytest.fixture
async def world() -> World:
    return World()


async def test_answers_are_noted_at_most_once_in_ten_seconds(
    world: World, autojump_clock: MockClock
) -> None:
    for _ in range(25):
        await world.ask()
        await trio.sleep(1)
    assert world.notebook.notes == [(second, "north", None) for second in (0, 10, 20)]


@pytest.mark.parametrize("fault", [None, AWAY, LegacyUnfit("items", "nothing found")])
async def test_the_answer_of_another_configuration_is_noted_at_once(
    world: World, fault: LegacyUnreachable | LegacyUnfit | None
) -> None:
    world.legacy.fault = fault
    for configuration in (CONFIGURATION, MOVED, MOVED):
        await world.ask(configuration=configuration)
    assert len(world.notebook.notes) == 2
    assert len(world.notebook.unfit) == (2 if isinstance(fault, LegacyUnfit) else 0)


async def test_each_edge_of_a_failure_is_noted_at_once(
    world: World, autojump_clock: MockClock
) -> None:
    for fault in (None, AWAY, AWAY, None):
        world.legacy.fault = fault
        await world.ask()
        await trio.sleep(1)
    assert world.notebook.notes == [
        (0, "north", None),
        (1, "north", "no answer"),
        (3, "north", None),
    ]


async def test_an_answer_that_fits_nowhere_is_a_failure(
    world: World, autojump_clock: MockClock
) -> None:
    world.legacy.fault = LegacyUnfit("items", "no list")
    await world.ask()
    assert world.notebook.notes == [(0, "north", "no list")]


async def test_what_does_not_fit_is_noted_once_a_minute(
    world: World, autojump_clock: MockClock
) -> None:
    item = UnfitItem("bus-7", "/values/received_at", "no instant", b'{"heard": "soon"}')
    world.legacy.values = LegacyValues({}, (item, item), NOON, unfit_count=5)
    for _ in range(100):
        await world.ask()
        await trio.sleep(1)
    noted = [
        ((note.at - START) / timedelta(seconds=1), note.items) for note in world.notebook.unfit
    ]
    assert noted == [(0, 5), (60, 5)]
    first = world.notebook.unfit[0]
    assert first[2:] == ("bus-7", "/values/received_at", "no instant", '{"heard": "soon"}')


async def test_an_answer_that_fits_nowhere_is_noted_with_its_sample(
    world: World, autojump_clock: MockClock
) -> None:
    world.legacy.fault = LegacyUnfit("items", "no list", b"<html>")
    await world.ask()
    assert [note[1:] for note in world.notebook.unfit] == [(0, None, "items", "no list", "<html>")]


async def test_each_workspace_has_notes_of_its_own(world: World, autojump_clock: MockClock) -> None:
    await world.ask("north")
    await world.systems.load_registry("south", CONFIGURATION)
    assert world.notebook.notes == [(0, "north", None), (0, "south", None)]


async def test_readers_at_the_same_time_write_one_note(
    world: World, autojump_clock: MockClock
) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(world.ask)
    assert world.notebook.notes == [(0, "north", None)]


async def test_a_load_counts_without_the_database_and_is_noted_later(
    world: World, autojump_clock: MockClock
) -> None:
    world.notebook.is_away = True
    assert await world.systems.load_values("north", CONFIGURATION) == world.legacy.values
    world.notebook.is_away = False
    await world.ask()
    assert world.notebook.notes == [(0, "north", None)]


async def test_only_so_many_workspaces_are_remembered(
    world: World, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(noting, "MAX_NOTED", 2)
    for workspace_id in ("a", "b", "c", "b", "a"):
        await world.ask(workspace_id)
    assert [note[1] for note in world.notebook.notes] == ["a", "b", "c", "a"]
