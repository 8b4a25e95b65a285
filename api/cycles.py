"""Poll cycles: the record of past ones, and the request for a new one.

The shard that owns the workspace runs its cycles. A request to run now is stored in the database
for that shard. A request for the next regular start stores nothing: the schedule runs that cycle
anyway. Until that cycle is recorded, the API shows it from the schedule alone, as `scheduled`.
"""

from datetime import datetime, timedelta
from typing import Any, Literal

from pydantic import Field
from quart import Response, request

from api.auth import current_author, current_workspace, no_such_workspace
from api.bodies import Instant, json_response, read_query
from api.conflicts import refuse_archived
from api.cursors import PageQuery
from api.cycle_records import LifecycleRecordAnswer, present_records
from api.cycle_requests import CycleRequest, read_cycle_request
from api.evidence import SummaryDict
from api.keys import Scope
from api.operations import Operations
from api.paging import Paging, cut_page
from api.pause import refuse_while_paused
from api.problem_types import CONFLICT, NOT_FOUND
from api.problems import Problem
from api.services import ApiServices
from api.shapes import AnswerModel
from api.traces import current_trace_id
from domain import schedule
from domain.cycles import CycleKey, CycleOutcome, CycleTrigger
from domain.model import Workspace
from domain.registry import Archived, Conflict, NotFound, refuse_run
from domain.schedule import Place, place_of
from ports.reads import CycleRow

ALL = "/workspaces/{workspace_id}/cycles"
ONE = "/workspaces/{workspace_id}/cycles/{cycle_id}"
_TAG = "cycles"
_FOLLOWED = {"Location": "the path of the cycle: ask it until `ended_at` is set"}
# The longest time from a cycle's start to its row in the database, also on a busy shard.
_RECORDED_WITHIN = timedelta(seconds=10)


class CycleAnswer(AnswerModel):
    """One attempt at one slot. It has ended when `ended_at` is set.

    A `scheduled` or `requested` cycle has no `shard_id` and an empty summary.
    """

    cycle_id: str
    workspace_id: str
    slot_start_at: Instant
    trigger: CycleTrigger
    attempt: int
    outcome: CycleOutcome | Literal["requested", "scheduled"] = Field(
        description="`scheduled`: it waits for its regular start. `requested`: a client asked for "
        "it, and its shard has not begun it. `running`: it has begun. All others are final"
    )
    trace_id: str | None
    shard_id: str | None
    requested_at: Instant | None = Field(description="when a client asked for a run at once")
    started_at: Instant | None
    ended_at: Instant | None
    active_devices: int | None = Field(
        description="devices of the workspace when the cycle ended (of a missed one, when its slot "
        "began); null: it has not ended, or nobody counted then"
    )
    fresh_devices: int | None = Field(description="those with an age within the freshness target")
    updated_devices: int | None = Field(
        description="those with news since the slot began, or over a stream or a push connection "
        "within one interval"
    )
    summary: SummaryDict


class CycleDetail(CycleAnswer):
    """One attempt at one slot, with its lifecycle records: the story of the cycle, in order.

    The shard's log has the same records under the same `trace_id`. While the cycle runs only its
    start is known, and of a cycle that was `abandoned` because its shard is gone only start and
    end. A cycle that has not started, or was missed, has none. Further names may come.
    """

    records: list[LifecycleRecordAnswer]


class CycleList(AnswerModel):
    items: list[CycleAnswer]
    next_cursor: str | None


class CycleRequested(AnswerModel):
    """The cycle that will run. `…/cycles/{cycle_id}` shows it: ask until `ended_at` is set.

    Until it starts it is `scheduled`, or `requested` with `{"when": "now"}`. After a takeover
    another attempt may serve the slot. The list shows that attempt, with the same `slot_start_at`.
    """

    cycle_id: str
    slot_start_at: Instant
    start_at: Instant


def declare_cycles(operations: Operations, services: ApiServices) -> None:
    _declare_list(operations, services)
    _declare_get(operations, services)
    _declare_run(operations, services)


def _declare_list(operations: Operations, services: ApiServices) -> None:
    paging = Paging(services)

    @operations.declare("GET", ALL, scope=Scope.READ, query=PageQuery, response=CycleList, tag=_TAG)
    async def list_cycles(workspace_id: str) -> Response:
        """List a workspace's poll cycles, newest slot first.

        Lists recorded cycles only, so none that is `scheduled`.
        """
        query = read_query(request, PageQuery)
        kind = f"cycles {workspace_id}"
        rows = await services.reads.list_cycles(
            workspace_id,
            before=_key_before(paging, query.cursor, workspace_id),
            limit=query.limit + 1,
        )
        page, last = cut_page(rows, query.limit)
        following = paging.encode(
            kind,
            None
            if last is None
            else (last.key.slot_start_at, str(last.key.trigger), last.key.attempt),
        )
        return json_response(
            CycleList(items=[CycleAnswer(**_stored(row)) for row in page], next_cursor=following)
        )


def _declare_get(operations: Operations, services: ApiServices) -> None:
    @operations.declare(
        "GET", ONE, scope=Scope.READ, response=CycleDetail, problems=(NOT_FOUND,), tag=_TAG
    )
    async def get_cycle(workspace_id: str, cycle_id: str) -> Response:
        """Show one poll cycle and its lifecycle records.

        The next regular cycle of an active workspace is shown too, as `scheduled`. Its id becomes
        404 when the workspace is deactivated or gets another interval or offset, or when another
        attempt serves the slot.
        """
        row = await services.reads.get_cycle(workspace_id, cycle_id)
        if row is not None:
            return json_response(CycleDetail(**_stored(row), records=present_records(row)))
        scheduled = _find_scheduled(current_workspace(), cycle_id, services.clock.now())
        if scheduled is None:
            raise Problem(NOT_FOUND, f"There is no cycle {cycle_id}.")
        return json_response(scheduled)


def _declare_run(operations: Operations, services: ApiServices) -> None:
    @operations.declare(
        "POST",
        ALL,
        scope=Scope.CONTROL,
        request=CycleRequest,
        request_required=False,
        response=CycleRequested,
        status=202,
        headers=_FOLLOWED,
        problems=(CONFLICT,),
        tag=_TAG,
    )
    async def run_cycle_now(workspace_id: str) -> Response:
        """Ask for a cycle: at the next regular start, or now.

        Without a body, or without `when`, the answer names the workspace's next regular cycle. No
        extra cycle runs, so a scheduler may ask for all workspaces at the same instant, and
        repeated requests before that start cause one run. The event of an EventBridge API
        destination is taken as it is and means the same; it cannot ask for a run at once (422).

        With `{"when": "now"}` the shard that owns the workspace runs a cycle at once. While such a
        request waits, further ones are answered with the same cycle.

        An inactive workspace runs no cycle (409): switch it on first. Nor does any while every
        shard is paused (409). A cycle at once is refused (409) if it would ask nothing, because
        the connections are switched off.
        """
        wanted = await read_cycle_request(workspace_id)
        workspace = await services.registry.get_workspace(workspace_id)
        if workspace is None:
            raise no_such_workspace(workspace_id)
        await refuse_while_paused(services)
        if wanted.when == "now":
            answer = await _request_now(services, workspace_id)
        elif (refusal := refuse_run(workspace)) or (place := place_of(workspace)) is None:
            raise Problem(CONFLICT, refusal.detail if refusal else None)
        else:
            answer = _find_next(place, services.clock.now())
        if wanted.is_event:
            _log_event(services, workspace_id, wanted, answer)
        return json_response(answer, 202, {"Location": f"{request.path}/{answer.cycle_id}"})


def _log_event(
    services: ApiServices, workspace_id: str, event: CycleRequest, answer: CycleRequested
) -> None:
    """Log which event asked for which cycle. The record has the trace id of the request."""
    services.log.info(
        "cycle_event_received",
        workspace_id=workspace_id,
        cycle_id=answer.cycle_id,
        event_id=event.id,
        event_at=event.time,
        event_source=event.source,
        detail_type=event.detail_type,
    )


async def _request_now(services: ApiServices, workspace_id: str) -> CycleRequested:
    requested = await services.registry.request_cycle(
        workspace_id, current_trace_id() or "", by=current_author()
    )
    if isinstance(requested, NotFound):
        raise no_such_workspace(workspace_id)
    if isinstance(requested, Archived):
        raise refuse_archived(requested)
    if isinstance(requested, Conflict):
        raise Problem(CONFLICT, requested.detail)
    services.nudges.registry_changed()
    row = await services.reads.get_cycle(workspace_id, requested)
    asked_at = services.clock.now() if row is None else row.key.slot_start_at
    return CycleRequested(cycle_id=requested, slot_start_at=asked_at, start_at=asked_at)


def _find_next(place: Place, now: datetime) -> CycleRequested:
    start = schedule.next_start(now, place)
    return CycleRequested(
        cycle_id=schedule.cycle_id(_regular_key(place.workspace_id, start.slot_start_at)),
        slot_start_at=start.slot_start_at,
        start_at=start.start_at,
    )


def _find_scheduled(workspace: Workspace, cycle_id: str, now: datetime) -> CycleDetail | None:
    """Return the regular cycle with this id, if it starts next or has just started.

    "Just": within `_RECORDED_WITHIN`, in which its row may not be stored yet. Otherwise None.
    """
    place = place_of(workspace)
    if place is None:
        return None
    candidates = (_find_next(place, after) for after in (now, now - _RECORDED_WITHIN))
    return next(
        (_present_scheduled(workspace, one) for one in candidates if one.cycle_id == cycle_id), None
    )


def _regular_key(workspace_id: str, slot_start_at: datetime) -> CycleKey:
    return CycleKey(workspace_id, slot_start_at, CycleTrigger.SCHEDULE, 1)


def _present_scheduled(workspace: Workspace, promised: CycleRequested) -> CycleDetail:
    key = _regular_key(workspace.workspace_id, promised.slot_start_at)
    return CycleDetail(
        cycle_id=promised.cycle_id,
        workspace_id=key.workspace_id,
        slot_start_at=key.slot_start_at,
        trigger=key.trigger,
        attempt=key.attempt,
        outcome="scheduled",
        trace_id=None,
        shard_id=None,
        requested_at=None,
        started_at=None,
        ended_at=None,
        active_devices=None,
        fresh_devices=None,
        updated_devices=None,
        summary={},
        records=[],
    )


def _key_before(paging: Paging, token: str | None, workspace_id: str) -> CycleKey | None:
    cursor = paging.decode(token, f"cycles {workspace_id}")
    if cursor is None:
        return None
    slot_start_at, trigger, attempt = cursor.after
    # The cursor's types are not checked: it was signed here.
    key: Any = (workspace_id, slot_start_at, CycleTrigger(str(trigger)), attempt)
    return CycleKey(*key)


def _stored(row: CycleRow) -> dict[str, Any]:
    """Return the members of a recorded cycle's answer."""
    return {**row._asdict(), **row.key._asdict(), "summary": dict(row.summary)}
