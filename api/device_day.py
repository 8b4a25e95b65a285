"""A device's day: what happened to it, as counts and edges of a size that does not grow.

For pictures and for people who look for a cause. The statement is in storage/sql/device_day.sql.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from quart import Response, request

from api.bodies import Instant, RequestModel, json_response, read_query
from api.devices import no_such_device
from api.keys import Scope
from api.operations import Operations
from api.problem_types import INVALID_PARAMETER
from api.problems import FaultyPart, Problem
from api.services import ApiServices
from api.shapes import AnswerModel
from domain.cycles import CycleOutcome
from domain.device_day import DayQuery, DeviceDayRow, find_gaps
from domain.model import Outcome, Reason

MAX_SPAN = timedelta(hours=24)
MAX_BUCKETS = 300
MIN_BUCKET = timedelta(seconds=1)
MAX_GAPS = 100


class DeviceDayQuery(RequestModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=False)

    begins_at: Instant | None = Field(
        None, alias="from", description="the beginning. Left out: 24 hours before `to`"
    )
    ends_at: Instant | None = Field(
        None,
        alias="to",
        description="the end, which is not part of it, at most 24 hours after the beginning. Left "
        "out, or later: now",
    )
    buckets: Annotated[
        int,
        Field(ge=1, le=MAX_BUCKETS, description="into how many parts the span is cut"),
    ] = 288


class ReceiptsOfBucket(AnswerModel):
    """The accepted updates of one part of the span, by the time at which they were stored."""

    begins_at: Instant
    updates: int
    first_at: Instant
    last_at: Instant


class DeviceGap(AnswerModel):
    """A time without an accepted update, longer than one part of the span."""

    begins_at: Instant = Field(description="the last update before it; it may be before the span")
    ends_at: Instant | None = Field(description="the next update; null: none came until the end")
    seconds: float


class CyclesOfBucket(AnswerModel):
    """Poll cycles of the workspace with one outcome, whose slots began in one part of the span."""

    first_slot_at: Instant
    last_slot_at: Instant
    outcome: CycleOutcome | Literal["requested"]
    answer: str | None = Field(
        description="`ok`, or why the device's connection did not answer; null: it was not called"
    )
    cycles: int


class RefusedInHour(AnswerModel):
    """What was refused of the device in an hour of UTC, from the ledger."""

    hour: Instant
    outcome: Outcome
    reason: Reason | None
    signal: str | None = Field(description="null: whole updates or records were refused")
    occurrences: int
    first_at: Instant
    last_at: Instant
    detail: str | None


class DayEdgeAnswer(AnswerModel):
    """A change of a condition; it holds until the next change of the same first word of `kind`."""

    at: Instant
    kind: str
    fault: str | None
    detail: str | None


class DayPointAnswer(AnswerModel):
    observed_at: Instant
    value: bool | int | float | str


class DeviceDay(AnswerModel):
    """What happened to a device from `begins_at` until before `ends_at`.

    Parts of the span without updates, cycles or refusals are left out.
    """

    workspace_id: str
    device_id: str
    provider_id: str
    evaluated_at: Instant
    begins_at: Instant
    ends_at: Instant
    bucket_seconds: float
    receipts: list[ReceiptsOfBucket]
    gaps: list[DeviceGap] = Field(
        description="the 100 longest, oldest first. Gaps within one part of the span are not seen: "
        "ask for a shorter span"
    )
    cycles: list[CyclesOfBucket]
    refusals: list[RefusedInHour] = Field(
        description="by whole hours: an hour that lies partly in the span counts whole; at most 300"
    )
    connection_edges: list[DayEdgeAnswer] = Field(
        description="the newest 300 of its connection, oldest first. What held when the span began "
        "stands before them, with its own time"
    )
    device_edges: list[DayEdgeAnswer] = Field(
        description="the newest 300 of what the provider said about the device and of what was "
        "refused, oldest first"
    )
    signals: dict[str, list[DayPointAnswer]] = Field(
        description="by signal, oldest first: its newest value in each part of the span, among the "
        "newest 10 updates of that part"
    )


def declare_device_day(operations: Operations, services: ApiServices) -> None:
    @operations.declare(
        "GET",
        "/workspaces/{workspace_id}/devices/{device_id}/day",
        scope=Scope.READ,
        query=DeviceDayQuery,
        response=DeviceDay,
        tag="devices",
    )
    async def get_device_day(workspace_id: str, device_id: str) -> Response:
        """Show what happened to a device in a day or less: receipts, gaps, cycles, refusals, edges.

        The answer is small whatever came: updates and cycles are counted by parts of the span. A
        shorter span shows more. What has been dropped after its retention is missing.
        """
        wanted = read_query(request, DeviceDayQuery)
        query = _find_query(wanted, services.clock.now())
        row = await services.reads.load_device_day(workspace_id, device_id, query)
        if row is None:
            raise no_such_device(device_id)
        return json_response(_present(workspace_id, device_id, query, row))


def _find_query(wanted: DeviceDayQuery, now: datetime) -> DayQuery:
    """Return the span and its parts. Raises Problem 400 that names the parameter."""
    if wanted.begins_at is not None and wanted.begins_at >= now:
        raise _refuse("from", "Give an instant before now.")
    ends_at = now if wanted.ends_at is None else min(wanted.ends_at, now)
    begins_at = ends_at - MAX_SPAN if wanted.begins_at is None else wanted.begins_at
    if begins_at >= ends_at:
        raise _refuse("from", "Give an instant before `to`.")
    if ends_at - begins_at > MAX_SPAN:
        raise _refuse("from", "Give an instant at most 24 hours before `to`.")
    buckets = min(wanted.buckets, max(1, (ends_at - begins_at) // MIN_BUCKET))
    return DayQuery(begins_at, ends_at, buckets)


def _refuse(parameter: str, detail: str) -> Problem:
    return Problem(INVALID_PARAMETER, errors=[FaultyPart(parameter=parameter, detail=detail)])


def _present(workspace_id: str, device_id: str, query: DayQuery, row: DeviceDayRow) -> DeviceDay:
    return DeviceDay(
        workspace_id=workspace_id,
        device_id=device_id,
        provider_id=row.provider_id,
        evaluated_at=row.read_at,
        begins_at=query.begins_at,
        ends_at=query.ends_at,
        bucket_seconds=query.step.total_seconds(),
        receipts=[
            ReceiptsOfBucket(
                begins_at=query.begins_at + each.bucket * query.step,
                updates=each.updates,
                first_at=each.first_at,
                last_at=each.last_at,
            )
            for each in row.receipts
        ],
        gaps=_present_gaps(query, row),
        cycles=[CyclesOfBucket(**each._asdict()) for each in row.cycles],
        refusals=[RefusedInHour(**each._asdict()) for each in row.refusals],
        connection_edges=[DayEdgeAnswer(**each._asdict()) for each in row.connection_edges],
        device_edges=[DayEdgeAnswer(**each._asdict()) for each in row.device_edges],
        signals={
            name: [DayPointAnswer(**point._asdict()) for point in points]
            for name, points in sorted(row.signals.items())
        },
    )


def _present_gaps(query: DayQuery, row: DeviceDayRow) -> Sequence[DeviceGap]:
    found = [
        DeviceGap(
            begins_at=gap.begins_at,
            ends_at=gap.ends_at,
            seconds=((gap.ends_at or query.ends_at) - gap.begins_at).total_seconds(),
        )
        for gap in find_gaps(row.receipts, row.before_at, query.ends_at, query.step)
    ]
    longest = sorted(found, key=lambda gap: gap.seconds, reverse=True)[:MAX_GAPS]
    return sorted(longest, key=lambda gap: gap.begins_at)
