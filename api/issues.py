"""The worklist (FR-007): devices that stopped reporting or never did, with vehicle and reason.

`/issues` lists those of one workspace, `/worklist` those of all workspaces that the key sees. Both
have the same items in the same order: by arrival or by the vehicle's own time, whichever says
that it has been away longer. When there is nothing to do, the items are an empty list.
"""

import hashlib
from collections.abc import Sequence
from enum import StrEnum

from pydantic import Field
from quart import Response, request

from api.auth import current_access, current_workspace
from api.bodies import Instant, json_response, read_query
from api.csv_answers import JSON_OR_CSV, LINKED, CsvQuery, respond_csv
from api.keys import Scope
from api.operations import Operations
from api.outages import OUTAGE_DESCRIPTION, WorkspaceOutage, find_outage
from api.paging import Paging
from api.services import ApiServices
from api.shapes import AnswerModel, Identifier
from api.spreadsheet import Cell
from api.tags import TagFilter, to_cell
from api.time_zones import TIME_ZONE_DESCRIPTION
from api.verdicts import (
    ACTIVE_DESCRIPTION,
    JudgedDevice,
    JudgedPage,
    VerdictAnswer,
    load_judged,
    load_rows,
    page_query,
    verdict_fields,
)
from domain.health_facts import age_seconds
from domain.health_state import State
from ports.reads import HealthQuery

COLUMNS = (
    "workspace_id",
    "workspace_name",
    "vehicle_id",
    "vehicle_name",
    "device_id",
    "provider_id",
    "external_id",
    "state",
    "reason",
    "silent_for_seconds",
    "last_update_received_at",
    "configured_at",
    "grace_exceeded_at",
    "evaluated_at",
    "party",
    "away_for_seconds",
    "last_observed_at",
    "tags",
)


class IssueState(StrEnum):
    """The states that make a device an issue."""

    STALE = State.STALE.value
    CONFIGURED_NO_DATA = State.CONFIGURED_NO_DATA.value


class IssueAnswer(VerdictAnswer):
    """A device to ask about.

    `silent_for_seconds` counts from the arrival of its last update, or else from configured_at.
    `away_for_seconds` counts by the vehicle's own time. The list is sorted by the longer of both.
    """

    workspace_name: str
    grace_exceeded_at: Instant | None = Field(description="set for configured-no-data")
    silent_for_seconds: float


class IssueReport(AnswerModel):
    """Away longest first. `counts` cover all active devices of the workspace."""

    workspace_id: str
    workspace_active: bool = Field(description=ACTIVE_DESCRIPTION)
    time_zone: str = Field(description=TIME_ZONE_DESCRIPTION)
    evaluated_at: Instant
    counts: dict[State, int]
    workspace_outage: WorkspaceOutage | None = Field(description=OUTAGE_DESCRIPTION)
    items: list[IssueAnswer]
    next_cursor: str | None


class Worklist(AnswerModel):
    """Away longest first. `counts` cover all active devices of the workspaces asked about."""

    evaluated_at: Instant
    counts: dict[State, int]
    items: list[IssueAnswer]
    next_cursor: str | None


class IssueQuery(CsvQuery):
    state: tuple[IssueState, ...] = Field((), description="only these states; both, unless given")
    tag: TagFilter = None

    @property
    def states(self) -> frozenset[State]:
        return frozenset(State(state.value) for state in self.state or IssueState)


class WorklistQuery(IssueQuery):
    workspace_id: tuple[Identifier, ...] = Field(
        (), max_length=100, description="only these workspaces; repeat it for more"
    )


def declare_issues(operations: Operations, services: ApiServices) -> None:
    _declare_issues_of_one(operations, services)
    _declare_worklist(operations, services)


def _declare_issues_of_one(operations: Operations, services: ApiServices) -> None:
    paging = Paging(services)

    @operations.declare(
        "GET",
        "/workspaces/{workspace_id}/issues",
        scope=Scope.READ,
        query=IssueQuery,
        response=IssueReport,
        media_types=JSON_OR_CSV,
        headers=LINKED,
        tag="issues",
    )
    async def list_issues(workspace_id: str) -> Response:
        """List a workspace's stale and configured-no-data devices, away longest first.

        JSON or CSV. An inactive workspace has no issues: `workspace_active` says so.
        """
        query = read_query(request, IssueQuery)
        only = frozenset({workspace_id})
        kind = f"issues away {workspace_id} {sorted(query.states)} {query.tag}"
        wanted = _issue_query(query, paging, kind)
        if query.wants_csv:
            rows, last = await load_rows(services, only, wanted, _to_row)
            following = last.next_cursor(paging, kind)
            return respond_csv(COLUMNS, rows, f"issues-{workspace_id}.csv", following)
        page = await load_judged(services, only, wanted)
        _log_configured_no_data(services, page)
        return json_response(
            IssueReport(
                workspace_id=workspace_id,
                workspace_active=current_workspace().active,
                time_zone=current_workspace().time_zone,
                evaluated_at=page.evaluated_at,
                counts=dict(page.counts),
                workspace_outage=None
                if query.cursor
                else await find_outage(services, workspace_id, page),
                items=[_present(item, page) for item in page.items],
                next_cursor=page.next_cursor(paging, kind),
            )
        )


def _declare_worklist(operations: Operations, services: ApiServices) -> None:
    paging = Paging(services)

    @operations.declare(
        "GET",
        "/worklist",
        scope=Scope.READ,
        query=WorklistQuery,
        response=Worklist,
        media_types=JSON_OR_CSV,
        headers=LINKED,
        tag="issues",
    )
    async def list_worklist() -> Response:
        """List the issues of all workspaces that the key sees, away longest first.

        JSON or CSV.
        """
        query = read_query(request, WorklistQuery)
        workspaces = _workspaces_of(query)
        kind = _worklist_kind(query)
        wanted = _issue_query(query, paging, kind)
        if query.wants_csv:
            rows, last = await load_rows(services, workspaces, wanted, _to_row)
            following = last.next_cursor(paging, kind)
            return respond_csv(COLUMNS, rows, "worklist.csv", following)
        page = await load_judged(services, workspaces, wanted)
        _log_configured_no_data(services, page)
        return json_response(
            Worklist(
                evaluated_at=page.evaluated_at,
                counts=dict(page.counts),
                items=[_present(item, page) for item in page.items],
                next_cursor=page.next_cursor(paging, kind),
            )
        )


def _issue_query(query: IssueQuery, paging: Paging, kind: str) -> HealthQuery:
    wanted = page_query(query, paging.decode(query.cursor, kind))
    return wanted._replace(states=query.states, order="silence", tag=query.tag)


def _workspaces_of(query: WorklistQuery) -> frozenset[str] | None:
    """Those asked about that the key sees.

    One that it does not see is left out, as one without devices would be.
    """
    seen = current_access().workspaces
    if not query.workspace_id:
        return seen
    asked = frozenset(query.workspace_id)
    return asked if seen is None else asked & seen


def _worklist_kind(query: WorklistQuery) -> str:
    """Hashed, because a hundred workspace ids would not fit into a cursor."""
    filters = f"{sorted(query.workspace_id)} {sorted(query.states)} {query.tag}"
    return f"worklist away {hashlib.sha256(filters.encode()).hexdigest()[:32]}"


def _to_row(judged: JudgedDevice, page: JudgedPage) -> Sequence[Cell]:
    issue = _present(judged, page).model_dump(include=set(COLUMNS)) | {
        "evaluated_at": page.evaluated_at,
        "tags": to_cell(judged.facts.device.tags),
    }
    return [issue[name] for name in COLUMNS]


def _present(judged: JudgedDevice, page: JudgedPage) -> IssueAnswer:
    return IssueAnswer(
        **verdict_fields(judged),
        workspace_name=judged.facts.workspace.name,
        grace_exceeded_at=judged.verdict.grace_exceeded_at,
        silent_for_seconds=age_seconds(judged.facts.silent_since, page.evaluated_at),
    )


def _log_configured_no_data(services: ApiServices, page: JudgedPage) -> None:
    """Log devices that never reported. At debug, because every request makes the verdicts anew."""
    for facts, verdict in page.items:
        if verdict.state is State.CONFIGURED_NO_DATA:
            services.log.debug(
                "device_marked_configured_no_data",
                workspace_id=facts.device.workspace_id,
                device_id=facts.device.device_id,
                configured_at=facts.device.activated_at,
                grace_exceeded_at=verdict.grace_exceeded_at,
            )
