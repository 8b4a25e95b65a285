"""The worklist (FR-007): devices that stopped reporting or never did, with vehicle and reason.

`/issues` lists those of one workspace, `/worklist` those of all workspaces that the key sees. Both
have the same items in the same order: by arrival or by the vehicle's own time, whichever says
that it has been away longer. When there is nothing to do, the items are an empty list.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from pydantic import Field
from quart import Response, request

from api.auth import current_access, current_workspace
from api.bodies import Instant, read_query, respond_with_items
from api.csv_answers import (
    JSON_OR_CSV,
    LINKED,
    LINKED_AND_SERVED,
    MAX_CSV_ROWS,
    ROWS_PER_QUERY,
    SERVED_BY,
    respond_csv,
)
from api.cursors import Cursor
from api.device_filters import DeviceFilterQuery, digest
from api.keys import Scope
from api.legacy_survey import UNAVAILABLE_DESCRIPTION, UnavailableWorkspace
from api.operations import Operations
from api.outages import OUTAGE_DESCRIPTION, WorkspaceOutage, find_outage
from api.paging import Paging
from api.problem_types import SOURCE_CHANGED
from api.read_owners import LIST_PROBLEMS, SERVED_BY_DESCRIPTION, ReadOwnerQuery, source_of
from api.services import ApiServices
from api.shapes import AnswerModel, Identifier
from api.shared_answers import SharedAnswers
from api.sources import open_source
from api.spreadsheet import Cell
from api.tags import to_cell
from api.time_zones import TIME_ZONE_DESCRIPTION
from api.verdicts import (
    ACTIVE_DESCRIPTION,
    COUNTED_DESCRIPTION,
    MAX_SIFTED,
    JudgedDevice,
    JudgedPage,
    VerdictAnswer,
    load_judged,
    load_rows,
    page_query,
    verdict_fields,
)
from api.worklist_source import WorklistSource
from domain.cutover import ReadOwner
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
    "served_by",
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
    served_by: ReadOwner = Field(description=SERVED_BY_DESCRIPTION)
    evaluated_at: Instant
    counts: dict[State, int]
    counted_at: Instant = Field(description=COUNTED_DESCRIPTION)
    workspace_outage: WorkspaceOutage | None = Field(description=OUTAGE_DESCRIPTION)
    items: list[IssueAnswer]
    next_cursor: str | None


class Worklist(AnswerModel):
    """Away longest first. `counts` cover all active devices of the workspaces asked about."""

    evaluated_at: Instant
    counts: dict[State, int]
    counted_at: Instant = Field(description=COUNTED_DESCRIPTION)
    unavailable_workspaces: list[UnavailableWorkspace] = Field(description=UNAVAILABLE_DESCRIPTION)
    items: list[IssueAnswer]
    next_cursor: str | None


class IssueQuery(DeviceFilterQuery):
    state: tuple[IssueState, ...] = Field((), description="only these states; both, unless given")

    @property
    def states(self) -> frozenset[State]:
        return frozenset(State(state.value) for state in self.state or IssueState)


class IssuesOfOneQuery(IssueQuery, ReadOwnerQuery):
    """The query of a workspace's issues."""


class WorklistQuery(IssueQuery):
    workspace_id: tuple[Identifier, ...] = Field(
        (), max_length=100, description="only these workspaces; repeat it for more"
    )


def declare_issues(operations: Operations, services: ApiServices) -> None:
    _declare_issues_of_one(operations, services)
    _declare_worklist(operations, services)


def _declare_issues_of_one(operations: Operations, services: ApiServices) -> None:
    paging, answers = Paging(services), SharedAnswers()

    @operations.declare(
        "GET",
        "/workspaces/{workspace_id}/issues",
        scope=Scope.READ,
        query=IssuesOfOneQuery,
        response=IssueReport,
        media_types=JSON_OR_CSV,
        headers=LINKED_AND_SERVED,
        problems=LIST_PROBLEMS,
        tag="issues",
    )
    @answers.share
    async def list_issues(workspace_id: str) -> Response:
        """List a workspace's stale and configured-no-data devices, away longest first.

        JSON or CSV. An inactive workspace has no issues: `workspace_active` says so.
        """
        query = read_query(request, IssuesOfOneQuery)
        kind = f"issues away {workspace_id} {digest(query.digest, sorted(query.states))}"
        cursor = paging.decode(query.cursor, kind)
        wanted = _issue_query(query, cursor)
        source = await open_source(services, current_workspace(), query.read_owner, cursor)
        served_by = source_of(source.served_by)
        if query.wants_csv:
            rows, last = await load_rows(services, source, wanted, _to_row, query.accepts)
            following = last.next_cursor(paging, kind, served_by)
            headers = {SERVED_BY: source.served_by}
            return respond_csv(COLUMNS, rows, f"issues-{workspace_id}.csv", following, headers)
        page = await load_judged(services, source, wanted, query.accepts)
        _log_configured_no_data(services, page)
        return respond_with_items(
            IssueReport(
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
            [_present(item, page) for item in page.items],
        )


def _declare_worklist(operations: Operations, services: ApiServices) -> None:
    paging, answers = Paging(services), SharedAnswers()

    @operations.declare(
        "GET",
        "/worklist",
        scope=Scope.READ,
        query=WorklistQuery,
        response=Worklist,
        media_types=JSON_OR_CSV,
        headers=LINKED,
        problems=(SOURCE_CHANGED,),
        tag="issues",
    )
    @answers.share
    async def list_worklist() -> Response:
        """List the issues of all workspaces that the key sees, away longest first.

        JSON or CSV. Each workspace is shown by core or its legacy system, as its `read_owner` says.
        A workspace whose legacy system does not answer within 8 s is named in
        `unavailable_workspaces`. A CSV begins with a row for each of these, without a device.
        """
        query = read_query(request, WorklistQuery)
        kind = _worklist_kind(query)
        cursor = paging.decode(query.cursor, kind)
        wanted = _issue_query(query, cursor)
        most = 1 + _most_shown(query)
        source = WorklistSource(services, workspaces_of(query), most=most, cursor=cursor)
        if query.wants_csv:
            rows, last = await load_rows(services, source, wanted, _to_row, query.accepts)
            rows = [*map(_to_row_of_unavailable, source.unavailable), *rows]
            following = last.next_cursor(paging, kind, source.source)
            return respond_csv(COLUMNS, rows, "worklist.csv", following)
        page = await load_judged(services, source, wanted, query.accepts)
        _log_configured_no_data(services, page)
        return respond_with_items(
            Worklist(
                evaluated_at=page.evaluated_at,
                counts=dict(page.counts),
                counted_at=page.counted_at,
                unavailable_workspaces=source.unavailable,
                items=[],
                next_cursor=page.next_cursor(paging, kind, source.source),
            ),
            [_present(item, page) for item in page.items],
        )


def _most_shown(query: WorklistQuery) -> int:
    """Return how many devices of legacy systems the answer may have to look at."""
    if query.wants_csv:
        return MAX_CSV_ROWS + ROWS_PER_QUERY
    return query.limit if query.accepts is None else MAX_SIFTED


def _issue_query(query: IssueQuery, cursor: Cursor | None) -> HealthQuery:
    wanted = page_query(query, cursor)
    return wanted._replace(states=query.states, order="silence", devices=query.devices)


def workspaces_of(query: WorklistQuery) -> frozenset[str] | None:
    """Those asked about that the key sees.

    One that it does not see is left out, as one without devices would be.
    """
    seen = current_access().workspaces
    if not query.workspace_id:
        return seen
    asked = frozenset(query.workspace_id)
    return asked if seen is None else asked & seen


def _worklist_kind(query: WorklistQuery) -> str:
    asked = digest(query.digest, sorted(query.workspace_id), sorted(query.states))
    return f"worklist away {asked}"


def _to_row(judged: JudgedDevice, page: JudgedPage) -> Sequence[Cell]:
    issue = _present(judged, page) | {
        "evaluated_at": page.evaluated_at,
        "tags": to_cell(judged.facts.device.tags),
    }
    return [issue[name] for name in COLUMNS]


def _to_row_of_unavailable(workspace: UnavailableWorkspace) -> Sequence[Cell]:
    """Return a row that names the workspace and the reason, since a CSV has no other place."""
    known = {
        "workspace_id": workspace.workspace_id,
        "state": "unavailable",
        "reason": workspace.reason,
        "served_by": ReadOwner.LEGACY,
    }
    return [known.get(name) for name in COLUMNS]


def _present(judged: JudgedDevice, page: JudgedPage) -> dict[str, Any]:
    """Return an IssueAnswer in plain values."""
    return verdict_fields(judged) | {
        "workspace_name": judged.facts.workspace.name,
        "grace_exceeded_at": judged.verdict.grace_exceeded_at,
        "silent_for_seconds": age_seconds(judged.facts.silent_since, page.evaluated_at),
    }


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
