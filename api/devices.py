"""Devices: the telematics units configured for vehicles.

Owns what a client may configure of a device. A device is retired, never deleted; its history stays.
Many devices at once are listed in `device_list`, and imported in `device_import`.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

from pydantic import Field
from quart import Response, request

from api.auth import current_author, no_such_workspace
from api.bodies import MAX_FAULTY_PARTS, Instant, RequestModel, read_json
from api.conflicts import locate_conflict, refusal_of
from api.keys import Scope
from api.operations import Operations
from api.patching import PATCH_MEDIA_TYPES, patch_of, read_patch
from api.preconditions import (
    IF_MATCH,
    IF_NONE_MATCH,
    Precondition,
    conditional_response,
    read_precondition,
    require_found,
    settle,
    tagged_response,
)
from api.problem_types import (
    CONFLICT,
    INVALID_BODY,
    NOT_FOUND,
    PRECONDITION_FAILED,
    REGISTRY_IS_LEGACY,
)
from api.problems import FaultyPart, Problem
from api.services import ApiServices
from api.shapes import NO_OVERRIDES, AnswerModel, ExternalId, Identifier, Name, Overrides, VehicleId
from api.tags import Tags
from domain.model import Device
from domain.registry import (
    ABSENT,
    Answer,
    Conflict,
    DeviceDraft,
    Moved,
    NotFound,
    Refusal,
    Stored,
    revision_of,
)

ALL = "/workspaces/{workspace_id}/devices"
ONE = "/workspaces/{workspace_id}/devices/{device_id}"
TAG = "devices"
# As far as two clocks may differ. A device activated a year ahead by mistake would be within its
# grace until then, and nobody would be called.
_MAX_AHEAD = timedelta(minutes=5)
# The year 1 stands for "unknown" in some systems, and the database's driver loses its zone.
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
# A patch that does not name activated_at leaves it as it is, as a PUT of an active device does.
_PATCHABLE = {"provider_id", "external_id", "vehicle_id", "vehicle_name", "overrides", "tags"}
# A PUT or PATCH that does not name them leaves them as they are.
_KEPT = frozenset({"tags"})


class DeviceBody(RequestModel):
    """A device's configuration.

    A PUT replaces all of it but `tags`: what is left out gets its default.
    """

    provider_id: Identifier
    external_id: ExternalId
    vehicle_id: VehicleId
    vehicle_name: Name
    overrides: Overrides = NO_OVERRIDES
    activated_at: Instant | None = Field(
        None,
        description="when it counts as configured: now by default, at most 5 minutes ahead and "
        "not before 1970",
    )
    tags: Tags = Field(
        default_factory=list,
        description="the customer's labels, such as a depot or a line, in any order; of a new "
        "device none, else left out, they stay",
    )

    def to_draft(self, device_id: str) -> DeviceDraft:
        return DeviceDraft(
            device_id=device_id,
            provider_id=self.provider_id,
            external_id=self.external_id,
            vehicle_id=self.vehicle_id,
            vehicle_name=self.vehicle_name,
            delayed_after_seconds=self.overrides.delayed_after_seconds,
            stale_after_seconds=self.overrides.stale_after_seconds,
            grace_seconds=self.overrides.grace_seconds,
            activated_at=self.activated_at,
            tags=tuple(self.tags) if "tags" in self.model_fields_set else None,
        )


class DeviceAnswer(AnswerModel):
    workspace_id: str
    device_id: str
    provider_id: str
    external_id: str
    vehicle_id: str
    vehicle_name: str
    active: bool
    activated_at: Instant
    retired_at: Instant | None
    overrides: Overrides
    assignment: int = Field(
        description="counts the device's assignments: each swap and each new activation begins one"
    )
    tags: list[str] = Field(description="the customer's labels, sorted")


def declare_devices(operations: Operations, services: ApiServices) -> None:
    _declare_get(operations, services)
    _declare_put(operations, services)
    _declare_patch(operations, services)
    _declare_retire(operations, services)


def _declare_get(operations: Operations, services: ApiServices) -> None:
    @operations.declare(
        "GET",
        ONE,
        scope=Scope.READ,
        response=DeviceAnswer,
        tagged=True,
        conditions=(IF_NONE_MATCH,),
        tag=TAG,
    )
    async def get_device(workspace_id: str, device_id: str) -> Response:
        """Show one device, active or retired."""
        device = await services.registry.get_device(workspace_id, device_id)
        if device is None:
            raise no_such_device(device_id)
        return conditional_response(present_device(device), device.revision)


def _declare_put(operations: Operations, services: ApiServices) -> None:
    @operations.declare(
        "PUT",
        ONE,
        scope=Scope.CONTROL,
        request=DeviceBody,
        response=DeviceAnswer,
        creates=True,
        problems=(CONFLICT, REGISTRY_IS_LEGACY),
        tagged=True,
        conditions=(IF_MATCH, IF_NONE_MATCH),
        tag=TAG,
    )
    async def put_device(workspace_id: str, device_id: str) -> Response:
        """Configure a device: 201 when it is new, 200 when it existed.

        A retired device is activated again, and begins a new assignment: its event history goes on,
        but no value or time of before is shown as present. An active device keeps its unit and its
        vehicle: 409 for another one, which `POST …/devices/{device_id}/swap` gives it.
        """
        precondition = read_precondition()
        body = await read_json(request, DeviceBody)
        key = (workspace_id, device_id)
        return await _settle(services, key, precondition, lambda _: body)


def _declare_patch(operations: Operations, services: ApiServices) -> None:
    @operations.declare(
        "PATCH",
        ONE,
        scope=Scope.CONTROL,
        request=patch_of(DeviceBody, kept=_KEPT),
        request_media_types=PATCH_MEDIA_TYPES,
        response=DeviceAnswer,
        problems=(CONFLICT, REGISTRY_IS_LEGACY),
        tagged=True,
        conditions=(IF_MATCH,),
        tag=TAG,
    )
    async def patch_device(workspace_id: str, device_id: str) -> Response:
        """Change some members of an active device (RFC 7396).

        The device is judged as it is afterwards, by the rules of a PUT. A retired device is refused
        (409): a PUT activates it again.
        """
        precondition = read_precondition()
        patch = await read_patch(request)

        def change(stored: Device | None) -> DeviceBody:
            if stored is None:
                raise no_such_device(device_id)
            if stored.retired_at is not None:
                raise Problem(CONFLICT, "The device is retired. PUT it to activate it again.")
            present = present_device(stored).model_dump(include=_PATCHABLE)
            return patch.apply(present, DeviceBody, kept=_KEPT)

        return await _settle(services, (workspace_id, device_id), precondition, change)


def _declare_retire(operations: Operations, services: ApiServices) -> None:
    @operations.declare(
        "DELETE",
        ONE,
        scope=Scope.CONTROL,
        response=DeviceAnswer,
        problems=(REGISTRY_IS_LEGACY,),
        tagged=True,
        conditions=(IF_MATCH,),
        tag=TAG,
    )
    async def retire_device(workspace_id: str, device_id: str) -> Response:
        """Retire a device: it leaves health and issues, and its history stays.

        Idempotent: a device that is already retired keeps its retired_at.
        """
        precondition, key = read_precondition(), (workspace_id, device_id)
        missing = no_such_device(device_id)

        async def find() -> Device:
            return require_found(await services.registry.get_device(*key), missing)

        async def retire(_: Device, expected: int) -> Device | Refusal | Moved:
            return await services.registry.retire_device(
                *key, expected=expected, by=current_author()
            )

        answer = await settle(precondition, find, retire, revision=revision_of, missing=missing)
        services.nudges.registry_changed()
        return tagged_response(present_device(answer), answer.revision)


async def _settle(
    services: ApiServices,
    key: tuple[str, str],
    precondition: Precondition,
    make_body: Callable[[Device | None], DeviceBody],
) -> Response:
    """Store the device that `make_body` makes of the stored one, and return the answer."""
    workspace_id, device_id = key

    find = partial(services.registry.get_device, *key)

    async def store(stored: Device | None, expected: int) -> Stored | Refusal | Moved:
        drafts = [make_body(stored).to_draft(device_id)._replace(expected=expected)]
        _refuse_odd_starts(services, drafts, [""])
        answers = await services.registry.put_devices(workspace_id, drafts, by=current_author())
        if isinstance(answers, Refusal):
            return answers
        (answer,) = answers
        return answer if isinstance(answer, Moved) else _accept_all(answers, [""])[0]

    answer = await settle(
        precondition, find, store, revision=revision_of, missing=no_such_workspace(workspace_id)
    )
    services.nudges.registry_changed()
    device = require_found(await find(), no_such_device(device_id))
    status = 201 if answer.created else 200
    return tagged_response(present_device(device), answer.revision, status)


def no_such_device(device_id: str) -> Problem:
    return Problem(NOT_FOUND, f"There is no device {device_id}.")


async def store_drafts(
    services: ApiServices,
    workspace_id: str,
    drafts: Sequence[DeviceDraft],
    pointers: Sequence[str],
    *,
    digest: str,
) -> list[Stored]:
    """Store all drafts of an import or none. `pointers` has the place of each draft in the body.

    A draft may give an active device another unit or vehicle. `digest` is the SHA-256 of the body.

    Raises Problem: 422 when a draft begins in the future or names a connection that does not exist;
    412 when a device has another revision than its draft expects; otherwise 409 when a draft
    contradicts what is stored.
    """
    _refuse_odd_starts(services, drafts, pointers)
    answers = await services.registry.put_devices(
        workspace_id, drafts, may_swap=True, digest=digest, by=current_author()
    )
    if isinstance(answers, Refusal):
        raise refusal_of(answers, missing=no_such_workspace(workspace_id))
    _refuse_moved(drafts, answers, pointers)
    stored = _accept_all(answers, pointers)
    services.nudges.registry_changed()
    return stored


def _refuse_moved(
    drafts: Sequence[DeviceDraft], answers: Sequence[Answer], pointers: Sequence[str]
) -> None:
    """Raise Problem 412 that names each device with another revision than its draft expects."""
    faults = [
        FaultyPart(pointer=f"{pointer}/revision", detail=_describe_move(draft, answer))
        for draft, answer, pointer in zip(drafts, answers, pointers, strict=True)
        if isinstance(answer, Moved)
    ]
    if faults:
        detail = "Nothing was stored. Read the devices again before you change them."
        raise Problem(PRECONDITION_FAILED, detail, errors=faults[:MAX_FAULTY_PARTS])


def _describe_move(draft: DeviceDraft, moved: Moved) -> str:
    if moved.revision == ABSENT:
        return f"Device {draft.device_id} does not exist."
    return f"Device {draft.device_id} has revision {moved.revision} now."


def _accept_all(answers: Sequence[Answer], pointers: Sequence[str]) -> list[Stored]:
    """Return the answers to drafts that were all stored. Raises Problem if one was not."""
    faults = [
        _fault_of(answer, pointer)
        for answer, pointer in zip(answers, pointers, strict=True)
        if isinstance(answer, NotFound | Conflict)
    ]
    if faults:
        missing = any(isinstance(answer, NotFound) for answer in answers)
        raise Problem(INVALID_BODY if missing else CONFLICT, "Nothing was stored.", errors=faults)
    return [answer for answer in answers if isinstance(answer, Stored)]


def _refuse_odd_starts(
    services: ApiServices, drafts: Sequence[DeviceDraft], pointers: Sequence[str]
) -> None:
    """Refuse an activation that lies ahead, or before 1970."""
    latest = services.clock.now() + _MAX_AHEAD
    faults = []
    for draft, pointer in zip(drafts, pointers, strict=True):
        starts = draft.activated_at
        if starts is not None and not _EARLIEST <= starts <= latest:
            odd = "before 1970" if starts < _EARLIEST else "more than 5 minutes in the future"
            faults.append(FaultyPart(pointer=f"{pointer}/activated_at", detail=f"It is {odd}."))
    if faults:
        raise Problem(INVALID_BODY, "Nothing was stored.", errors=faults[:MAX_FAULTY_PARTS])


def _fault_of(answer: NotFound | Conflict, pointer: str) -> FaultyPart:
    if isinstance(answer, NotFound):
        return FaultyPart(
            pointer=f"{pointer}/provider_id",
            detail=f"There is no {answer.what} in this workspace. Create it first.",
        )
    return locate_conflict(answer, group="overrides", members=Overrides, within=pointer)


def present_device(device: Device) -> DeviceAnswer:
    return DeviceAnswer(
        workspace_id=device.workspace_id,
        device_id=device.device_id,
        provider_id=device.provider_id,
        external_id=device.external_id,
        vehicle_id=device.vehicle_id,
        vehicle_name=device.vehicle_name,
        active=device.retired_at is None,
        activated_at=device.activated_at,
        retired_at=device.retired_at,
        overrides=Overrides.of(device.override),
        assignment=device.assignment,
        tags=list(device.tags),
    )
