"""The parties behind the devices of many workspaces that are not healthy, and their outages.

Owns how many devices are judged for one answer, and how many at once.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import trio

from api.csv_answers import ROWS_PER_QUERY
from api.outages import OutageTally
from api.sources import CoreSource
from api.verdicts import JudgedDevice, load_judged
from domain.health import Judge
from domain.health_state import State
from ports.reads import HealthQuery

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from api.legacy_fleet import JudgedFleet
    from api.outages import WorkspaceOutage
    from api.services import ApiServices
    from domain.health_reason import Party

MAX_JUDGED: Final = 10_000  # devices of one answer; those of further workspaces are not judged
_NOT_HEALTHY: Final = frozenset(State) - {State.HEALTHY}


class FleetParties:
    """What is known of the devices of some workspaces at one instant. For one request."""

    def __init__(self, services: ApiServices, evaluated_at: datetime) -> None:
        self._services = services
        self._evaluated_at = evaluated_at
        self._parties: dict[str, Counter[Party]] = {}
        self._tallies: dict[str, OutageTally] = {}
        self.counts: dict[str, Mapping[State, int]] = {}

    async def read(self, counts: Mapping[str, Mapping[State, int]]) -> None:
        """Judge the devices of core's workspaces that are not healthy, MAX_JUDGED at most."""
        self.counts |= counts
        judged = 0
        for names, devices in _batches(counts):
            judged += devices
            if judged > MAX_JUDGED:
                return
            for name in names:
                self._parties[name] = Counter()
                self._tallies[name] = OutageTally()
            await self._read_batch(names)

    async def _read_batch(self, names: frozenset[str]) -> None:
        source = CoreSource(self._services, names)
        query = HealthQuery(
            states=_NOT_HEALTHY,
            limit=ROWS_PER_QUERY,
            now=self._evaluated_at,
            with_inactive=True,
            with_counts=False,
        )
        while True:
            page = await load_judged(self._services, source, query)
            for item in page.items:
                self._add(item.facts.device.workspace_id, item)
            await trio.lowlevel.checkpoint()
            if page.last is None:
                return
            query = query._replace(after=page.last.position)

    def take_legacy(self, name: str, judged: JudgedFleet) -> None:
        """Take what a legacy system shows of a workspace. It shows no outage."""
        every = HealthQuery(with_inactive=True)
        self.counts[name] = judged.count(every)
        self._parties[name] = Counter()
        late = every._replace(states=_NOT_HEALTHY, limit=MAX_JUDGED)
        judge = Judge(self._evaluated_at).judge
        for found in judged.find(late):
            self._parties[name][judge(found.facts).party] += 1

    def _add(self, name: str, item: JudgedDevice) -> None:
        self._parties[name][item.verdict.party] += 1
        self._tallies[name].add(item)

    def parties_of(self, name: str) -> dict[Party, int] | None:
        """Return the devices that are not healthy by party; None if they were not judged."""
        found = self._parties.get(name)
        if found is None:
            is_judged = name not in self.counts or not _count_late(self.counts[name])
            return {} if is_judged else None
        return dict(sorted(found.items()))

    def outage_of(self, name: str) -> WorkspaceOutage | None:
        """Return the outage of a workspace of core; None if a device is healthy."""
        tally = self._tallies.get(name)
        if tally is None or self.counts[name].get(State.HEALTHY, 0):
            return None
        return tally.find()


def _batches(counts: Mapping[str, Mapping[State, int]]) -> Iterator[tuple[frozenset[str], int]]:
    """Return workspaces with late devices, about as many together as one query may bring.

    Each batch comes with the number of its late devices. So no device is read twice, as it would be
    if pages of a few went over the whole fleet.
    """
    names: list[str] = []
    devices = 0
    for name, late in ((name, _count_late(each)) for name, each in counts.items()):
        if names and devices + late > ROWS_PER_QUERY:
            yield frozenset(names), devices
            names, devices = [], 0
        if late:
            names.append(name)
            devices += late
    if names:
        yield frozenset(names), devices


def _count_late(counts: Mapping[State, int]) -> int:
    return sum(count for state, count in counts.items() if state is not State.HEALTHY)
