"""Snapshots: the current values of each device, every value with its own age (FR-004, FR-008).

Owns nothing but the shape: how old is too old is decided in domain.health, with the same thresholds
as the verdict.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import cast

from pydantic import Field
from quart import Response, request

from api.auth import current_workspace
from api.bodies import Instant, json_response, read_query
from api.cursors import PageQuery
from api.devices import no_such_device
from api.keys import Scope
from api.operations import Operations
from api.paging import Paging, cut_page
from api.services import ApiServices
from api.shapes import AnswerModel
from domain.health_facts import is_after_loss
from domain.health_signals import Mark, SignalAge, SignalRules, age_signals
from domain.held import to_instant
from domain.model import ProviderConnection, Workspace
from domain.signals import CATALOGUE
from domain.thresholds import resolve_thresholds
from ports.reads import SnapshotRow

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
    observed_at: Instant = Field(description="as stated, by the provider's clock")
    received_at: Instant = Field(description="when this value came to us")
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
    version: int = Field(description="number of accepted updates")
    last_update_received_at: Instant | None = Field(
        description="when the newest accepted reading came to us"
    )
    last_changed_at: Instant | None
    freshness_age_seconds: float | None
    values: dict[str, SignalAnswer]


class SnapshotList(AnswerModel):
    evaluated_at: Instant
    items: list[SnapshotAnswer]
    next_cursor: str | None


def declare_snapshots(operations: Operations, services: ApiServices) -> None:
    paging = Paging(services)

    @operations.declare(
        "GET", ALL, scope=Scope.READ, query=PageQuery, response=SnapshotList, tag=_TAG
    )
    async def list_snapshots(workspace_id: str) -> Response:
        """List the current values of a workspace's devices, by device.

        Ages on every page are counted to the evaluated_at of the first one; values are those of the
        moment.
        """
        query = read_query(request, PageQuery)
        kind = f"snapshots {workspace_id}"
        cursor = paging.decode(query.cursor, kind)
        read_at, rows = await services.reads.list_snapshots(
            workspace_id, after=paging.key_after(query.cursor, kind), limit=query.limit + 1
        )
        evaluated_at = read_at if cursor is None else cursor.evaluated_at
        page, last = cut_page(rows, query.limit)
        connections = await _load_connections(services, workspace_id)
        items = [
            _present(row, current_workspace(), connection, evaluated_at)
            for row in page
            if (connection := connections.get(row.device.provider_id)) is not None
        ]
        following = paging.encode(
            kind, None if last is None else (last.device.device_id,), evaluated_at
        )
        return json_response(
            SnapshotList(evaluated_at=evaluated_at, items=items, next_cursor=following)
        )

    @operations.declare("GET", ONE, scope=Scope.READ, response=SnapshotAnswer, tag=_TAG)
    async def get_snapshot(workspace_id: str, device_id: str) -> Response:
        """Show the current values of one device."""
        found = await services.reads.get_snapshot(workspace_id, device_id)
        if found is None:
            raise no_such_device(device_id)
        read_at, row = found
        # Not from the list, which leaves out archived ones: the device may be retired.
        connection = await services.registry.get_provider(workspace_id, row.device.provider_id)
        if connection is None:
            raise no_such_device(device_id)
        return json_response(_present(row, current_workspace(), connection, read_at))


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


def _present(
    row: SnapshotRow,
    workspace: Workspace,
    connection: ProviderConnection,
    now: datetime,
) -> SnapshotAnswer:
    device = row.device
    thresholds = resolve_thresholds(
        workspace,
        connection,
        device,
        lives_on_calls=is_after_loss(row.last_update_received_at, row.stream_down_since),
    )
    ages = age_signals(row.document, SignalRules(workspace, thresholds), now)
    received_at = row.last_update_received_at
    return SnapshotAnswer(
        workspace_id=device.workspace_id,
        device_id=device.device_id,
        vehicle_id=device.vehicle_id,
        vehicle_name=device.vehicle_name,
        version=row.version,
        last_update_received_at=received_at,
        last_changed_at=row.last_changed_at,
        freshness_age_seconds=None
        if received_at is None
        else max(0.0, (now - received_at).total_seconds()),
        values={age.signal: _present_signal(age) for age in ages},
    )


def _present_signal(age: SignalAge) -> SignalAnswer:
    entry, held = CATALOGUE.get(age.signal), age.held
    return SignalAnswer(
        value=cast("bool | int | float | str", held.value),  # halves stand for a position
        unit=None if entry is None else entry.unit,
        observed_at=held.observed_at,
        received_at=to_instant(held.arrival),
        reception_at=None if held.reception is None else to_instant(held.reception),
        changed_at=None if held.changed is None else to_instant(held.changed),
        age_seconds=age.age_seconds,
        mark=age.mark,
    )
