"""The list of a workspace's devices, as JSON or as the CSV that an import takes."""

from collections.abc import Sequence

from pydantic import Field
from quart import Response, request

from api.bodies import json_response, read_query
from api.csv_answers import JSON_OR_CSV, LINKED, MAX_DEVICES, ROWS_PER_QUERY, CsvQuery, respond_csv
from api.device_csv import COLUMNS, RETIRED_AT, device_row
from api.devices import ALL, TAG, DeviceAnswer, present_device
from api.keys import Scope
from api.operations import Operations
from api.paging import Paging, cut_page
from api.services import ApiServices
from api.shapes import AnswerModel
from api.spreadsheet import Cell
from api.tags import TagFilter
from domain.model import Device


class ListedDevice(DeviceAnswer):
    revision: int = Field(description="the number in its ETag, for an import")


class DeviceList(AnswerModel):
    items: list[ListedDevice]
    next_cursor: str | None


class DeviceQuery(CsvQuery):
    include_retired: bool = Field(False, description="list retired devices too")
    tag: TagFilter = None


def declare_device_list(operations: Operations, services: ApiServices) -> None:
    paging = Paging(services)

    @operations.declare(
        "GET",
        ALL,
        scope=Scope.READ,
        query=DeviceQuery,
        response=DeviceList,
        media_types=JSON_OR_CSV,
        headers=LINKED,
        tag=TAG,
    )
    async def list_devices(workspace_id: str) -> Response:
        """List a workspace's devices, by id. JSON or CSV.

        The CSV has the columns of `POST …/devices/import`, which takes it back: a list that nobody
        changed changes nothing. With `include_retired` it has retired_at too, and rows with a
        retired_at are not taken.
        """
        query = read_query(request, DeviceQuery)
        kind = f"devices {workspace_id} {query.include_retired} {query.tag}"
        after = paging.key_after(query.cursor, kind)
        if query.wants_csv:
            rows, last_id = await _load_rows(services, workspace_id, query, after)
            columns = (*COLUMNS, RETIRED_AT) if query.include_retired else COLUMNS
            following = paging.encode(kind, None if last_id is None else (last_id,))
            return respond_csv(columns, rows, f"devices-{workspace_id}.csv", following)
        found = await services.registry.list_devices(
            workspace_id,
            include_retired=query.include_retired,
            after=after,
            limit=query.limit + 1,
            tag=query.tag,
        )
        page, last = cut_page(found, query.limit)
        following = paging.encode(kind, None if last is None else (last.device_id,))
        return json_response(
            DeviceList(items=[_present_listed(row) for row in page], next_cursor=following)
        )


def _present_listed(device: Device) -> ListedDevice:
    return ListedDevice(**dict(present_device(device)), revision=device.revision)


async def _load_rows(
    services: ApiServices, workspace_id: str, query: DeviceQuery, after: str | None
) -> tuple[list[Sequence[Cell]], str | None]:
    """Return as many rows as a CSV may have, and the last device's id if more follow."""
    rows: list[Sequence[Cell]] = []
    while True:
        found = await services.registry.list_devices(
            workspace_id,
            include_retired=query.include_retired,
            after=after,
            limit=ROWS_PER_QUERY + 1,
            tag=query.tag,
        )
        page, last = cut_page(found, ROWS_PER_QUERY)
        rows += [device_row(device, with_retired=query.include_retired) for device in page]
        if last is None or len(rows) >= MAX_DEVICES:
            return rows, None if last is None else last.device_id
        after = last.device_id
