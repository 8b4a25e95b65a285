"""Snapshots: the current values of each device, every value with its own age (FR-004, FR-008).

Owns nothing but the shape: how old is too old is decided in domain.health, with the same thresholds
as the verdict. The values are core's or the legacy system's, never both in one answer.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, cast

from pydantic import Field
from quart import Response, request

from api.auth import current_workspace
from api.bodies import Instant, json_response, read_query
from api.cursors import Cursor, PageQuery
from api.devices import no_such_device
from api.keys import Scope
from api.legacy_fleet import AskedFleet
from api.operations import Operations
from api.paging import Paging, cut_page
from api.read_owners import (
    LIST_PROBLEMS,
    READ_PROBLEMS,
    SERVED_BY_DESCRIPTION,
    ReadOwnerQuery,
    find_legacy_fleet,
    refuse_other_source,
    source_of,
)
from api.services import ApiServices
from api.shapes import AnswerModel
from domain.cutover import ReadOwner
from domain.health_facts import is_after_loss
from domain.health_signals import Mark, SignalAge, SignalRules, age_signals
from domain.held import to_instant
from domain.legacy_health import LegacyReport, document_of, find_untimed
from domain.model import ProviderConnection, Workspace
from domain.signals import CATALOGUE
from domain.thresholds import resolve_thresholds
from ports.reads import FleetQuery, FleetRow, SnapshotRow

ALL = "/workspaces/{workspace_id}/snapshots"
ONE = "/workspaces/{workspace_id}/snapshots/{device_id}"
_TAG = "snapshots"


class SignalAnswer(AnswerModel):
    """One value. `old`: it may no longer be true, whatever the device's own state.

    `ended`: it is no present value. It was sent only while another signal said so, and that is
    over.
    """

    value: bool | int | float | str
    unit: str | None
    observed_at: Instant | None = Field(
        description="as stated, by the provider's clock; null if a legacy system does not state it"
    )
    received_at: Instant = Field(
        description="when this value came to us. Of a legacy system: when it last heard the device"
    )
    reception_at: Instant | None = Field(
        description="when the provider itself received it, where it states that"
    )
    changed_at: Instant | None = Field(
        description="when an observation last brought another value; null if that is not known"
    )
    age_seconds: float = Field(description="from the earlier of observed_at and received_at")
    mark: Mark


class SnapshotAnswer(AnswerModel):
    workspace_id: str
    device_id: str
    vehicle_id: str
    vehicle_name: str
    served_by: ReadOwner = Field(description=SERVED_BY_DESCRIPTION)
    version: int | None = Field(
        description="number of accepted updates; null if the legacy system shows the values"
    )
    last_update_received_at: Instant | None = Field(
        description="when the newest accepted reading came to us, or to the legacy system"
    )
    last_changed_at: Instant | None
    freshness_age_seconds: float | None
    values: dict[str, SignalAnswer]


class SnapshotList(AnswerModel):
    served_by: ReadOwner = Field(description=SERVED_BY_DESCRIPTION)
    evaluated_at: Instant
    items: list[SnapshotAnswer]
    next_cursor: str | None


class SnapshotQuery(PageQuery, ReadOwnerQuery):
    """The query of a list of snapshots."""


def declare_snapshots(operations: Operations, services: ApiServices) -> None:
    _declare_list(operations, services)
    _declare_get(operations, services)


def _declare_list(operations: Operations, services: ApiServices) -> None:
    paging = Paging(services)

    @operations.declare(
        "GET",
        ALL,
        scope=Scope.READ,
        query=SnapshotQuery,
        response=SnapshotList,
        problems=LIST_PROBLEMS,
        tag=_TAG,
    )
    async def list_snapshots(workspace_id: str) -> Response:
        """List the current values of a workspace's devices, by device.

        Ages on every page are counted to the evaluated_at of the first one; values are those of the
        moment.
        """
        query = read_query(request, SnapshotQuery)
        kind = f"snapshots {workspace_id}"
        cursor = paging.decode(query.cursor, kind)
        wanted = FleetQuery(after=_key_of(cursor), limit=query.limit + 1)
        fleet = await find_legacy_fleet(services, current_workspace(), query.read_owner, wanted)
        owner = ReadOwner.CORE if fleet is None else ReadOwner.LEGACY
        refuse_other_source(cursor, source_of(owner))
        page = await (
            _read_core(services, current_workspace(), wanted)
            if fleet is None
            else _ask_legacy(services, fleet, query, cursor)
        )
        evaluated_at = page.read_at if cursor is None else cursor.evaluated_at
        shown, last = cut_page(page.shown, query.limit)
        following = None if last is None else (last.row.device.device_id,)
        return json_response(
            SnapshotList(
                served_by=owner,
                evaluated_at=evaluated_at,
                items=[_present(one, evaluated_at) for one in shown if one.connection],
                next_cursor=paging.encode(kind, following, evaluated_at, source_of(owner)),
            )
        )


def _declare_get(operations: Operations, services: ApiServices) -> None:
    @operations.declare(
        "GET",
        ONE,
        scope=Scope.READ,
        query=ReadOwnerQuery,
        response=SnapshotAnswer,
        problems=READ_PROBLEMS,
        tag=_TAG,
    )
    async def get_snapshot(workspace_id: str, device_id: str) -> Response:
        """Show the current values of one device."""
        query = read_query(request, ReadOwnerQuery)
        wanted = FleetQuery(device_id=device_id)
        fleet = await find_legacy_fleet(services, current_workspace(), query.read_owner, wanted)
        page = await (
            _read_core_device(services, current_workspace(), device_id)
            if fleet is None
            else _ask_legacy(services, fleet, None, None)
        )
        if not page.shown or page.shown[0].connection is None:
            raise no_such_device(device_id)
        return json_response(_present(page.shown[0], page.read_at))


def _key_of(cursor: Cursor | None) -> Any:
    return None if cursor is None else cursor.after[0]


class _Shown(NamedTuple):
    """One device's values with the configuration that they are judged by.

    Without a connection the device is not shown. `untimed` are values whose observation has no
    time.
    """

    row: SnapshotRow
    workspace: Workspace
    connection: ProviderConnection | None
    served_by: ReadOwner = ReadOwner.CORE
    untimed: frozenset[str] = frozenset()


class _Page(NamedTuple):
    read_at: datetime
    shown: Sequence[_Shown]


async def _read_core(services: ApiServices, workspace: Workspace, wanted: FleetQuery) -> _Page:
    read_at, rows = await services.reads.list_snapshots(
        workspace.workspace_id, after=wanted.after, limit=wanted.limit or 1
    )
    connections = await _load_connections(services, workspace.workspace_id)
    shown = [_Shown(row, workspace, connections.get(row.device.provider_id)) for row in rows]
    return _Page(read_at, shown)


async def _read_core_device(services: ApiServices, workspace: Workspace, device_id: str) -> _Page:
    found = await services.reads.get_snapshot(workspace.workspace_id, device_id)
    if found is None:
        raise no_such_device(device_id)
    read_at, row = found
    # Not from the list, which leaves out archived ones: the device may be retired.
    connection = await services.registry.get_provider(
        workspace.workspace_id, row.device.provider_id
    )
    return _Page(read_at, [_Shown(row, workspace, connection)])


async def _ask_legacy(
    services: ApiServices, row: FleetRow, query: PageQuery | None, cursor: Cursor | None
) -> _Page:
    """Return the devices of `row` with the legacy system's values.

    Raises LegacyUnreachable and LegacyUnfit.
    """
    fleet = AskedFleet(services, row)
    evaluated_at = None if cursor is None else cursor.evaluated_at
    answered = await fleet.ask(evaluated_at, is_next_page=cursor is not None)
    if query is not None and len(row.devices) > query.limit:
        fleet.keep(answered)
    reports = [answered.reports.find(device) for device in row.devices]
    return _Page(answered.evaluated_at, [_of_legacy(report, row) for report in reports])


def _of_legacy(report: LegacyReport, fleet: FleetRow) -> _Shown:
    device, view = report.device, report.view
    row = SnapshotRow(device, None, document_of(view), view.received_at, None, None)
    connection = fleet.connections.get(device.provider_id)
    return _Shown(row, fleet.workspace, connection, ReadOwner.LEGACY, find_untimed(view))


async def _load_connections(
    services: ApiServices,
    workspace_id: str,
) -> Mapping[str, ProviderConnection]:
    """Return those in use, by provider_id.

    A connection with active devices is in use. One that is missing was archived after the devices
    were read, and its devices were retired before that.
    """
    found = await services.registry.list_providers(workspace_id, after=None, limit=None)
    return {connection.provider_id: connection for connection in found}


def _present(shown: _Shown, now: datetime) -> SnapshotAnswer:
    row, device = shown.row, shown.row.device
    assert shown.connection is not None  # noqa: S101 - those without one were left out
    thresholds = resolve_thresholds(
        shown.workspace,
        shown.connection,
        device,
        lives_on_calls=is_after_loss(row.last_update_received_at, row.stream_down_since),
    )
    ages = age_signals(row.document, SignalRules(shown.workspace, thresholds), now)
    received_at = row.last_update_received_at
    return SnapshotAnswer(
        workspace_id=device.workspace_id,
        device_id=device.device_id,
        vehicle_id=device.vehicle_id,
        vehicle_name=device.vehicle_name,
        served_by=shown.served_by,
        version=row.version,
        last_update_received_at=received_at,
        last_changed_at=row.last_changed_at,
        freshness_age_seconds=None
        if received_at is None
        else max(0.0, (now - received_at).total_seconds()),
        values={age.signal: _present_signal(age, shown.untimed) for age in ages},
    )


def _present_signal(age: SignalAge, untimed: frozenset[str]) -> SignalAnswer:
    entry, held = CATALOGUE.get(age.signal), age.held
    return SignalAnswer(
        value=cast("bool | int | float | str", held.value),  # halves stand for a position
        unit=None if entry is None else entry.unit,
        observed_at=None if age.signal in untimed else held.observed_at,
        received_at=to_instant(held.arrival),
        reception_at=None if held.reception is None else to_instant(held.reception),
        changed_at=None if held.changed is None else to_instant(held.changed),
        age_seconds=age.age_seconds,
        mark=age.mark,
    )
