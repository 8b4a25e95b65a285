"""Poll cycles: what was collected when, and the request to collect now.

Running a cycle is the owner's work, on whichever shard that is; this file only leaves the request in the database.
"""

from typing import Any

from quart import Response, request

from api.auth import no_such_workspace
from api.bodies import Instant, json_response, read_query
from api.cursors import PageQuery
from api.keys import Scope
from api.operations import Operations
from api.paging import Paging, cut
from api.ports import CycleRow, NotFound
from api.problem_types import NOT_FOUND
from api.problems import Problem
from api.services import ApiServices
from api.shapes import AnswerModel
from api.traces import current_trace_id
from domain.model import CycleKey, CycleTrigger

ALL = "/workspaces/{workspace_id}/cycles"
ONE = "/workspaces/{workspace_id}/cycles/{cycle_id}"
_TAG = "cycles"


class CycleAnswer(AnswerModel):
    """One attempt at one slot. `requested_at` is set for a run that somebody asked for."""

    cycle_id: str
    workspace_id: str
    slot_start_at: Instant
    trigger: str
    attempt: int
    outcome: str
    trace_id: str
    shard_id: str | None
    requested_at: Instant | None
    started_at: Instant | None
    ended_at: Instant | None
    summary: dict[str, Any]


class CycleList(AnswerModel):
    items: list[CycleAnswer]
    next_cursor: str | None


class CycleRequested(AnswerModel):
    """Follow it at `…/cycles/{cycle_id}`."""

    cycle_id: str


def declare_cycles(operations: Operations, services: ApiServices) -> None:
    paging = Paging(services)

    @operations.declare("GET", ALL, scope=Scope.READ, query=PageQuery, response=CycleList, tag=_TAG)
    async def list_cycles(workspace_id: str) -> Response:
        """List a workspace's poll cycles, newest slot first."""
        query = read_query(request, PageQuery)
        kind = f"cycles {workspace_id}"
        rows = await services.reads.list_cycles(
            workspace_id, before=_key_before(paging, query.cursor, workspace_id), limit=query.limit + 1
        )
        page, last = cut(rows, query.limit)
        following = paging.encode(
            kind, None if last is None else (last.key.slot_start_at, str(last.key.trigger), last.key.attempt)
        )
        return json_response(CycleList(items=[_present(row) for row in page], next_cursor=following))

    @operations.declare("GET", ONE, scope=Scope.READ, response=CycleAnswer, problems=(NOT_FOUND,), tag=_TAG)
    async def get_cycle(workspace_id: str, cycle_id: str) -> Response:
        """Show one poll cycle."""
        row = await services.reads.get_cycle(workspace_id, cycle_id)
        if row is None:
            raise Problem(NOT_FOUND, f"There is no cycle {cycle_id}.")
        return json_response(_present(row))

    @operations.declare("POST", ALL, scope=Scope.CONTROL, response=CycleRequested, status=202, tag=_TAG)
    async def run_cycle_now(workspace_id: str) -> Response:
        """Ask for a cycle now. A body is not read.

        A request that still waits is answered again, not doubled. The shard that owns the workspace picks it up.
        """
        cycle_id = await services.registry.request_cycle(workspace_id, current_trace_id() or "")
        if isinstance(cycle_id, NotFound):
            raise no_such_workspace(workspace_id)
        services.nudges.registry_changed()
        return json_response(CycleRequested(cycle_id=cycle_id), 202, {"Location": f"{request.path}/{cycle_id}"})


def _key_before(paging: Paging, token: str | None, workspace_id: str) -> CycleKey | None:
    cursor = paging.decode(token, f"cycles {workspace_id}")
    if cursor is None:
        return None
    slot_start_at, trigger, attempt = cursor.after
    return CycleKey(workspace_id, slot_start_at, CycleTrigger(str(trigger)), attempt)  # type: ignore[arg-type]  # signed


def _present(row: CycleRow) -> CycleAnswer:
    return CycleAnswer(
        cycle_id=row.cycle_id,
        workspace_id=row.key.workspace_id,
        slot_start_at=row.key.slot_start_at,
        trigger=str(row.key.trigger),
        attempt=row.key.attempt,
        outcome=str(row.outcome),
        trace_id=row.trace_id,
        shard_id=row.shard_id,
        requested_at=row.requested_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
        summary=dict(row.summary),
    )
