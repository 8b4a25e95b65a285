"""How long providers are not to be called."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio

from actors.waits import MAX_WAITS, ProviderWaits
from domain.model import ProviderConnection

if TYPE_CHECKING:
    from trio.testing import MockClock

ONE = ProviderConnection("depot", "live", "rfms", "poll", "https://maker.example", None)


async def test_a_wait_ends_with_its_time(autojump_clock: MockClock) -> None:
    waits = ProviderWaits()
    waits.postpone(ONE, None)
    assert waits.waiting_seconds(ONE) == 0
    waits.postpone(ONE, 60)
    await trio.sleep(45)
    assert waits.waiting_seconds(ONE) == pytest.approx(15)
    assert waits.waiting_seconds(replace(ONE, provider_id="other")) == 0
    await trio.sleep(15)
    assert waits.waiting_seconds(ONE) == 0


async def test_a_connection_that_was_changed_does_not_wait() -> None:
    waits = ProviderWaits()
    waits.postpone(ONE, 60)
    assert waits.waiting_seconds(replace(ONE, base_url="https://other.example")) == 0


async def test_waits_that_have_ended_are_dropped(autojump_clock: MockClock) -> None:
    waits = ProviderWaits()
    waits.postpone(ONE, 3600)
    for number in range(MAX_WAITS):
        waits.postpone(replace(ONE, provider_id=f"p{number}"), 1)
    await trio.sleep(2)
    waits.postpone(replace(ONE, provider_id="new"), 1)
    assert len(waits) == 2
    assert waits.waiting_seconds(ONE) > 0
