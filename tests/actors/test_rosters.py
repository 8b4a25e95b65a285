"""When a roster is asked for beside the regular run, and what the vendor's quota does to it."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
import trio

from actors.poll_state import PollState
from actors.rosters import DEFAULT_ROSTERS, RosterPolicy, Rosters
from domain.cycles import CycleOutcome
from domain.model import Device, FaultClass
from ports.providers import ProviderFault
from tests.actors.cycling import run_cycle, script
from tests.actors.harness import HARBOUR, STEADY
from tests.actors.instants import GATHERING, INTERVAL, at
from tests.actors.polling import ScriptedPoller, page
from tests.actors.scripted import sample

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio.testing import MockClock

    from ports.providers import Page
    from tests.actors.harness import Harness, Shard

HOUR = 3600.0
BUS = Device(HARBOUR, "bus-1", STEADY, "x-bus-1", "v-bus-1", "Bus", at(-HOUR))
ROSTER = page(answered=frozenset(["x-bus-1"]), is_roster=True, cursor="not-this")
NEWS = page(cursor="c-1", is_complete=True)


def due(rosters: Rosters, seconds: float, *devices: Device, is_silent: bool = False) -> bool:
    return rosters.is_due(STEADY, devices or (BUS,), at(seconds), is_silent=is_silent)


@pytest.mark.parametrize(
    ("policy", "seconds", "is_silent", "expected"),
    [
        (DEFAULT_ROSTERS, 12 * HOUR - 1, False, False),
        (DEFAULT_ROSTERS, 12 * HOUR, False, True),
        (DEFAULT_ROSTERS, 1799, True, False),
        (DEFAULT_ROSTERS, 1800, True, True),
        (DEFAULT_ROSTERS, 1800, False, False),
        (RosterPolicy(60, 0), 59, True, False),
        (RosterPolicy(60, 0), 60, True, True),
        (RosterPolicy(0, 0), 90 * HOUR, True, False),
    ],
)
def test_age_and_silence_make_a_roster_due(
    policy: RosterPolicy, seconds: float, is_silent: bool, expected: bool
) -> None:
    assert due(Rosters({STEADY: at(0)}, policy), seconds, is_silent=is_silent) is expected


def test_a_new_device_makes_a_roster_due_at_once() -> None:
    rosters = Rosters({STEADY: at(0)}, DEFAULT_ROSTERS)
    assert due(rosters, 1, replace(BUS, activated_at=at(0.5)))
    assert not due(rosters, 1, BUS)


def test_a_device_that_was_not_asked_for_is_new() -> None:
    rosters = Rosters({}, DEFAULT_ROSTERS)
    rosters.note_answer(STEADY, at(0), [BUS])
    assert not due(rosters, 1, BUS)
    assert due(rosters, 1, BUS, replace(BUS, device_id="bus-2"))
    assert due(rosters, 1, replace(BUS, activated_at=at(-1)))


def test_a_roster_that_was_not_answered_is_asked_for_later() -> None:
    rosters = Rosters({}, DEFAULT_ROSTERS)
    rosters.note_attempt(STEADY, at(0))
    assert not due(rosters, 1799)
    assert due(rosters, 1800)


def test_nothing_is_asked_for_a_connection_without_devices() -> None:
    assert not Rosters({}, DEFAULT_ROSTERS).is_due(STEADY, (), at(0), is_silent=False)


async def test_a_roster_comes_behind_the_news_and_moves_no_cursor(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)
    poller = ScriptedPoller(NEWS, ROSTER)
    script(shard, steady=poller)
    state = PollState({STEADY: "c-0"})
    assert await run_cycle(shard, 0, state) is CycleOutcome.COMPLETED
    assert [call.cursor for call in poller.calls] == ["c-0", None]
    assert state.cursors == {STEADY: "c-1"}
    stored = harness.store.tables.connection_state.get((HARBOUR, STEADY))
    assert stored is not None
    assert (stored.cursor, stored.roster_at) == ("c-1", at(GATHERING))
    states = dict(harness.store.tables.device_state.items())
    assert states[HARBOUR, "bus-1"].statement == "named"
    assert states[HARBOUR, "bus-2"].statement == "left_out"
    (row,) = await harness.cycles()
    assert row.summary["rosters"] == {STEADY: "ok"}
    await run_cycle(shard, 1, state)
    assert len(poller.calls) == 3  # no second roster


async def test_a_run_that_names_all_by_itself_needs_no_roster(
    shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)
    poller = ScriptedPoller(*[page(is_roster=True, cursor="c")] * 2)
    script(shard, steady=poller)
    state = PollState({})
    for number in range(2):
        await run_cycle(shard, number, state)
    assert len(poller.calls) == 2


async def test_the_vendors_quota_goes_first(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """The data was collected; a roster that is refused costs the cycle nothing."""
    nursery.start_soon(shard.ingest.run)
    used_up = ProviderFault(FaultClass.QUOTA, "answered 429", retry_after=400.0)
    news = page(sample("bus-1", 0, soc_percent=10), cursor="c-1")
    poller = ScriptedPoller(news, used_up)
    script(shard, steady=poller)
    state = PollState({STEADY: "c-0"})
    assert await run_cycle(shard, 0, state) is CycleOutcome.COMPLETED
    assert await harness.values("bus-1") == {"soc_percent": 10}
    assert state.cursors == {STEADY: "c-1"}
    stored = harness.store.tables.connection_state.get((HARBOUR, STEADY))
    assert stored is not None
    assert (stored.call_status, stored.fault) == ("failed", "quota")
    await run_cycle(shard, 1, state)
    assert len(poller.calls) == 2  # the vendor asked for 400 s


async def test_a_quota_that_is_used_up_is_spent_on_no_roster(
    shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)
    poller = ScriptedPoller(ProviderFault(FaultClass.QUOTA, "answered 429"))
    script(shard, steady=poller)
    await run_cycle(shard, 0, PollState({STEADY: "c-0"}))
    assert len(poller.calls) == 1


async def test_a_roster_that_takes_too_long_is_given_up(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)
    script(shard, steady=ScriptedPoller(NEWS, 10_000.0))
    outcome = await run_cycle(shard, 0, PollState({STEADY: "c-0"}), fetch=100)
    (row,) = await harness.cycles()
    assert (outcome, row.summary["rosters"]) == (CycleOutcome.COMPLETED, {STEADY: "unfinished"})
    assert row.ended_at == at(80)


async def test_parked_trucks_cost_no_row_while_the_answer_is_complete(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)
    script(shard, steady=ScriptedPoller(NEWS))
    state = PollState({STEADY: "c-0"}, Rosters({STEADY: at(0)}, DEFAULT_ROSTERS))
    before = dict(harness.store.tables.device_state.items())
    await run_cycle(shard, 0, state)
    after = dict(harness.store.tables.device_state.items())
    of_buses = [key for key in after if key[1].startswith("bus") and after[key] != before[key]]
    assert of_buses == []
    stored = harness.store.tables.connection_state.get((HARBOUR, STEADY))
    assert stored is not None
    assert stored.complete_at == at(0)


class Answering(ScriptedPoller):
    """A call without a cursor gets a roster, another one a page without news."""

    async def fetch(
        self, external_ids: Sequence[str], cursor: str | None, page_token: str | None
    ) -> Page:
        self.script = [ROSTER if cursor is None else NEWS]
        return await super().fetch(external_ids, cursor, page_token)


async def test_a_silent_device_is_asked_about_every_half_hour(
    shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)
    poller = Answering()
    script(shard, steady=poller)
    nursery.start_soon(shard.workspace(await shard.view()).run)
    await trio.sleep(3 * HOUR)
    asked = [call.at for call in poller.calls if call.cursor is None]
    waits = [later - earlier for earlier, later in pairwise(asked)]
    assert len(asked) >= 5
    assert all(1800 <= wait <= 1800 + 2 * INTERVAL for wait in waits)
    assert len(poller.calls) > 3 * len(asked)
