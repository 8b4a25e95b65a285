"""Kept answers and surveys of legacy systems stay within their bounds."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
import trio
import trio.testing

from api.legacy_answers import KEEP_SECONDS, MAX_KEPT_DEVICES, MAX_LIST_LOADS, LegacyAnswers
from api.legacy_survey import SURVEY_SECONDS, LegacySurvey
from api.sources import LegacySource
from domain.parity import DeviceView
from ports.legacy import LegacyValues
from ports.reads import FleetQuery, FleetRow, HealthQuery
from runtime.faults import EnvironmentFault
from tests.domain.fixtures import NOW
from tests.legacy.scripted import CONFIGURATION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from api.services import ApiServices

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
    most_at_once: int = 0
    asked: list[str] = field(default_factory=list)
    _now: int = 0

    async def load_fleet(self, workspace_id: str, _: FleetQuery) -> FleetRow:
        if self.fault is not None:
            raise self.fault
        workspace = cast("Any", SimpleNamespace(workspace_id=workspace_id, active=True))
        return FleetRow(NOW, workspace, CONFIGURATION, {}, [])

    async def load_values(self, workspace_id: str, _: Any) -> LegacyValues:
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        self.asked.append(workspace_id)
        try:
            await trio.sleep(self.seconds)
        finally:
            self._now -= 1
        return values(1)


async def survey(slow: Slow, workspaces: Sequence[str], lists: int = 1) -> list[LegacySurvey]:
    """Run so many surveys at once over one process's answers."""
    plain = SimpleNamespace(legacy=slow, reads=slow, legacy_answers=LegacyAnswers())
    services = cast("ApiServices", plain)
    made = [LegacySurvey(services, lambda _, __: None) for _ in range(lists)]
    async with trio.open_nursery() as nursery:
        for one in made:
            nursery.start_soon(one.ask, workspaces, NOW)
    return made


NAMES = [f"fleet-{number:02d}" for number in range(20)]


async def test_lists_leave_turns_to_the_readers_of_one_workspace(
    autojump_clock: trio.testing.MockClock,
) -> None:
    slow = Slow(seconds=0.1)
    for one in await survey(slow, NAMES, lists=3):
        assert one.unavailable == []
    assert slow.most_at_once == MAX_LIST_LOADS
    assert len(slow.asked) == 3 * len(NAMES)


async def test_a_survey_ends_in_time_and_names_the_rest(
    autojump_clock: trio.testing.MockClock,
) -> None:
    slow, began_at = Slow(seconds=3.0), trio.current_time()
    (one,) = await survey(slow, NAMES)
    assert trio.current_time() - began_at == pytest.approx(SURVEY_SECONDS)
    # Two rounds of four have answered; the third has not, and the rest was never asked.
    assert [each.workspace_id for each in one.unavailable] == NAMES[2 * MAX_LIST_LOADS :]
    assert {each.reason for each in one.unavailable} == {"legacy-unreachable"}
    assert len(slow.asked) == 3 * MAX_LIST_LOADS


async def test_without_the_database_a_survey_has_no_answer() -> None:
    fault = EnvironmentFault("the database is away")
    with pytest.RaisesGroup(EnvironmentFault):
        await survey(Slow(fault=fault), NAMES)


async def test_nobody_to_ask_takes_no_time() -> None:
    (one,) = await survey(Slow(), [])
    assert one.unavailable == []
