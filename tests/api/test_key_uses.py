"""The uses of keys between two writes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import trio

from api.key_uses import MAX_NOTED, WRITE_EVERY_SECONDS, KeyUses
from runtime.faults import EnvironmentFault

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trio.testing import MockClock

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


class Written:
    """A store that remembers what it was given. While `away` is set, it fails."""

    def __init__(self) -> None:
        self.writes: list[Mapping[str, datetime]] = []
        self.away = False

    async def note_uses(self, used_at: Mapping[str, datetime]) -> None:
        await trio.lowlevel.checkpoint()
        if self.away:
            raise EnvironmentFault("the database is away")
        self.writes.append(used_at)


def make_uses() -> tuple[KeyUses, Written]:
    store = Written()
    return KeyUses(cast("Any", store)), store


async def test_many_uses_are_one_write_a_minute(autojump_clock: MockClock) -> None:
    uses, store = make_uses()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(uses.run)
        for second in range(int(3 * WRITE_EVERY_SECONDS)):
            uses.note("k1", NOW + timedelta(seconds=second))
            uses.note("k2", NOW)
            await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert len(store.writes) in (2, 3)
    assert store.writes[0].keys() == {"k1", "k2"}


async def test_without_uses_nothing_is_written() -> None:
    uses, store = make_uses()
    await uses.write()
    assert store.writes == []


async def test_uses_that_could_not_be_written_are_written_later() -> None:
    uses, store = make_uses()
    uses.note("k1", NOW)
    uses.note("k2", NOW)
    store.away = True
    await uses.write()
    store.away = False
    uses.note("k2", NOW + timedelta(minutes=5))
    await uses.write()
    assert store.writes == [{"k1": NOW, "k2": NOW + timedelta(minutes=5)}]


async def test_notes_are_bounded() -> None:
    uses, store = make_uses()
    for number in range(MAX_NOTED + 10):
        uses.note(f"k{number}", NOW)
    uses.note("k0", NOW + timedelta(seconds=1))
    await uses.write()
    assert len(store.writes[0]) == MAX_NOTED
    assert store.writes[0]["k0"] == NOW + timedelta(seconds=1)
