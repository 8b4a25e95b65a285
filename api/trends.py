"""How devices of a workspace did in the last hours: one signal, and whether they were heard.

For small pictures beside a list. `…/devices/{device_id}/day` has one device in full.
"""

from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, Field
from quart import Response, request

from api.bodies import Instant, RequestModel, json_response, read_query
from api.keys import Scope
from api.operations import Operations
from api.services import ApiServices
from api.shapes import AnswerModel, Identifier
from domain.position import HALVES
from domain.signals import CATALOGUE
from domain.trends import TrendPoint, TrendQuery

MAX_DEVICES = 100
BUCKETS = 24
BUCKET = timedelta(hours=1)
_NUMERIC = sorted(
    name for name, entry in CATALOGUE.items() if entry.kind == "number" and name not in HALVES
)


def _numeric(name: str) -> str:
    if name not in _NUMERIC:
        raise ValueError("not a signal with numbers, or a position: GET /signals lists them")
    return name


class TrendsQuery(RequestModel):
    device_id: tuple[Identifier, ...] = Field(
        (), max_length=MAX_DEVICES, description="these devices, none unless given; repeat it"
    )
    signal: Annotated[
        str, AfterValidator(_numeric), Field(json_schema_extra={"enum": _NUMERIC})
    ] = "soc_percent"


class DeviceTrend(AnswerModel):
    """One device in each of the hours, oldest first. Null: nothing came in that hour."""

    device_id: str
    values: list[float | None] = Field(
        description="the newest value of the signal in the hour, if it came within 90 s of the "
        "hour's last update"
    )
    heard_at: list[Instant | None] = Field(description="the hour's last arrival")


class TrendReport(AnswerModel):
    """The 24 hours from `begins_at` to `ends_at`, which is now. The values are core's."""

    begins_at: Instant
    ends_at: Instant
    bucket_seconds: float
    signal: str
    unit: str
    items: list[DeviceTrend]


def declare_trends(operations: Operations, services: ApiServices) -> None:
    @operations.declare(
        "GET",
        "/workspaces/{workspace_id}/trends",
        scope=Scope.READ,
        query=TrendsQuery,
        response=TrendReport,
        tag="devices",
    )
    async def show_trends(workspace_id: str) -> Response:
        """Show the last 24 hours of some devices: a signal, and when they were heard.

        A device that does not exist has nothing but nulls.
        """
        query = read_query(request, TrendsQuery)
        now = services.clock.now()
        begins_at = now - BUCKETS * BUCKET
        # The last hour is open: what was stored at this very instant belongs to it.
        spans = [(begins_at + n * BUCKET, begins_at + (n + 1) * BUCKET) for n in range(BUCKETS)]
        spans[-1] = (now - BUCKET, now + BUCKET)
        names = sorted(set(query.device_id))
        points = await services.reads.load_trends(
            workspace_id, TrendQuery(names, spans, query.signal)
        )
        return json_response(
            TrendReport(
                begins_at=begins_at,
                ends_at=now,
                bucket_seconds=BUCKET.total_seconds(),
                signal=query.signal,
                unit=CATALOGUE[query.signal].unit,
                items=_present(names, points),
            )
        )


def _present(names: list[str], points: list[TrendPoint]) -> list[DeviceTrend]:
    found = {
        name: DeviceTrend(device_id=name, values=[None] * BUCKETS, heard_at=[None] * BUCKETS)
        for name in names
    }
    for point in points:
        found[point.device_id].heard_at[point.place] = point.heard_at
        found[point.device_id].values[point.place] = point.value
    return list(found.values())
