"""The import of many devices at once: all of them or none, with every error at its place.

Owns the two forms that a fleet list comes in, JSON and CSV; a CSV row is turned into the item that JSON would have
held, so the rules stand once. It must never store a part of a list.
"""

import csv
import io
from collections.abc import Sequence
from typing import Annotated, Any, cast

from pydantic import Field, ValidationError
from quart import Response, request

from api.bodies import RequestModel, json_response, pointer_to, read_json
from api.devices import ALL, TAG, DeviceBody, store_drafts
from api.keys import Scope
from api.operations import Operations
from api.problem_types import CONFLICT, INVALID_BODY
from api.problems import FaultyPart, Problem
from api.services import ApiServices
from api.shapes import AnswerModel, Identifier

MAX_DEVICES = 10_000
MAX_IMPORT_BYTES = 4 * 1024 * 1024
IMPORT_PATH_ENDS_WITH = "/devices/import"
_MAX_FAULTS = 50
_REQUIRED = ("device_id", "provider_id", "external_id", "vehicle_id", "vehicle_name")
_OVERRIDES = ("delayed_after_seconds", "stale_after_seconds", "grace_seconds")
_OPTIONAL = (*_OVERRIDES, "activated_at")


class ImportedDevice(DeviceBody):
    device_id: Identifier


class DeviceImport(RequestModel):
    devices: Annotated[list[ImportedDevice], Field(max_length=MAX_DEVICES)]


class ImportAnswer(AnswerModel):
    """How many devices the list held, and how many of them are new."""

    devices: int
    created: int
    updated: int


def declare_device_import(operations: Operations, services: ApiServices) -> None:
    @operations.declare(
        "POST",
        f"{ALL}/import",
        scope=Scope.CONTROL,
        request=DeviceImport,
        request_media_types=("application/json", "text/csv"),
        response=ImportAnswer,
        problems=(CONFLICT,),
        tag=TAG,
    )
    async def import_devices(workspace_id: str) -> Response:
        """Configure up to 10,000 devices, all of them or none.

        JSON, or text/csv in UTF-8 with a header: device_id, provider_id, external_id, vehicle_id, vehicle_name and, if
        wanted, delayed_after_seconds, stale_after_seconds, grace_seconds, activated_at. At most 4 MiB. A pointer into a
        CSV counts rows as items: /devices/0 is the first row after the header.
        """
        body = await _read_csv() if request.mimetype == "text/csv" else await read_json(request, DeviceImport)
        _refuse_repeated(body.devices)
        stored = await store_drafts(
            services,
            workspace_id,
            [item.to_draft(item.device_id) for item in body.devices],
            pointers=[f"/devices/{index}" for index in range(len(body.devices))],
        )
        created = sum(1 for answer in stored if answer.created)
        return json_response(ImportAnswer(devices=len(stored), created=created, updated=len(stored) - created))


async def _read_csv() -> DeviceImport:
    raw = cast("bytes", await request.get_data(cache=False, as_text=False))
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Problem(INVALID_BODY, f"The CSV is not UTF-8 at byte {error.start}.") from None
    items = parse_csv(text)
    try:
        return DeviceImport.model_validate({"devices": items})
    except ValidationError as error:
        raise _invalid_csv(error, items) from None


def parse_csv(text: str) -> list[dict[str, Any]]:
    """The rows as the items that JSON would hold. An empty cell says nothing. Raises Problem 422."""
    reader = csv.reader(io.StringIO(text), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        _check_header(header)
        rows = [row for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise Problem(INVALID_BODY, f"Not CSV at line {reader.line_num}: {error}.") from None
    ragged = [
        FaultyPart(pointer=f"/devices/{index}", detail=f"It has {len(row)} cells, the header has {len(header)}.")
        for index, row in enumerate(rows)
        if len(row) != len(header)
    ]
    if ragged:
        raise Problem(INVALID_BODY, errors=ragged[:_MAX_FAULTS])
    return [_to_item(dict(zip(header, row, strict=True))) for row in rows]


def _check_header(header: Sequence[str]) -> None:
    missing = [name for name in _REQUIRED if name not in header]
    unknown = [name for name in header if name not in _REQUIRED + _OPTIONAL]
    if missing:
        raise Problem(INVALID_BODY, f"The CSV's header lacks {', '.join(missing)}.")
    if unknown or len(set(header)) != len(header):
        raise Problem(INVALID_BODY, f"The CSV's header may hold each of {', '.join(_REQUIRED + _OPTIONAL)} once.")


def _to_item(row: dict[str, str]) -> dict[str, Any]:
    filled = {name: cell.strip() for name, cell in row.items() if cell.strip()}
    overrides = {name: filled.pop(name) for name in _OVERRIDES if name in filled}
    return {**filled, "overrides": overrides} if overrides else filled


def _invalid_csv(error: ValidationError, items: list[dict[str, Any]]) -> Problem:
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    parts = [
        FaultyPart(
            pointer=pointer_to(fault["loc"], {"devices": items}), detail=fault["msg"].removeprefix("Value error, ")
        )
        for fault in faults[:_MAX_FAULTS]
    ]
    return Problem(INVALID_BODY, f"{len(faults)} places are wrong.", errors=parts)


def _refuse_repeated(devices: Sequence[ImportedDevice]) -> None:
    first: dict[str, int] = {}
    faults = [
        FaultyPart(pointer=f"/devices/{index}/device_id", detail=f"It stands at /devices/{first[item.device_id]} too.")
        for index, item in enumerate(devices)
        if first.setdefault(item.device_id, index) != index
    ]
    if faults:
        raise Problem(INVALID_BODY, f"{len(faults)} places are wrong.", errors=faults[:_MAX_FAULTS])
