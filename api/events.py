"""Event history: the accepted updates of one device, newest first by `recorded_at`. Append-only."""

from pydantic import Field
from quart import Response, request

from api.bodies import Instant, json_response, read_query
from api.cursors import PageQuery
from api.devices import no_such_device
from api.keys import Scope
from api.operations import Operations
from api.paging import Paging, cut_page
from api.services import ApiServices
from api.shapes import AnswerModel
from ports.reads import EventPosition, EventRow


class ReadingAnswer(AnswerModel):
    value: bool | int | float | str
    observed_at: Instant


class CollectorAnswer(AnswerModel):
    """The shard that stored the event, and the lease that it held for that.

    `resource` and `token` are null for an update that came over HTTP: no lease is needed for one.
    """

    shard_id: str
    epoch: int
    resource: str | None
    token: int | None


class EventAnswer(AnswerModel):
    """One accepted update. `readings` has those that changed the snapshot.

    `sequence` counts the device's accepted updates, without a gap.
    """

    sequence: int
    recorded_at: Instant
    received_at: Instant
    readings: dict[str, ReadingAnswer]
    provider_id: str
    trace_id: str
    collected_by: CollectorAnswer
    assignment: int = Field(description="the assignment under which it was accepted")
    vehicle_id: str | None = Field(description="the vehicle of that assignment")
    external_id: str | None = Field(description="the unit of that assignment")
    outside_assignment: bool = Field(
        description="the assignment had ended when it was accepted: the swap was entered later, so "
        "the readings are not of this unit and vehicle"
    )


class EventList(AnswerModel):
    items: list[EventAnswer]
    next_cursor: str | None


def declare_events(operations: Operations, services: ApiServices) -> None:
    paging = Paging(services)

    @operations.declare(
        "GET",
        "/workspaces/{workspace_id}/devices/{device_id}/events",
        scope=Scope.READ,
        query=PageQuery,
        response=EventList,
        tag="events",
    )
    async def list_events(workspace_id: str, device_id: str) -> Response:
        """List the accepted updates of one device, newest first."""
        query = read_query(request, PageQuery)
        if await services.registry.get_device(workspace_id, device_id) is None:
            raise no_such_device(device_id)
        kind = f"events-by-time {workspace_id} {device_id}"
        before = _position_before(paging, query.cursor, kind)
        rows = await services.reads.list_events(
            workspace_id, device_id, before=before, limit=query.limit + 1
        )
        page, last = cut_page(rows, query.limit)
        following = paging.encode(kind, None if last is None else (last.recorded_at, last.sequence))
        return json_response(
            EventList(items=[present_event(row) for row in page], next_cursor=following)
        )


def _position_before(paging: Paging, token: str | None, kind: str) -> EventPosition | None:
    cursor = paging.decode(token, kind)
    if cursor is None:
        return None
    recorded_at, sequence = cursor.after
    return EventPosition(recorded_at, sequence)  # type: ignore[arg-type]  # signed


def present_event(row: EventRow) -> EventAnswer:
    return EventAnswer(
        sequence=row.sequence,
        recorded_at=row.recorded_at,
        received_at=row.received_at,
        readings={
            signal: ReadingAnswer(value=value, observed_at=observed_at)
            for signal, (value, observed_at) in row.readings.items()
        },
        provider_id=row.provider_id,
        trace_id=row.trace_id,
        collected_by=CollectorAnswer(
            shard_id=row.shard_id, epoch=row.epoch, resource=row.resource, token=row.token
        ),
        assignment=row.assignment,
        vehicle_id=row.vehicle_id,
        external_id=row.external_id,
        outside_assignment=row.is_outside,
    )
