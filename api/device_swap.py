"""The swap: another unit or vehicle for an active device, under the same device_id.

Owns what a client may swap, and the answer with what was accepted for the wrong unit or vehicle.
The rule is in domain/device_changes.py.
"""

from typing import Self

from pydantic import Field, model_validator
from quart import Response, request

from api.auth import current_author
from api.bodies import Instant, RequestModel, read_json
from api.conflicts import locate_conflict
from api.devices import DeviceAnswer, no_such_device, present_device
from api.events import EventAnswer, present_event
from api.keys import Scope
from api.operations import Operations
from api.preconditions import (
    IF_MATCH,
    read_precondition,
    require_found,
    settle,
    tagged_response,
)
from api.problem_types import CONFLICT, INVALID_BODY, REGISTRY_IS_LEGACY
from api.problems import FaultyPart, Problem
from api.services import ApiServices
from api.shapes import AnswerModel, ExternalId, Identifier, Name, Overrides, VehicleId
from domain.assignments import DeviceAssignment
from domain.model import Device
from domain.registry import Conflict, Moved, NotFound, Refusal, Swap, revision_of
from ports.registry import MAX_LISTED_EVENTS, MAX_SWAP_EVENTS, Swapped


class SwapBody(RequestModel):
    """The unit, the vehicle, or both that the device has from now on. What is left out stays."""

    provider_id: Identifier | None = None
    external_id: ExternalId | None = None
    vehicle_id: VehicleId | None = None
    vehicle_name: Name | None = Field(None, description="required with vehicle_id")
    effective_at: Instant | None = Field(
        None,
        description="when the swap happened: now by default, never in the future, and not before "
        "the present assignment began",
    )

    @model_validator(mode="after")
    def _names_a_unit_or_vehicle(self) -> Self:
        if self.provider_id is None and self.external_id is None and self.vehicle_id is None:
            raise ValueError("give the new external_id, vehicle_id or provider_id")
        if (self.vehicle_id is None) != (self.vehicle_name is None):
            raise ValueError("give vehicle_id and vehicle_name together")
        return self

    def to_swap(self) -> Swap:
        return Swap(**self.model_dump())


class AssignmentAnswer(AnswerModel):
    """One span in which a device is active for one vehicle under one unit.

    `ended_at` is null while it lasts.
    """

    assignment: int
    provider_id: str
    external_id: str
    vehicle_id: str
    vehicle_name: str
    effective_at: Instant
    entered_at: Instant
    ended_at: Instant | None


class SwapEvents(AnswerModel):
    """The updates accepted under the former assignment after `effective_at`, newest first.

    Event history marks them as `outside_assignment`. Counting stops at 10,000, and 100 are listed.
    """

    count: int = Field(le=MAX_SWAP_EVENTS)
    items: list[EventAnswer] = Field(max_length=MAX_LISTED_EVENTS)


class SwapAnswer(AnswerModel):
    """`former` is null if the device has had one assignment only."""

    device: DeviceAnswer
    assignment: AssignmentAnswer
    former: AssignmentAnswer | None
    events_outside: SwapEvents


def declare_device_swap(operations: Operations, services: ApiServices) -> None:
    @operations.declare(
        "POST",
        "/workspaces/{workspace_id}/devices/{device_id}/swap",
        scope=Scope.CONTROL,
        request=SwapBody,
        response=SwapAnswer,
        problems=(CONFLICT, REGISTRY_IS_LEGACY),
        tagged=True,
        conditions=(IF_MATCH,),
        tag="devices",
    )
    async def swap_device(workspace_id: str, device_id: str) -> Response:
        """Give an active device another unit or vehicle, in one step.

        The device begins a new assignment: its grace begins anew, no value or time of the former
        one is shown as present, and its event history goes on. May be sent again: a swap to what
        the device has already changes nothing, and is answered like the first.
        """
        precondition = read_precondition()
        body = await read_json(request, SwapBody)
        missing = no_such_device(device_id)

        async def find() -> Device:
            stored = await services.registry.get_device(workspace_id, device_id)
            return require_found(stored, missing)

        async def swap(_: Device, expected: int) -> Swapped | Refusal | Moved:
            answer = await services.registry.swap_device(
                workspace_id, device_id, body.to_swap(), expected=expected, by=current_author()
            )
            _refuse_contradiction(answer)
            return answer

        swapped = await settle(precondition, find, swap, revision=revision_of, missing=missing)
        services.nudges.registry_changed()
        return tagged_response(_present(swapped), swapped.device.revision)


def _refuse_contradiction(answer: Swapped | Refusal | Moved) -> None:
    """Raise the problem of a swap to a connection that does not exist, or to what is taken."""
    if isinstance(answer, Conflict):
        fault = locate_conflict(answer, group="overrides", members=Overrides)
        raise Problem(CONFLICT, "Nothing was stored.", errors=[fault])
    if isinstance(answer, NotFound) and answer.what != "device":
        detail = f"There is no {answer.what} in this workspace."
        part = FaultyPart(pointer="/provider_id", detail=detail)
        raise Problem(INVALID_BODY, "Nothing was stored.", errors=[part])


def _present(swapped: Swapped) -> SwapAnswer:
    former = swapped.former
    return SwapAnswer(
        device=present_device(swapped.device),
        assignment=present_assignment(swapped.assignment),
        former=None if former is None else present_assignment(former),
        events_outside=SwapEvents(
            count=swapped.event_count, items=[present_event(event) for event in swapped.events]
        ),
    )


def present_assignment(one: DeviceAssignment) -> AssignmentAnswer:
    fields = {name: getattr(one, name) for name in AssignmentAnswer.model_fields}
    return AssignmentAnswer(**fields)
