"""A week under a legacy registry that fails in every known way, against a model of the truth.

The truth is which devices the fleet has. Answers are made of it, spoilt by faults of a seed, and
read by the mapping of legacy/. Each takes a quarter of an hour of the database's time.
`WEEK_SEED=2` plays another week.
"""

from __future__ import annotations

import os
from collections import Counter
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING, Any, Final

import pytest

from domain.changes import LEGACY_SYNC
from domain.cutover import Cutover, RegistrySource
from domain.legacy_sync import RETURNS_WITHIN, SyncOutcome
from legacy.mapping import Reader, RegistryMapping
from legacy.shape import parse_shape
from ports.cutovers import new_draft
from ports.legacy import LegacyConfiguration, LegacyRegistry
from ports.legacy_syncs import SyncOrder
from runtime.scrubbing import Scrubber
from storage.gateway import open_bridge
from tests.api.standing_time import FREEZE, DatabaseClock, FrozenDatabase
from tests.conftest import execute, make_postgres_stores
from tests.legacy.shapes import SHAPE
from tests.storage.fixtures import PROVIDER, WORKSPACE, populate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from datetime import datetime

    from domain.model import Device
    from ports.legacy_syncs import SyncReport
    from tests.storage.fixtures import Cast

CYCLE: Final = timedelta(minutes=15)
CYCLES: Final = 7 * 24 * 4
FLEET: Final = 60
LONGEST: Final = 12  # answers of one fault
QUIET: Final = 16  # the last answers of the week, without a fault
FAULTS: Final = ("empty", "halved", "flapping", "duplicated", "twice", "unfit", "away")
REGISTRY = parse_shape(
    {**SHAPE, "registry": {**SHAPE["registry"], "provider_id": f"'{PROVIDER}'"}}
).registry


@dataclass
class Truth:
    """Which devices there are. Some leave and come back, after hours or days, and new ones come."""

    random: Random
    present: set[str] = field(default_factory=lambda: {f"bus-{n}" for n in range(1, FLEET + 1)})
    away: dict[str, int] = field(default_factory=dict)  # until which cycle
    left_at: dict[str, int] = field(default_factory=dict)

    def move_on(self, cycle: int) -> None:
        if cycle >= CYCLES - QUIET:
            return
        for name in [name for name, until in self.away.items() if until <= cycle]:
            del self.away[name]
            self.present.add(name)
        if self.random.random() < 0.05:
            for name in self.random.sample(sorted(self.present), self.random.randint(1, 3)):
                self.present.discard(name)
                self.left_at[name] = cycle
                self.away[name] = cycle + self.random.choice((2, 20, 60, 150, 10_000))
        if self.random.random() < 0.01:
            self.present.add(f"bus-{1000 + cycle}")


@dataclass
class Registry:
    """The legacy registry: it answers with the truth, spoilt by one fault at a time."""

    random: Random
    fault: str | None = None
    left: int = 0  # answers of this fault
    dropped: dict[str, int] = field(default_factory=dict)  # by device: when it was dropped last
    plain: bool = True  # the newest answer has the whole truth, and nothing else

    def answer(self, truth: Truth, cycle: int, at: datetime) -> LegacyRegistry | None:
        """Return None if there is no answer."""
        self._choose_fault(cycle)
        names = sorted(truth.present)
        items = [make_item(name) for name in self._drop_one(names, cycle)]
        self.plain = self.fault is None and len(items) == len(names)
        match self.fault:
            case "away":
                return None
            case "empty":
                items = []
            case "halved":
                items = items[::2]
            case "flapping" if self.left % 2:
                items = items[::2]
            case "duplicated":
                items += items[:20]
            case "twice":
                items += [{**items[0], "name": "Another"}]
            case "unfit":
                items = [
                    {**one, "number": None} if self.random.random() < 0.2 else one for one in items
                ]
        return read(items, at)

    def _choose_fault(self, cycle: int) -> None:
        self.left -= 1
        if self.left <= 0:
            self.fault = None
        if self.fault is None and cycle < CYCLES - QUIET and self.random.random() < 0.15:
            self.fault, self.left = self.random.choice(FAULTS), self.random.randint(1, LONGEST)

    def _drop_one(self, names: Sequence[str], cycle: int) -> list[str]:
        """Leave one device out of this answer, which the next ones have again."""
        name = self.random.choice(names)
        is_due = cycle - self.dropped.get(name, -CYCLES) > 2 * LONGEST
        if not is_due or cycle >= CYCLES - QUIET or self.random.random() > 0.2:
            return list(names)
        self.dropped[name] = cycle
        return [one for one in names if one != name]


def make_item(name: str) -> dict[str, Any]:
    return {"id": name, "unit": f"x-{name}", "number": f"vehicle-{name}", "name": f"Bus {name}"}


def read(items: Sequence[dict[str, Any]], at: datetime) -> LegacyRegistry:
    assert REGISTRY is not None
    reader = Reader(Scrubber())
    mapping = RegistryMapping(REGISTRY, reader)
    for item in items:
        mapping.add(item)
    return LegacyRegistry(mapping.devices(), (), at, reader.unfit_count)


class Week:
    """The cast, whose devices are those of the legacy registry."""

    def __init__(self, cast: Cast, clock: DatabaseClock) -> None:
        self.cast = cast
        self.clock = clock
        self.seen: Counter[str] = Counter()

    async def devices(self) -> dict[str, Device]:
        found = await self.cast.stores.registry.list_devices(
            WORKSPACE, include_retired=True, after=None, limit=1000
        )
        return {device.device_id: device for device in found}

    async def sync(self, answer: LegacyRegistry | None) -> SyncReport:
        order = SyncOrder(2, LEGACY_SYNC, self.cast.session)
        syncs = self.cast.stores.legacy_syncs
        if answer is None:
            gone = SyncOutcome.UNREACHABLE
            report = await syncs.note_failure(WORKSPACE, gone, "no answer", order)
        else:
            report = await syncs.apply_answer(WORKSPACE, answer, order)
        self.seen.update({**report.counts, str(report.outcome): 1})
        return report


@pytest.fixture
def frozen_dsn(dsn: str) -> str:
    execute(dsn, FREEZE)
    return dsn


@pytest.fixture
async def week(frozen_dsn: str) -> AsyncIterator[Week]:
    clock = DatabaseClock()
    async with open_bridge(), aclosing(FrozenDatabase(frozen_dsn, clock)) as database:
        stores = make_postgres_stores(database)
        cast = await populate(stores)
        flags = Cutover(device_registry_source=RegistrySource.LEGACY_SYNC)
        legacy = LegacyConfiguration("http://127.0.0.1:9", None, SHAPE)
        await stores.cutovers.put_cutover(WORKSPACE, draft=new_draft(flags)._replace(legacy=legacy))
        yield Week(cast, clock)


async def test_a_week_of_faults_retires_nobody_wrongly(week: Week) -> None:
    random = Random(int(os.environ.get("WEEK_SEED", "1")))
    truth, registry = Truth(random), Registry(random)
    plain_since: int | None = None  # the first of the plain answers in a row
    before = await week.devices()
    for cycle in range(CYCLES):
        week.clock.let_pass(CYCLE.total_seconds())
        truth.move_on(cycle)
        answer = registry.answer(truth, cycle, week.clock.now())
        await week.sync(answer)
        after = await week.devices()
        check_changes(before, after, truth, week.clock.now())
        plain_since = (cycle if plain_since is None else plain_since) if registry.plain else None
        if plain_since is not None and plain_since < cycle:
            active = {name for name, one in after.items() if one.retired_at is None}
            late = {name for name in active - truth.present if truth.left_at[name] <= plain_since}
            assert (late, truth.present - active) == (set(), set()), cycle
        before = after
    assert {name for name, one in before.items() if one.retired_at is None} == truth.present
    rare = {name: week.seen[name] for name in ("created", "retired", "returned", "activated")}
    assert min(rare.values()) >= 5, rare
    assert {"synced", "doubted", "incomplete", "unreachable"} <= week.seen.keys()
    assert (week.seen["swapped"], week.seen["refused"]) == (0, 0)


def check_changes(
    before: dict[str, Device], after: dict[str, Device], truth: Truth, now: datetime
) -> None:
    """Assert that only those are retired that have left, and that returns continue in time."""
    for name, device in after.items():
        former = before.get(name)
        if former is None:
            assert device.assignment == 1
        elif device.retired_at is not None:
            assert former.retired_at is not None or name not in truth.present, name
        elif former.retired_at is not None:
            is_in_time = now - former.retired_at <= RETURNS_WITHIN
            assert device.assignment == former.assignment + (not is_in_time), name
        else:
            assert device.assignment == former.assignment, name
