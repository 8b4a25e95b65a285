"""The import of many devices at once: all of them or none, and each error with its place.

Owns the two forms of a fleet list, JSON and CSV. A CSV row becomes the item that JSON would have
held, so both obey one set of rules. It must never store a part of a list.
"""

import csv
import io
from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple, cast

from pydantic import AfterValidator, Field, ValidationError
from quart import Response, request

from api.bodies import RequestModel, invalid_fields, json_response, pointer_to, read_json
from api.devices import ALL, TAG, DeviceBody, store_drafts
from api.keys import Scope
from api.operations import Operations
from api.problem_types import CONFLICT, INVALID_BODY
from api.problems import FaultyPart, Problem
from api.services import ApiServices
from api.shapes import AnswerModel, Identifier
from domain.thresholds import OVERRIDABLE

MAX_DEVICES = 10_000
MAX_IMPORT_BYTES = 4 * 1024 * 1024
RESERVED_DEVICE_ID = "import"  # its path would be the import's own
IMPORT_PATH_ENDS_WITH = f"/devices/{RESERVED_DEVICE_ID}"
_MAX_FAULTS = 50
_MEDIA_TYPES = ("application/json", "text/csv")
_REQUIRED = ("device_id", "provider_id", "external_id", "vehicle_id", "vehicle_name")
_OPTIONAL = (*OVERRIDABLE, "activated_at")


def _refuse_reserved(device_id: str) -> str:
    if device_id == RESERVED_DEVICE_ID:
        raise ValueError(f"the id {device_id} is taken by the path of this import: choose another")
    return device_id


DeviceId = Annotated[
    Identifier,
    AfterValidator(_refuse_reserved),
    Field(json_schema_extra={"not": {"enum": [RESERVED_DEVICE_ID]}}),
]


class ImportedDevice(DeviceBody):
    device_id: DeviceId


class DeviceImport(RequestModel):
    devices: Annotated[list[ImportedDevice], Field(max_length=MAX_DEVICES)]


class ImportAnswer(AnswerModel):
    """The number of devices in the list, and how many of them were created and updated.

    `swapped` counts those of the updated ones that got another unit or vehicle.
    """

    devices: int
    created: int
    updated: int
    swapped: int


def declare_device_import(operations: Operations, services: ApiServices) -> None:
    @operations.declare(
        "POST",
        f"{ALL}/{RESERVED_DEVICE_ID}",
        scope=Scope.CONTROL,
        request=DeviceImport,
        request_media_types=_MEDIA_TYPES,
        response=ImportAnswer,
        problems=(CONFLICT,),
        tag=TAG,
    )
    async def import_devices(workspace_id: str) -> Response:
        """Configure up to 10,000 devices, all of them or none.

        The body is JSON, or text/csv in UTF-8 with a header, of at most 4 MiB. The CSV's columns
        are device_id, provider_id, external_id, vehicle_id, vehicle_name; optional are
        delayed_after_seconds, stale_after_seconds, grace_seconds, activated_at. An error's pointer
        into a CSV counts every row after the header, blank ones too: /devices/0 is the first.

        A row that names another unit or vehicle of an active device is a swap that happens now, and
        is counted as `swapped`. Units may change places within one list. For a swap that happened
        before, use the device's own swap.
        """
        body, places = await _read_csv() if request.mimetype == "text/csv" else await _read_json()
        _refuse_repeated(body.devices, places)
        stored = await store_drafts(
            services,
            workspace_id,
            [item.to_draft(item.device_id) for item in body.devices],
            pointers=[f"/devices/{place}" for place in places],
            may_swap=True,
        )
        created = sum(1 for answer in stored if answer.created)
        swapped = sum(1 for answer in stored if answer.swapped)
        return json_response(
            ImportAnswer(
                devices=len(stored),
                created=created,
                updated=len(stored) - created,
                swapped=swapped,
            )
        )


class CsvRow(NamedTuple):
    """A CSV row as the item that JSON would hold. `place` counts rows after the header, from 0."""

    place: int
    item: dict[str, Any]


async def _read_json() -> tuple[DeviceImport, Sequence[int]]:
    """Return the devices and the place of each."""
    body = await read_json(request, DeviceImport, taken=", ".join(_MEDIA_TYPES))
    return body, range(len(body.devices))


async def _read_csv() -> tuple[DeviceImport, Sequence[int]]:
    """Return the devices and the place of each."""
    raw = cast("bytes", await request.get_data(cache=False, as_text=False))
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _not_taken(f"The CSV is not UTF-8 at byte {error.start}.") from None
    rows = parse_csv(text)
    try:
        body = DeviceImport.model_validate({"devices": [row.item for row in rows]})
    except ValidationError as error:
        raise _invalid_csv(error, rows) from None
    return body, [row.place for row in rows]


def parse_csv(text: str) -> list[CsvRow]:
    """Return the rows that are not blank, without their empty cells. Raises Problem 422."""
    reader = csv.reader(io.StringIO(text), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        _check_header(header)
        filled = [
            (place, row) for place, row in enumerate(reader) if any(cell.strip() for cell in row)
        ]
    except csv.Error as error:
        raise _not_taken(f"Not CSV at line {reader.line_num}: {error}.") from None
    ragged = [
        FaultyPart(
            pointer=f"/devices/{place}",
            detail=f"It has {len(row)} cells, the header has {len(header)}.",
        )
        for place, row in filled
        if len(row) != len(header)
    ]
    if ragged:
        raise Problem(INVALID_BODY, errors=ragged[:_MAX_FAULTS])
    return [CsvRow(place, _to_item(dict(zip(header, row, strict=True)))) for place, row in filled]


def _check_header(header: Sequence[str]) -> None:
    missing = [name for name in _REQUIRED if name not in header]
    unknown = [name for name in header if name not in _REQUIRED + _OPTIONAL]
    if missing:
        raise _not_taken(f"The CSV's header lacks {', '.join(missing)}.")
    if unknown or len(set(header)) != len(header):
        raise _not_taken(
            f"The CSV's header may hold each of {', '.join(_REQUIRED + _OPTIONAL)} once."
        )


def _not_taken(detail: str) -> Problem:
    """Return the refusal of a body as a whole, hence with the empty pointer."""
    return Problem(INVALID_BODY, detail, errors=[FaultyPart(pointer="", detail=detail)])


def _to_item(row: dict[str, str]) -> dict[str, Any]:
    filled = {name: cell.strip() for name, cell in row.items() if cell.strip()}
    overrides = {name: filled.pop(name) for name in OVERRIDABLE if name in filled}
    return {**filled, "overrides": overrides} if overrides else filled


def _invalid_csv(error: ValidationError, rows: Sequence[CsvRow]) -> Problem:
    document = {"devices": dict(rows)}
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    parts = [
        FaultyPart(
            pointer=pointer_to(_place(fault["loc"], rows), document),
            detail=fault["msg"].removeprefix("Value error, "),
        )
        for fault in faults[:_MAX_FAULTS]
    ]
    return invalid_fields(parts, len(faults))


def _place(loc: tuple[str | int, ...], rows: Sequence[CsvRow]) -> tuple[str | int, ...]:
    """Return `loc` with the row's place in the CSV instead of its index in `rows`."""
    match loc:
        case (devices, int(index), *rest):
            return (devices, rows[index].place, *rest)
        case _:
            return loc


def _refuse_repeated(devices: Sequence[ImportedDevice], places: Sequence[int]) -> None:
    first: dict[str, int] = {}
    faults = [
        FaultyPart(
            pointer=f"/devices/{place}/device_id",
            detail=f"It is at /devices/{first[item.device_id]} too.",
        )
        for place, item in zip(places, devices, strict=True)
        if first.setdefault(item.device_id, place) != place
    ]
    if faults:
        raise invalid_fields(faults[:_MAX_FAULTS], len(faults))
