"""The lag of the event loop: how late a sleeping task is woken."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from runtime.loop_lag import PAUSE_SECONDS, report_loop_lag
from tests.recording import Recording

if TYPE_CHECKING:
    from trio.testing import MockClock


@pytest.fixture
def recording(nursery: trio.Nursery) -> Recording:
    recording = Recording()
    nursery.start_soon(report_loop_lag, recording.measures.loop_lag_seconds)
    return recording


async def test_a_loop_that_keeps_up_has_no_lag(
    recording: Recording, autojump_clock: MockClock
) -> None:
    await trio.sleep(10.5 * PAUSE_SECONDS)
    assert [told.value for told in recording.told] == [0.0] * 10


async def test_a_loop_that_is_held_up_is_late_by_as_much(
    recording: Recording, mock_clock: MockClock
) -> None:
    await trio.testing.wait_all_tasks_blocked()
    mock_clock.jump(PAUSE_SECONDS + 2.0)
    await trio.testing.wait_all_tasks_blocked()
    assert [told.value for told in recording.told] == [pytest.approx(2.0)]
