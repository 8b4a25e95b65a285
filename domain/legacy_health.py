"""What the legacy system says of our devices, as the facts that the health rule judges.

Under read_owner=legacy states and reasons are ours, judged on the legacy system's times. What we
know of our own cycles, sockets and connections is no evidence about a system that collects by
itself, so none of it is used. Pure. docs/cutover.md explains the rule.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from domain.health_facts import CollectorRecord, ConnectionRecord, HealthFacts, find_away_since
from domain.health_state import cutoffs, state_of
from domain.held import Held, to_micros
from domain.identity import key_of
from domain.legacy_views import index_views
from domain.model import StatementKind
from domain.parity import DeviceView
from domain.position import HALVES, POSITION
from domain.thresholds import resolve_thresholds

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from domain.health_state import Cutoffs, State
    from domain.model import Device, PolicyOverride, ProviderConnection, Workspace
    from domain.parity import ShownValue

# A clock may be ahead by so much. A time further ahead does not show that a system collects.
MAX_AHEAD: Final = timedelta(seconds=60)
_NOTHING: Final = DeviceView({}, None)
_OUR_SIDE: Final = CollectorRecord()  # nothing is known


class LegacyReport(NamedTuple):
    """What the legacy system says of one device, as far as it counts for the present assignment.

    `statement` says whether its answer names the device, leaves it out, or has an item for it that
    cannot be read; `detail` is about that item.
    """

    device: Device
    statement: StatementKind
    view: DeviceView
    detail: str | None = None


class LegacyPlace(NamedTuple):
    """A device with the state and the time by which lists filter and sort."""

    report: LegacyReport
    state: State
    away_since: datetime


class LegacyReports:
    """Finds what one answer of the legacy system says of each device.

    The views are by device_id, or by provider and external id, as in ports.legacy.LegacyValues.
    `unreadable` says why an item does not fit, by the id that the item has, or None. An item
    without a readable id may be any device that the answer does not name.
    """

    def __init__(
        self,
        views: Mapping[str, DeviceView],
        by_external_id: Mapping[tuple[str, str], DeviceView],
        unreadable: Mapping[str | None, str],
    ) -> None:
        self._views = views
        self._by_external_id = by_external_id
        self._unreadable = unreadable
        self._by_key: dict[bool, dict[tuple[str, str], DeviceView]] = {}

    def find(self, device: Device) -> LegacyReport:
        """Return what the answer says of the device."""
        view = self._find_view(device)
        if view is None and None in self._unreadable:
            detail = f"an item without a readable id may be its own: {self._unreadable[None]}"
            return LegacyReport(device, StatementKind.ERROR, _NOTHING, detail)
        if view is None:
            return LegacyReport(device, StatementKind.LEFT_OUT, _NOTHING)
        if not view.is_readable:
            known_as = device.external_id if self._by_external_id else device.device_id
            detail = self._unreadable.get(known_as, "its item cannot be read")
            return LegacyReport(device, StatementKind.ERROR, _NOTHING, detail)
        return LegacyReport(device, StatementKind.NAMED, _of_assignment(view, device))

    def _find_view(self, device: Device) -> DeviceView | None:
        if not self._by_external_id:
            return self._views.get(device.device_id)
        is_vin = device.ids_are_vins
        if is_vin not in self._by_key:
            self._by_key[is_vin] = index_views(self._by_external_id, lambda _: is_vin)
        return self._by_key[is_vin].get((device.provider_id, key_of(device)))


def _of_assignment(view: DeviceView, device: Device) -> DeviceView:
    """Return what counts of a view: all of it, in the device's first assignment.

    The first activation here is no event of the legacy system, which may know the device for years.
    A later assignment has another unit or vehicle, and history of the one before does not count.
    Without a receipt nothing was heard, whatever else is shown.
    """
    received_at = view.received_at
    if received_at is None:
        return _NOTHING
    if device.assignment == 1:
        return view
    begun_at = device.activated_at
    if received_at < begun_at:
        return _NOTHING
    values = {
        signal: shown
        for signal, shown in view.values.items()
        if shown.observed_at is None or shown.observed_at >= begun_at
    }
    return DeviceView(values, received_at)


def document_of(view: DeviceView) -> dict[str, Held]:
    """Return the values by their names on the wire, as stored ones are.

    The legacy system says when it heard the device, and not for each value. So all values have that
    arrival. A value without a time of its own is as old as that at least.
    """
    if view.received_at is None:
        return {}
    arrival = to_micros(view.received_at)
    document: dict[str, Held] = {}
    for signal, shown in view.values.items():
        stated = arrival if shown.observed_at is None else to_micros(shown.observed_at)
        for name, value in _on_the_wire(signal, shown):
            document[name] = Held(value, stated, arrival)
    return document


def find_untimed(view: DeviceView) -> frozenset[str]:
    """Return the names on the wire of the values whose time the legacy system does not state."""
    return frozenset(
        name
        for signal, shown in view.values.items()
        if shown.observed_at is None
        for name, _ in _on_the_wire(signal, shown)
    )


def _on_the_wire(signal: str, shown: ShownValue) -> list[tuple[str, bool | int | float | str]]:
    value = shown.value
    if isinstance(value, tuple):
        return list(zip(HALVES, value, strict=True)) if signal == POSITION else []
    return [(signal, value)]


class LegacyFleetJudge:
    """Makes the facts of one fleet's devices from one answer, at one instant. Never raises.

    `connections` are by provider_id; a device without one is left out.
    """

    def __init__(
        self,
        workspace: Workspace,
        connections: Mapping[str, ProviderConnection],
        answered_at: datetime,
        now: datetime,
    ) -> None:
        self._workspace = workspace
        self._connections = connections
        self._answered_at = answered_at
        self._now = now
        self._cutoffs: dict[tuple[str, PolicyOverride], Cutoffs] = {}
        self._heard: dict[str, ConnectionRecord] = {}

    def place(self, reports: Iterable[LegacyReport]) -> list[LegacyPlace]:
        """Return the state of each device, and note who was heard. May be called for parts."""
        places = []
        for report in reports:
            device, view = report.device, report.view
            if device.provider_id not in self._connections:
                continue
            self._note_heard(device, view.received_at)
            state = state_of(view.received_at, device.activated_at, self._cutoffs_of(device))
            observed_at = view.observed_at
            since = find_away_since(view.received_at, observed_at, device.activated_at)
            places.append(LegacyPlace(report, state, since))
        return places

    def facts_of(self, report: LegacyReport) -> HealthFacts:
        """Return the facts of one device, once all of them have a place."""
        device, view = report.device, report.view
        return HealthFacts(
            workspace=self._workspace,
            connection=self._connections[device.provider_id],
            device=device,
            connection_record=self._heard.get(device.provider_id, _NOBODY_HEARD),
            collector=_OUR_SIDE,
            version=0,
            document=document_of(view),
            last_update_received_at=view.received_at,
            last_observed_at=view.observed_at,
            last_changed_at=None,
            statement=report.statement.value,
            statement_begun_at=None,
            statement_at=self._answered_at,
            statement_detail=report.detail,
            last_rejected_at=None,
            last_rejection_reason=None,
            last_outdated_at=None,
            held_back_seconds=None,
            is_of_legacy=True,
        )

    def _note_heard(self, device: Device, received_at: datetime | None) -> None:
        """Keep the two newest receipts of each connection, and whose the newest is."""
        if received_at is None or received_at > self._now + MAX_AHEAD:
            return
        before = self._heard.get(device.provider_id, _NOBODY_HEARD)
        if before.data_at is None or received_at > before.data_at:
            after = ConnectionRecord(
                data_at=received_at,
                data_device_id=device.device_id,
                other_data_at=before.data_at,
            )
        elif before.other_data_at is None or received_at > before.other_data_at:
            after = ConnectionRecord(
                data_at=before.data_at,
                data_device_id=before.data_device_id,
                other_data_at=received_at,
            )
        else:
            return
        self._heard[device.provider_id] = after

    def _cutoffs_of(self, device: Device) -> Cutoffs:
        key = (device.provider_id, device.override)
        found = self._cutoffs.get(key)
        if found is None:
            connection = self._connections[device.provider_id]
            thresholds = resolve_thresholds(self._workspace, connection, device)
            found = self._cutoffs[key] = cutoffs(thresholds, self._now)
        return found


_NOBODY_HEARD: Final = ConnectionRecord()
