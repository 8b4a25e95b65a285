"""Where a device has been: its assignments, and the update behind a value that it shows now."""

from quart import Response

from api.bodies import json_response
from api.device_swap import AssignmentAnswer, present_assignment
from api.devices import no_such_device
from api.events import EventAnswer, present_event
from api.keys import Scope
from api.operations import Operations
from api.problem_types import NOT_FOUND
from api.problems import Problem
from api.services import ApiServices
from api.shapes import AnswerModel

MAX_ASSIGNMENTS = 100


class AssignmentList(AnswerModel):
    items: list[AssignmentAnswer]


def declare_assignments(operations: Operations, services: ApiServices) -> None:
    @operations.declare(
        "GET",
        "/workspaces/{workspace_id}/devices/{device_id}/assignments",
        scope=Scope.READ,
        response=AssignmentList,
        tag="devices",
    )
    async def list_assignments(workspace_id: str, device_id: str) -> Response:
        """List which unit was in which vehicle under this device, newest first.

        The newest 100. Every device has one at least.
        """
        found = await services.reads.list_assignments(
            workspace_id, device_id, limit=MAX_ASSIGNMENTS
        )
        if not found:
            raise no_such_device(device_id)
        return json_response(AssignmentList(items=[present_assignment(each) for each in found]))


def declare_event_behind(operations: Operations, services: ApiServices) -> None:
    @operations.declare(
        "GET",
        "/workspaces/{workspace_id}/snapshots/{device_id}/{signal}/event",
        scope=Scope.READ,
        response=EventAnswer,
        problems=(NOT_FOUND,),
        tag="events",
    )
    async def get_event_behind(workspace_id: str, device_id: str, signal: str) -> Response:
        """Show the accepted update that brought the device's current value of a signal.

        404 if the device has no value of it, or if the update is not kept any more.
        """
        found = await services.reads.get_snapshot(workspace_id, device_id)
        if found is None:
            raise no_such_device(device_id)
        held = found[1].document.get(signal)
        if held is None:
            raise Problem(NOT_FOUND, f"The device has no value of a signal {signal}.")
        event = await services.reads.find_event_behind(workspace_id, device_id, signal, held)
        if event is None:
            raise Problem(NOT_FOUND, "The update that brought this value is not kept any more.")
        return json_response(present_event(event))
