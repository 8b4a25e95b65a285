"""One fleet as its legacy system shows it: asked once, judged at one instant, paged in memory.

Owns the way from an answer of the legacy system to the facts of a page. The rule is in
domain/legacy_health.py. Filters and order are those of the pages of storage/sql/health.sql.
"""

from __future__ import annotations

import heapq
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import trio

from domain.ageing import find_age_group
from domain.held import EPOCH
from domain.legacy_health import LegacyFleetJudge, LegacyReports
from ports.reads import WorklistPosition

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from api.services import ApiServices
    from domain.ageing import AgeGroup
    from domain.health_facts import HealthFacts
    from domain.health_state import State
    from domain.legacy_health import LegacyPlace
    from domain.model import Device
    from ports.legacy import LegacyValues
    from ports.reads import DeviceFilter, FleetRow, HealthQuery

DEVICES_PER_SLICE = 250  # judged without a look at the other tasks


class LegacyAnswered(NamedTuple):
    """The legacy system's answer about a fleet, and the instant at which it is judged."""

    evaluated_at: datetime
    values: LegacyValues
    reports: LegacyReports


class FoundDevice(NamedTuple):
    """A device that a list shows, at its place in the order of the list."""

    position: WorklistPosition
    place: LegacyPlace
    judge: LegacyFleetJudge

    @property
    def facts(self) -> HealthFacts:
        return self.judge.facts_of(self.place.report)


class AskedFleet:
    """A fleet whose values the legacy system shows, for one request.

    `fleet` has a configured legacy system.
    """

    def __init__(self, services: ApiServices, fleet: FleetRow) -> None:
        assert fleet.legacy is not None  # noqa: S101 - api/read_owners.py has looked
        self._services = services
        self._configuration = fleet.legacy
        self._name = fleet.workspace.workspace_id
        self.row = fleet

    async def ask(
        self, evaluated_at: datetime | None, *, is_next_page: bool = False
    ) -> LegacyAnswered:
        """Ask for the present values; on a next page take those that were kept for it, if any.

        `evaluated_at=None` means the instant at which the fleet was read. The deadline is that of
        the port. Raises LegacyUnreachable and LegacyUnfit.
        """
        values = None
        if evaluated_at is not None and is_next_page:
            kept = self._services.legacy_answers
            values = kept.find(self._name, evaluated_at, self._configuration)
        if values is None:
            values = await self._services.legacy.load_values(self._name, self._configuration)
        why = {one.device_id: f"{one.expression}: {one.detail}" for one in reversed(values.unfit)}
        reports = LegacyReports(values.views, values.by_external_id, why)
        return LegacyAnswered(evaluated_at or self.row.read_at, values, reports)

    def keep(self, answered: LegacyAnswered) -> None:
        """Keep the answer for the next page: more devices follow."""
        self._services.legacy_answers.keep(
            self._name, answered.evaluated_at, self._configuration, answered.values
        )

    async def judge(self, answered: LegacyAnswered) -> JudgedFleet:
        """Return all active devices with their states. Other tasks may run meanwhile."""
        row = self.row
        judge = LegacyFleetJudge(
            row.workspace, row.connections, answered.values.answered_at, answered.evaluated_at
        )
        places: list[LegacyPlace] = []
        devices = iter(row.devices)
        while part := list(islice(devices, DEVICES_PER_SLICE)):
            places += judge.place([answered.reports.find(device) for device in part])
            await trio.lowlevel.checkpoint()
        return JudgedFleet(self, judge, places, answered.evaluated_at)


class JudgedFleet:
    """The active devices of a fleet, judged by the legacy system's times."""

    def __init__(
        self,
        fleet: AskedFleet,
        judge: LegacyFleetJudge,
        places: list[LegacyPlace],
        evaluated_at: datetime,
    ) -> None:
        self._is_active = fleet.row.workspace.active
        self._judge = judge
        self._places = places
        self._evaluated_at = evaluated_at

    def count(self, query: HealthQuery) -> Mapping[State, int]:
        """Return how many devices are in each state, whatever the filter."""
        return Counter(place.state for place in self._seen_by(query))

    def find(self, query: HealthQuery) -> list[FoundDevice]:
        """Return the devices of the page, in the order of the list."""
        found = (
            FoundDevice(_position(place, query), place, self._judge)
            for place in self._seen_by(query)
            if (query.states is None or place.state in query.states)
            and self._is_wanted(place, query.devices)
            and query.device_id in (None, place.report.device.device_id)
        )
        after = position_after(query)
        return heapq.nsmallest(
            query.limit,
            (one for one in found if after is None or one.position > after),
            key=lambda one: one.position,
        )

    def _is_wanted(self, place: LegacyPlace, wanted: DeviceFilter) -> bool:
        device = place.report.device
        return (
            (wanted.tag is None or wanted.tag in device.tags)
            and (wanted.provider_id is None or wanted.provider_id == device.provider_id)
            and (wanted.search is None or wanted.search in _searched(device))
            and (wanted.age is None or wanted.age is self._find_age_group(place))
        )

    def _find_age_group(self, place: LegacyPlace) -> AgeGroup:
        away = (self._evaluated_at - place.away_since).total_seconds()
        return find_age_group(away, is_heard=place.report.view.received_at is not None)

    def _seen_by(self, query: HealthQuery) -> list[LegacyPlace]:
        return self._places if self._is_active or query.with_inactive else []


def position_after(query: HealthQuery) -> WorklistPosition | None:
    """Return the key of the last item of the page before, as this order compares it."""
    if query.after is None or query.order == "silence":
        return query.after
    return query.after._replace(since=EPOCH)


def _searched(device: Device) -> str:
    """Return the text in which a search looks, in lower case."""
    parts = (device.vehicle_id, device.vehicle_name, device.device_id, device.external_id)
    return "\n".join(parts).lower()


def _position(place: LegacyPlace, query: HealthQuery) -> WorklistPosition:
    """Return the key of a device. By device, the first part is the same for all."""
    device = place.report.device
    since = place.away_since if query.order == "silence" else EPOCH
    return WorklistPosition(since, device.workspace_id, device.device_id)
