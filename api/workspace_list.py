"""The list of workspaces, each with its devices counted by state.

Owns which system counts: core, or the legacy system where that shows the values. It must never show
a workspace to a key that is limited to others.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from pydantic import Field
from quart import Response, request

from api.auth import current_access
from api.bodies import Instant, json_response, read_query
from api.cursors import PageQuery
from api.keys import Scope
from api.legacy_fleet import JudgedFleet
from api.legacy_survey import LegacySurvey, UnavailableWorkspace
from api.operations import Operations
from api.paging import Paging, cut_page
from api.read_owners import SERVED_BY_DESCRIPTION
from api.services import ApiServices
from api.shapes import AnswerModel
from api.verdicts import complete_counts
from api.workspaces import WorkspaceAnswer, present_fields
from domain.cutover import ReadOwner
from domain.health_state import State
from domain.model import Workspace
from ports.reads import HealthQuery


class ListedWorkspace(WorkspaceAnswer):
    served_by: ReadOwner = Field(description=SERVED_BY_DESCRIPTION)
    counts: dict[State, int] | None = Field(
        description="its active devices by state, as in its health; null if the workspace is in "
        "`unavailable_workspaces`"
    )


class WorkspaceList(AnswerModel):
    """One page of workspaces. `counts` are of `evaluated_at`, as all pages of one list are."""

    evaluated_at: Instant
    unavailable_workspaces: list[UnavailableWorkspace] = Field(
        description="workspaces without `counts`: their legacy systems show their values, and did "
        "not answer"
    )
    items: list[ListedWorkspace]
    next_cursor: str | None


class WorkspaceQuery(PageQuery):
    archived: bool = Field(False, description="list archived workspaces instead of those in use")


class _Counted(NamedTuple):
    """The counts of the workspaces of one page, by workspace_id, at one instant."""

    evaluated_at: datetime
    by_workspace: Mapping[str, Mapping[State, int] | None]
    unavailable: Sequence[UnavailableWorkspace]


def declare_workspace_list(operations: Operations, services: ApiServices) -> None:
    paging = Paging(services)

    @operations.declare(
        "GET",
        "/workspaces",
        scope=Scope.READ,
        query=WorkspaceQuery,
        response=WorkspaceList,
        tag="workspaces",
    )
    async def list_workspaces() -> Response:
        """List the workspaces that the key sees, by id, with their devices counted by state.

        Where the legacy system shows the values, it is asked. If it does not answer within 8 s,
        `counts` is null.
        """
        query = read_query(request, WorkspaceQuery)
        kind = f"workspaces {query.archived}"
        cursor = paging.decode(query.cursor, kind)
        after: Any = None if cursor is None else cursor.after[0]
        rows = await services.registry.list_workspaces(
            workspaces=current_access().workspaces,
            after=after,
            limit=query.limit + 1,
            archived=query.archived,
        )
        page, last = cut_page(rows, query.limit)
        counted = await _count(services, page, None if cursor is None else cursor.evaluated_at)
        following = None if last is None else (last.workspace_id,)
        return json_response(
            WorkspaceList(
                evaluated_at=counted.evaluated_at,
                unavailable_workspaces=list(counted.unavailable),
                items=[_present(row, counted) for row in page],
                next_cursor=paging.encode(kind, following, counted.evaluated_at),
            )
        )


async def _count(
    services: ApiServices, page: Sequence[Workspace], now: datetime | None
) -> _Counted:
    """Count the devices of each workspace, by the flags with which the page was read.

    An archived workspace has no active devices, so nobody is asked about it.
    """
    legacy = {row.workspace_id for row in page if _is_of_legacy(row) and row.archived_at is None}
    ours = [row.workspace_id for row in page if row.workspace_id not in legacy]
    evaluated_at, counts = await services.reads.count_states(ours, now)
    by_workspace: dict[str, Mapping[State, int] | None] = dict(counts)

    def take(name: str, judged: JudgedFleet) -> None:
        by_workspace[name] = judged.count(HealthQuery(with_inactive=True))

    survey = LegacySurvey(services, take)
    await survey.ask(legacy, evaluated_at)
    by_workspace |= {missing.workspace_id: None for missing in survey.unavailable}
    return _Counted(evaluated_at, by_workspace, survey.unavailable)


def _is_of_legacy(workspace: Workspace) -> bool:
    return workspace.cutover.read_owner is ReadOwner.LEGACY


def _present(workspace: Workspace, counted: _Counted) -> ListedWorkspace:
    counts = counted.by_workspace.get(workspace.workspace_id, {})
    return ListedWorkspace(
        **present_fields(workspace),
        served_by=workspace.cutover.read_owner,
        counts=None if counts is None else complete_counts(counts),
    )
