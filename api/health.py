"""The health report of a workspace: every device, judged at each request (FR-005, FR-012)."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

from pydantic import Field
from quart import Response, request

from api.auth import current_workspace
from api.bodies import Instant, read_query, respond_with_items
from api.csv_answers import JSON_OR_CSV, LINKED_AND_SERVED, SERVED_BY, respond_csv
from api.device_filters import DeviceFilterQuery, digest
from api.keys import Scope
from api.operations import Operations
from api.outages import OUTAGE_DESCRIPTION, WorkspaceOutage, find_outage
from api.paging import Paging
from api.read_owners import LIST_PROBLEMS, SERVED_BY_DESCRIPTION, ReadOwnerQuery, source_of
from api.services import ApiServices
from api.shapes import AnswerModel, Identifier
from api.shared_answers import SharedAnswers
from api.shown_values import ReportedValue, SignalName, pick_values
from api.sources import open_source
from api.spreadsheet import Cell
from api.tags import to_cell
from api.time_zones import TIME_ZONE_DESCRIPTION
from api.verdicts import (
    ACTIVE_DESCRIPTION,
    COUNTED_DESCRIPTION,
    JudgedDevice,
    JudgedPage,
    VerdictAnswer,
    load_judged,
    load_rows,
    page_query,
    verdict_fields,
)
from domain.cutover import ReadOwner
from domain.health_state import State

COLUMNS = (
    "workspace_id",
    "vehicle_id",
    "vehicle_name",
    "device_id",
    "provider_id",
    "external_id",
    "state",
    "reason",
    "freshness_age_seconds",
    "last_update_received_at",
    "last_confirmed_at",
    "provider_lag_seconds",
    "old_signals",
    "evaluated_at",
    "party",
    "away_for_seconds",
    "last_observed_at",
    "configured_at",
    "tags",
    "served_by",
)


class ReportedDevice(VerdictAnswer):
    values: dict[str, ReportedValue] | None = Field(
        description="of the signals that the query names, as far as they came; null: it names none"
    )


class HealthReport(AnswerModel):
    """One page of a workspace's devices with their health.

    `counts` cover all active devices of the workspace, whatever the filter.
    """

    workspace_id: str
    workspace_active: bool = Field(description=ACTIVE_DESCRIPTION)
    time_zone: str = Field(description=TIME_ZONE_DESCRIPTION)
    served_by: ReadOwner = Field(description=SERVED_BY_DESCRIPTION)
    evaluated_at: Instant
    counts: dict[State, int]
    counted_at: Instant = Field(description=COUNTED_DESCRIPTION)
    workspace_outage: WorkspaceOutage | None = Field(description=OUTAGE_DESCRIPTION)
    items: list[ReportedDevice]
    next_cursor: str | None


class HealthReportQuery(DeviceFilterQuery, ReadOwnerQuery):
    state: tuple[State, ...] = Field(
        (), description="only devices in one of these states; repeat it for more"
    )
    device_id: Identifier | None = Field(None, description="only the device with this id")
    order: Literal["device", "away"] = Field(
        "device", description="by device_id, or away longest first, as in the worklist"
    )
    signal: tuple[SignalName, ...] = Field(
        (),
        max_length=20,
        description="show the `values` of these signals; repeat it for more",
    )


def declare_health(operations: Operations, services: ApiServices) -> None:
    paging, answers = Paging(services), SharedAnswers()

    @operations.declare(
        "GET",
        "/workspaces/{workspace_id}/health",
        scope=Scope.READ,
        query=HealthReportQuery,
        response=HealthReport,
        media_types=JSON_OR_CSV,
        headers=LINKED_AND_SERVED,
        problems=LIST_PROBLEMS,
        tag="health",
    )
    @answers.share
    async def report_health(workspace_id: str) -> Response:
        """Report the state of every active device, with reason and evidence.

        JSON, or CSV without the evidence. When reasons or parties are asked for, a page may be
        shorter than the limit although `next_cursor` leads to more.

        All pages are judged at the evaluated_at of the first. In an inactive workspace every device
        that is late is `switched_off`. Under `read_owner` legacy states and reasons are judged on
        the legacy system's times, and nothing is said of our own collecting.
        """
        query = read_query(request, HealthReportQuery)
        states = frozenset(query.state) or None
        asked = digest(query.digest, query.order, sorted(states or ()), query.device_id)
        kind = f"health {workspace_id} {asked}"
        cursor = paging.decode(query.cursor, kind)
        wanted = page_query(query, cursor)
        wanted = wanted._replace(
            states=states,
            with_inactive=True,
            devices=query.devices,
            device_id=query.device_id,
            order="silence" if query.order == "away" else "device",
        )
        source = await open_source(services, current_workspace(), query.read_owner, cursor)
        served_by = source_of(source.served_by)
        if query.wants_csv:
            rows, last = await load_rows(services, source, wanted, _to_row, query.accepts)
            following = last.next_cursor(paging, kind, served_by)
            headers = {SERVED_BY: source.served_by}
            return respond_csv(COLUMNS, rows, f"health-{workspace_id}.csv", following, headers)
        page = await load_judged(services, source, wanted, query.accepts)
        return respond_with_items(
            HealthReport(
                workspace_id=workspace_id,
                workspace_active=current_workspace().active,
                time_zone=current_workspace().time_zone,
                served_by=source.served_by,
                evaluated_at=page.evaluated_at,
                counts=dict(page.counts),
                counted_at=page.counted_at,
                workspace_outage=None
                if query.cursor
                else await find_outage(services, source, page),
                items=[],
                next_cursor=page.next_cursor(paging, kind, served_by),
            ),
            [_present(item, query.signal, page) for item in page.items],
        )


def _present(judged: JudgedDevice, signals: Collection[str], page: JudgedPage) -> Mapping[str, Any]:
    """Return a ReportedDevice in plain values."""
    values = pick_values(judged, signals, page.evaluated_at) if signals else None
    return verdict_fields(judged) | {"values": values}


def _to_row(judged: JudgedDevice, page: JudgedPage) -> Sequence[Cell]:
    fields = verdict_fields(judged)
    fields |= {
        "old_signals": "; ".join(fields["old_signals"]),
        "tags": to_cell(fields["tags"]),
        "evaluated_at": page.evaluated_at,
    }
    return [fields[name] for name in COLUMNS]
