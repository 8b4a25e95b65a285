"""The connections of a workspace as they are now: calls, streams, faults, the newest data."""

from typing import Literal

from pydantic import Field
from quart import Response

from api.bodies import Instant, json_response
from api.keys import Scope
from api.operations import Operations
from api.services import ApiServices
from api.shapes import AnswerModel
from domain.model import FaultClass


class ConnectionState(AnswerModel):
    """What is known of a connection in use. Null: it never happened, or is over.

    A stream may have calls, too: those that ask for the present state.
    """

    provider_id: str
    provider_type: str
    transport: str
    active: bool
    simulated: bool
    call_status: Literal["succeeded", "failed"] | None = Field(description="of the newest call")
    last_success_at: Instant | None
    last_failure_at: Instant | None
    failing_since: Instant | None
    fault: FaultClass | None = Field(description="of the last failed call")
    fault_detail: str | None
    stream_status: Literal["open", "closed"] | None
    stream_changed_at: Instant | None
    stream_fault: FaultClass | None = Field(description="of the stream's last failure")
    stream_fault_detail: str | None
    stream_down_since: Instant | None = Field(
        description="until a stream has been open for 60 s and brought data"
    )
    data_at: Instant | None = Field(description="when its newest data came, of any device")
    sender_at: Instant | None = Field(description="of a push connection: the last request")


class ConnectionStateList(AnswerModel):
    items: list[ConnectionState]


def declare_connection_states(operations: Operations, services: ApiServices) -> None:
    @operations.declare(
        "GET",
        "/workspaces/{workspace_id}/connections",
        scope=Scope.READ,
        response=ConnectionStateList,
        tag="providers",
    )
    async def list_connection_states(workspace_id: str) -> Response:
        """List how a workspace's connections are now, by id: all that are in use.

        How they are configured is at `…/providers`.
        """
        rows = await services.reads.list_connection_states(workspace_id)
        states = [ConnectionState(**row._asdict()) for row in rows]
        return json_response(ConnectionStateList(items=states))
