"""The import of many devices at once: all of them or none, and each error with its place.

Owns what a list of devices is, as JSON or CSV (`device_csv`). It must never store a part of one.
"""

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Annotated, NamedTuple, cast

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from quart import Response, request

from api.bodies import (
    MAX_FAULTY_PARTS,
    RequestModel,
    invalid_fields,
    json_response,
    parse_body,
    read_body,
)
from api.csv_answers import MAX_DEVICES
from api.device_csv import invalid_cells, name_row, parse_csv, with_rows
from api.devices import ALL, TAG, DeviceBody, store_drafts
from api.keys import Scope
from api.operations import Operations
from api.problem_types import CONFLICT, PRECONDITION_FAILED, REGISTRY_IS_LEGACY
from api.problems import FaultyPart, Problem
from api.services import ApiServices
from api.shapes import AnswerModel, Identifier, accept_whole
from domain.registry import ABSENT

MAX_IMPORT_BYTES = 4 * 1024 * 1024
RESERVED_DEVICE_ID = "import"  # its path would be the import's own
IMPORT_PATH_ENDS_WITH = f"/devices/{RESERVED_DEVICE_ID}"
_MAX_REVISION = 2**31 - 1
_MEDIA_TYPES = ("application/json", "text/csv")


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
    revision: Annotated[int | None, BeforeValidator(accept_whole)] = Field(
        None,
        ge=ABSENT,
        le=_MAX_REVISION,
        description="the revision that the client has seen in the list, 0 for a device that must "
        "not exist yet. If one of the devices has another one by now, nothing is stored (412)",
    )


class DeviceImport(RequestModel):
    devices: Annotated[list[ImportedDevice], Field(max_length=MAX_DEVICES)]


class _Listed(NamedTuple):
    """The devices of a request, the place of each in it, and how the client calls a place.

    `digest` is the SHA-256 of the request's body, in hex.
    """

    body: DeviceImport
    places: Sequence[int]
    name_place: Callable[[int], str]
    digest: str


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
        problems=(CONFLICT, PRECONDITION_FAILED, REGISTRY_IS_LEGACY),
        tag=TAG,
    )
    async def import_devices(workspace_id: str) -> Response:
        """Configure up to 10,000 devices, all of them or none.

        The body is JSON, or text/csv in UTF-8 with a header, of at most 4 MiB. The CSV's columns
        are device_id, provider_id, external_id, vehicle_id, vehicle_name; optional are
        delayed_after_seconds, stale_after_seconds, grace_seconds, activated_at, tags. `|` separates
        the tags of a cell; an empty cell takes them away, and without the column they stay. `GET
        …/devices` writes such a CSV. Semicolons and tabs separate columns too. An error in a CSV
        names the row and the column; its pointer counts every row after the header, blank ones too:
        /devices/0 is row 2. A row with a retired_at is refused, for an import would activate the
        device again.

        A row that names another unit or vehicle of an active device is a swap that happens now, and
        is counted as `swapped`. Units may change places within one list. For a swap that happened
        before, use the device's own swap.
        """
        if request.mimetype != "text/csv":
            return json_response(await _import(services, workspace_id, await _read_json()))
        try:
            return json_response(await _import(services, workspace_id, await _read_csv()))
        except Problem as refusal:
            raise with_rows(refusal) from None


async def _import(services: ApiServices, workspace_id: str, listed: _Listed) -> ImportAnswer:
    """Store all devices or none. Raises Problem, with pointers to the places in the list."""
    _refuse_repeated(listed)
    stored = await store_drafts(
        services,
        workspace_id,
        [
            item.to_draft(item.device_id)._replace(expected=item.revision)
            for item in listed.body.devices
        ],
        pointers=[f"/devices/{place}" for place in listed.places],
        digest=listed.digest,
    )
    created = sum(1 for answer in stored if answer.created)
    swapped = sum(1 for answer in stored if answer.swapped)
    return ImportAnswer(
        devices=len(stored), created=created, updated=len(stored) - created, swapped=swapped
    )


async def _read_json() -> _Listed:
    raw = await read_body(request, taken=", ".join(_MEDIA_TYPES))
    body = parse_body(raw, DeviceImport)
    return _Listed(body, range(len(body.devices)), "/devices/{}".format, _digest(raw))


async def _read_csv() -> _Listed:
    raw = cast("bytes", await request.get_data(cache=False, as_text=False))
    rows = parse_csv(raw)
    try:
        body = DeviceImport.model_validate({"devices": [row.item for row in rows]})
    except ValidationError as error:
        raise invalid_cells(error, rows) from None
    return _Listed(body, [row.place for row in rows], name_row, _digest(raw))


def _digest(raw: bytes) -> str:
    return sha256(raw).hexdigest()


def _refuse_repeated(listed: _Listed) -> None:
    first: dict[str, int] = {}
    faults = []
    for place, item in zip(listed.places, listed.body.devices, strict=True):
        seen = first.setdefault(item.device_id, place)
        if seen != place:
            detail = f"It is at {listed.name_place(seen)} too: delete one of them."
            faults.append(FaultyPart(pointer=f"/devices/{place}/device_id", detail=detail))
    if faults:
        raise invalid_fields(faults[:MAX_FAULTY_PARTS], len(faults))
