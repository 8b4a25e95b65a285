"""The poll plan: how many workspaces start in each second, and which starts went wrong.

Owns the answer only: the schedule is domain/schedule.py, the counting domain/poll_plan.py. What is
counted are the workspaces that the key sees; others are not named and not counted.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Final, NamedTuple

import trio
from pydantic import Field
from quart import Response, request

from api.auth import current_access
from api.bodies import Instant, RequestModel, json_response, read_query
from api.keys import Scope
from api.operations import Operations
from api.services import ApiServices
from api.shapes import AnswerModel
from domain.cycles import CycleOutcome, CycleTrigger
from domain.poll_plan import (
    JudgedStart,
    PlannedWorkspace,
    StartState,
    add_up,
    count_by_second,
    judge_start,
)
from domain.registry import DEFAULT_INTERVAL_SECONDS, MAX_INTERVAL_SECONDS
from domain.start_offsets import most_in_a_second

MAX_LATE: Final = 200
MAX_SERIES: Final = 50
MIN_SECONDS: Final = 10
DEFAULT_LEAST_SECONDS: Final = 60
WORKSPACES_PER_SLICE: Final = 500  # a few milliseconds; then other tasks may run
_LISTED: Final = (StartState.OVERDUE, StartState.MISSED, StartState.LATE)  # the worst first


class PlanQuery(RequestModel):
    seconds: Annotated[
        int | None,
        Field(
            ge=MIN_SECONDS,
            le=MAX_INTERVAL_SECONDS,
            description="the length of the plan. Left out: the longest interval in use, "
            "but at least 60",
        ),
    ] = None


class PlanSeries(AnswerModel):
    """The workspaces of one interval."""

    poll_interval_seconds: int
    workspaces: int
    fullest_second: int = Field(description="the most that start in one second")


class StartAnswer(AnswerModel):
    """A workspace whose newest start did not go as planned."""

    workspace_id: str
    name: str
    poll_interval_seconds: int
    state: StartState
    slot_start_at: Instant = Field(description="when it was to start")
    started_at: Instant | None
    late_seconds: float | None = Field(
        description="started minus planned; of an overdue one, since then; null: it never started"
    )
    trigger: CycleTrigger | None
    outcome: CycleOutcome | None


class PlanAnswer(AnswerModel):
    """The starts of `seconds` from `begins_at` on, an epoch multiple of `seconds`, and the newest.

    `evaluated_at` lies within this time.
    """

    evaluated_at: Instant
    begins_at: Instant
    seconds: int
    workspaces: int = Field(description="active ones that the key sees")
    most_in_a_second: int = Field(
        description="how many may start in one second by explicit offsets: 1% of them, or 2"
    )
    starts: list[int] = Field(description="how many start in each second, jitter left out")
    fullest_second: int
    series: list[PlanSeries] = Field(description="the 50 with the most workspaces")
    states: dict[StartState, int] = Field(description="how the newest starts went")
    late: list[StartAnswer] = Field(
        description="those that did not go as planned, the worst first; at most 200"
    )


def declare_plan(operations: Operations, services: ApiServices) -> None:
    @operations.declare(
        "GET", "/plan", scope=Scope.READ, query=PlanQuery, response=PlanAnswer, tag="cycles"
    )
    async def get_plan() -> Response:
        """Show when the workspaces that the key sees are polled, second by second.

        The plan follows from their configuration alone. Beside it stands how their newest starts
        went: those that were late, missed or overdue one by one.
        """
        wanted = read_query(request, PlanQuery)
        now = services.clock.now()
        planned = await services.reads.list_starts(current_access().workspaces)
        judged = await _judge(planned, now)
        return json_response(_present(planned, judged, wanted.seconds, now))


class _Judged(NamedTuple):
    workspace: PlannedWorkspace
    start: JudgedStart


async def _judge(planned: Sequence[PlannedWorkspace], now: datetime) -> list[_Judged]:
    """Judge every workspace. Other tasks may run meanwhile."""
    judged: list[_Judged] = []
    for first in range(0, len(planned), WORKSPACES_PER_SLICE):
        part = planned[first : first + WORKSPACES_PER_SLICE]
        judged += [_Judged(one, judge_start(one.place, one.newest, now)) for one in part]
        await trio.lowlevel.checkpoint()
    return judged


def _present(
    planned: Sequence[PlannedWorkspace],
    judged: Sequence[_Judged],
    seconds: int | None,
    now: datetime,
) -> PlanAnswer:
    counts = count_by_second(one.place for one in planned)
    longest = max(counts, default=DEFAULT_INTERVAL_SECONDS)
    length = seconds or max(longest, DEFAULT_LEAST_SECONDS)
    begins_at = int(now.timestamp()) // length * length
    starts = add_up(counts, begins_at, length)
    states = Counter(one.start.state for one in judged)
    return PlanAnswer(
        evaluated_at=now,
        begins_at=datetime.fromtimestamp(begins_at, UTC),
        seconds=length,
        workspaces=len(planned),
        most_in_a_second=most_in_a_second(len(planned)),
        starts=starts,
        fullest_second=max(starts),
        series=_present_series(counts),
        states={state: states[state] for state in StartState},
        late=_present_late(judged),
    )


def _present_series(counts: Mapping[int, Sequence[int]]) -> list[PlanSeries]:
    found = [
        PlanSeries(
            poll_interval_seconds=interval, workspaces=sum(series), fullest_second=max(series)
        )
        for interval, series in counts.items()
    ]
    return sorted(found, key=lambda one: (-one.workspaces, one.poll_interval_seconds))[:MAX_SERIES]


def _present_late(judged: Sequence[_Judged]) -> list[StartAnswer]:
    listed = [one for one in judged if one.start.state in _LISTED]
    listed.sort(key=_badness)
    return [_present_start(*one) for one in listed[:MAX_LATE]]


def _badness(one: _Judged) -> tuple[int, float, str]:
    start, late = one.start, one.start.late_seconds or 0.0
    return _LISTED.index(start.state), -late, one.workspace.place.workspace_id


def _present_start(workspace: PlannedWorkspace, start: JudgedStart) -> StartAnswer:
    newest = workspace.newest
    if newest is not None and newest.slot_start_at != start.slot_start_at:
        newest = None  # an overdue slot has no record
    return StartAnswer(
        workspace_id=workspace.place.workspace_id,
        name=workspace.name,
        poll_interval_seconds=workspace.place.interval,
        state=start.state,
        slot_start_at=start.slot_start_at,
        started_at=newest and newest.started_at,
        late_seconds=start.late_seconds,
        trigger=newest and newest.trigger,
        outcome=newest and newest.outcome,
    )
