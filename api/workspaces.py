"""Workspaces: customers' fleets, with their thresholds and their schedule.

Owns the checks before a workspace is stored. It must never show a workspace to a key that is
limited to others.
"""

from dataclasses import asdict
from typing import Annotated

from pydantic import BeforeValidator, Field, create_model
from quart import Response, request

from api.auth import current_access, current_author, current_workspace, no_such_workspace
from api.bodies import RequestModel, json_response, read_json, read_query
from api.conflicts import locate_conflict
from api.cursors import PageQuery
from api.keys import Scope
from api.operations import Operations
from api.paging import Paging, cut_page
from api.problem_types import CONFLICT, INVALID_BODY
from api.problems import FaultyPart, Problem
from api.services import ApiServices
from api.shapes import AnswerModel, Name, Seconds
from domain.model import Policy, Workspace
from domain.registry import MAX_INTERVAL_SECONDS, Conflict
from domain.thresholds import check_policy

ONE = "/workspaces/{workspace_id}"
DEFAULT_POLL_INTERVAL_SECONDS = 300
_DEFAULTS = Policy()
_KIND = "workspaces"
_TAG = "workspaces"


class ThresholdsBody(RequestModel):
    """Limits of freshness age, in seconds: target <= delayed < stale.

    `grace_seconds` is how long a new device's first report is awaited.
    """

    freshness_target_seconds: Seconds = _DEFAULTS.freshness_target_seconds
    delayed_after_seconds: Seconds = _DEFAULTS.delayed_after_seconds
    stale_after_seconds: Seconds = _DEFAULTS.stale_after_seconds
    grace_seconds: Seconds = _DEFAULTS.grace_seconds


class WorkspaceBody(RequestModel):
    """A workspace's configuration. A PUT replaces all of it: members left out get their default."""

    name: Name
    active: bool = True
    poll_interval_seconds: int = DEFAULT_POLL_INTERVAL_SECONDS
    thresholds: ThresholdsBody = ThresholdsBody()


def _accept_whole(value: object) -> object:
    """Return 300.0 as 300: they are the same to JSON Schema and to clients with one number type."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _body_of(min_poll_interval_seconds: int) -> type[WorkspaceBody]:
    """Return the body's model for this installation, with its shortest poll interval."""
    bounds = Field(ge=min_poll_interval_seconds, le=MAX_INTERVAL_SECONDS)
    interval = Annotated[int, bounds, BeforeValidator(_accept_whole)]
    default = max(DEFAULT_POLL_INTERVAL_SECONDS, min_poll_interval_seconds)
    return create_model(
        "WorkspaceBody",
        __base__=WorkspaceBody,
        __doc__=WorkspaceBody.__doc__,
        poll_interval_seconds=(interval, default),
    )


class WorkspaceAnswer(AnswerModel):
    workspace_id: str
    name: str
    active: bool
    poll_interval_seconds: int
    thresholds: ThresholdsBody
    config_version: int


class WorkspaceList(AnswerModel):
    items: list[WorkspaceAnswer]
    next_cursor: str | None


def declare_workspaces(operations: Operations, services: ApiServices) -> None:
    _declare_list(operations, services)
    _declare_get(operations, services)
    _declare_put(operations, services)


def _declare_list(operations: Operations, services: ApiServices) -> None:
    paging = Paging(services)

    @operations.declare(
        "GET", "/workspaces", scope=Scope.READ, query=PageQuery, response=WorkspaceList, tag=_TAG
    )
    async def list_workspaces() -> Response:
        """List the workspaces that the key sees, by id."""
        query = read_query(request, PageQuery)
        rows = await services.registry.list_workspaces(
            workspaces=current_access().workspaces,
            after=paging.key_after(query.cursor, _KIND),
            limit=query.limit + 1,
        )
        page, last = cut_page(rows, query.limit)
        following = paging.encode(_KIND, None if last is None else (last.workspace_id,))
        return json_response(
            WorkspaceList(items=[_present(row) for row in page], next_cursor=following)
        )


def _declare_get(operations: Operations, services: ApiServices) -> None:
    @operations.declare("GET", ONE, scope=Scope.READ, response=WorkspaceAnswer, tag=_TAG)
    async def get_workspace(workspace_id: str) -> Response:
        """Show one workspace."""
        return json_response(_present(current_workspace()))


def _declare_put(operations: Operations, services: ApiServices) -> None:
    body_model = _body_of(services.min_poll_interval_seconds)

    @operations.declare(
        "PUT",
        ONE,
        scope=Scope.CONTROL,
        request=body_model,
        response=WorkspaceAnswer,
        creates=True,
        problems=(CONFLICT,),
        tag=_TAG,
    )
    async def put_workspace(workspace_id: str) -> Response:
        """Configure a workspace: 201 when it is new, 200 when it existed.

        A key that is limited to workspaces can create only those that it names.
        """
        body = await read_json(request, body_model)
        policy = Policy(**body.thresholds.model_dump())
        _refuse_contradictions(policy)
        stored = await services.registry.put_workspace(
            workspace_id,
            name=body.name,
            active=body.active,
            poll_interval_seconds=body.poll_interval_seconds,
            policy=policy,
            by=current_author(),
        )
        if isinstance(stored, Conflict):
            fault = locate_conflict(stored, group="thresholds", members=ThresholdsBody)
            raise Problem(CONFLICT, errors=[fault])
        services.nudges.registry_changed()
        workspace = await services.registry.get_workspace(workspace_id)
        if workspace is None:
            raise no_such_workspace(workspace_id)
        return json_response(_present(workspace), 201 if stored.created else 200)


def _refuse_contradictions(policy: Policy) -> None:
    faults = [
        FaultyPart(pointer=f"/thresholds/{fault.field}", detail=fault.detail)
        for fault in check_policy(policy)
    ]
    if faults:
        raise Problem(INVALID_BODY, errors=faults)


def _present(workspace: Workspace) -> WorkspaceAnswer:
    return WorkspaceAnswer(
        workspace_id=workspace.workspace_id,
        name=workspace.name,
        active=workspace.active,
        poll_interval_seconds=workspace.poll_interval_seconds,
        thresholds=ThresholdsBody(**asdict(workspace.policy)),
        config_version=workspace.config_version,
    )
