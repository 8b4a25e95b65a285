"""Kept answers and surveys of legacy systems stay within their bounds."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
import trio
import trio.testing

from api.legacy_answers import KEEP_SECONDS, MAX_KEPT_DEVICES, LegacyAnswers
from api.legacy_survey import SURVEY_SECONDS, LegacySurvey
from api.legacy_turns import ASK_AGAIN_SECONDS, MAX_PROMPT_LOADS, LegacyTurns
from api.sources import LegacySource
from domain.parity import DeviceView
from legacy.client import DEADLINE_SECONDS
from ports.legacy import LegacyUnreachable, LegacyValues
from ports.reads import FleetQuery, FleetRow, HealthQuery
from runtime.faults import EnvironmentFault
from tests.domain.fixtures import NOW
from tests.legacy.scripted import CONFIGURATION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from api.services import ApiServices
    from ports.legacy import LegacyConfiguration

OTHER = CONFIGURATION._replace(base_url="http://127.0.0.1:10")
UNHEARD = DeviceView({}, None)


def values(devices: int) -> LegacyValues:
    return LegacyValues({f"bus-{number}": UNHEARD for number in range(devices)}, (), NOW)


# --- Kept answers


async def test_an_answer_is_kept_for_its_list_and_configuration_only(
    autojump_clock: trio.testing.MockClock,
) -> None:
    answers, answer = LegacyAnswers(), values(3)
    answers.keep("north", NOW, CONFIGURATION, answer)
    assert answers.find("north", NOW, CONFIGURATION) is answer
    assert answers.find("south", NOW, CONFIGURATION) is None
    assert answers.find("north", NOW, OTHER) is None
    await trio.sleep(KEEP_SECONDS)
    assert answers.find("north", NOW, CONFIGURATION) is answer
    await trio.sleep(0.001)
    assert answers.find("north", NOW, CONFIGURATION) is None


async def test_of_too_many_devices_the_first_answer_is_dropped() -> None:
    answers, half = LegacyAnswers(), values(MAX_KEPT_DEVICES // 2)
    for name in ("north", "south"):
        answers.keep(name, NOW, CONFIGURATION, half)
    assert answers.find("north", NOW, CONFIGURATION) is half
    answers.keep("east", NOW, CONFIGURATION, values(1))
    assert answers.find("north", NOW, CONFIGURATION) is None
    assert answers.find("south", NOW, CONFIGURATION) is half


async def test_an_answer_that_is_kept_again_counts_once() -> None:
    answers, half = LegacyAnswers(), values(MAX_KEPT_DEVICES // 2)
    answers.keep("north", NOW, CONFIGURATION, half)
    for _ in range(3):
        answers.keep("south", NOW, CONFIGURATION, half)
    assert answers.find("north", NOW, CONFIGURATION) is half


# --- Pages


async def test_every_page_lets_other_tasks_run() -> None:
    slow = Slow()
    plain = SimpleNamespace(legacy=slow, legacy_answers=LegacyAnswers())
    fleet = await slow.load_fleet("north", FleetQuery())
    source = LegacySource(cast("ApiServices", plain), fleet)
    for _ in range(2):
        with trio.testing.assert_checkpoints():
            await source.load_page(HealthQuery())
    assert slow.asked == ["north"]


# --- Surveys


@dataclass
class Slow:
    """Reads and legacy systems of many workspaces, each of which takes so many seconds."""

    seconds: float = 0.0
    fault: EnvironmentFault | None = None
    hanging: frozenset[str] = frozenset()  # workspaces whose systems do not answer
    configuration: LegacyConfiguration = CONFIGURATION
    most_at_once: int = 0
    asked: list[str] = field(default_factory=list)
    _now: Counter[str] = field(default_factory=Counter)

    async def load_fleet(self, workspace_id: str, _: FleetQuery) -> FleetRow:
        if self.fault is not None:
            raise self.fault
        workspace = cast("Any", SimpleNamespace(workspace_id=workspace_id, active=True))
        return FleetRow(NOW, workspace, self.configuration, {}, [])

    async def load_values(self, workspace_id: str, _: Any) -> LegacyValues:
        self._now[workspace_id] += 1
        # Those who ask for one workspace at once share one load.
        self.most_at_once = max(self.most_at_once, len(+self._now))
        self.asked.append(workspace_id)
        try:
            if workspace_id in self.hanging:
                await trio.sleep(DEADLINE_SECONDS)
                raise LegacyUnreachable("it did not answer")
            await trio.sleep(self.seconds)
        finally:
            self._now[workspace_id] -= 1
        return values(1)


async def survey(
    slow: Slow, workspaces: Sequence[str], lists: int = 1, answers: LegacyAnswers | None = None
) -> list[LegacySurvey]:
    """Run so many surveys at once over one process's answers."""
    answers = answers or LegacyAnswers()
    plain = SimpleNamespace(legacy=slow, reads=slow, legacy_answers=answers)
    services = cast("ApiServices", plain)
    made = [LegacySurvey(services, lambda _, __: None) for _ in range(lists)]
    async with trio.open_nursery() as nursery:
        for one in made:
            nursery.start_soon(one.ask, workspaces, NOW)
    return made


def missing(one: LegacySurvey) -> list[str]:
    return [each.workspace_id for each in one.unavailable]


NAMES = [f"fleet-{number:02d}" for number in range(20)]


async def test_lists_leave_turns_to_the_readers_of_one_workspace(
    autojump_clock: trio.testing.MockClock,
) -> None:
    slow = Slow(seconds=0.1)
    for one in await survey(slow, NAMES, lists=3):
        assert one.unavailable == []
    assert slow.most_at_once == MAX_PROMPT_LOADS
    assert len(slow.asked) == 3 * len(NAMES)


async def test_a_survey_ends_in_time_and_names_the_rest(
    autojump_clock: trio.testing.MockClock,
) -> None:
    slow, began_at = Slow(seconds=3.0), trio.current_time()
    (one,) = await survey(slow, NAMES)
    assert trio.current_time() - began_at == pytest.approx(SURVEY_SECONDS)
    # Two rounds of three have answered; the third has not, and the rest was never asked.
    assert len(missing(one)) == len(NAMES) - 2 * MAX_PROMPT_LOADS
    assert missing(one)[-10:] == NAMES[-10:]
    assert {each.reason for each in one.unavailable} == {"legacy-unreachable"}
    assert len(slow.asked) == 3 * MAX_PROMPT_LOADS


async def test_systems_that_hang_do_not_hide_those_that_answer(
    autojump_clock: trio.testing.MockClock,
) -> None:
    answers, hanging = LegacyAnswers(), NAMES[:10]
    slow = Slow(seconds=0.05, hanging=frozenset(hanging))
    for _ in range(4):  # lists learn of at least three in each round
        await survey(slow, NAMES, lists=8, answers=answers)
    for pause in (0.0, ASK_AGAIN_SECONDS):
        await trio.sleep(pause)
        for one in await survey(slow, NAMES, lists=8, answers=answers):
            assert missing(one) == hanging


async def test_lists_share_the_turns_of_systems_that_are_slow(
    autojump_clock: trio.testing.MockClock,
) -> None:
    slow = Slow(seconds=1.0)
    for one in await survey(slow, NAMES, lists=8):
        assert missing(one) == []
    assert slow.most_at_once == MAX_PROMPT_LOADS


async def test_a_turn_passes_on_when_the_list_that_waited_gives_up(
    autojump_clock: trio.testing.MockClock,
) -> None:
    turns = LegacyTurns()
    ends: dict[str, float] = {}

    async def hold(name: str, patience: float) -> None:
        with trio.move_on_after(patience):
            async with turns.turn(name):
                await trio.sleep(3.0)
                ends[name] = trio.current_time() - began_at

    began_at = trio.current_time()
    async with trio.open_nursery() as nursery:
        for name in NAMES[:MAX_PROMPT_LOADS]:
            nursery.start_soon(hold, name, 9.0)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(hold, "last", 1.0)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(hold, "last", 9.0)
    assert ends["last"] == pytest.approx(6.0)


async def test_a_system_that_hangs_is_not_asked_again_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    answers, slow = LegacyAnswers(), Slow(hanging=frozenset(NAMES[:1]))
    (before,) = await survey(slow, NAMES[:2], answers=answers)
    slow.hanging = frozenset()
    (again,) = await survey(slow, NAMES[:2], answers=answers)
    assert again.unavailable == before.unavailable
    await trio.sleep(ASK_AGAIN_SECONDS)
    (later,) = await survey(slow, NAMES[:2], answers=answers)
    assert later.unavailable == []


async def test_another_configuration_is_asked_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    answers, slow = LegacyAnswers(), Slow(hanging=frozenset(NAMES[:1]))
    await survey(slow, NAMES[:1], answers=answers)
    slow.hanging, slow.configuration = frozenset(), OTHER
    (one,) = await survey(slow, NAMES[:1], answers=answers)
    assert one.unavailable == []


async def test_of_systems_that_hang_another_one_is_asked_each_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    answers, slow = LegacyAnswers(), Slow(hanging=frozenset(NAMES[:6]))
    for _ in range(2):
        await survey(slow, NAMES[:6], answers=answers)
    slow.asked.clear()
    for _ in range(3):
        await trio.sleep(ASK_AGAIN_SECONDS)
        await survey(slow, NAMES[:6], answers=answers)
    assert set(slow.asked) == set(NAMES[:6])


async def test_without_the_database_a_survey_has_no_answer() -> None:
    fault = EnvironmentFault("the database is away")
    with pytest.RaisesGroup(EnvironmentFault):
        await survey(Slow(fault=fault), NAMES)


async def test_nobody_to_ask_takes_no_time() -> None:
    (one,) = await survey(Slow(), [])
    assert one.unavailable == []
