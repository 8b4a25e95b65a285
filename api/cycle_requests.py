"""The body that asks for a cycle: of a person, of a scheduler, or an event of Amazon EventBridge.

Owns the shape of the event and the rules of what it may ask for. A target of EventBridge gets the
event as it is, unless an input transformer is set.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from quart import request

from api.bodies import Instant, invalid_fields, read_json
from api.problems import FaultyPart
from api.shapes import Identifier

_NOT_NOW = (
    "An event runs the workspace's next regular start, so that the events of many workspaces do "
    'not start all their cycles at once. Leave it out, or say "next_start"; a person asks for a '
    'run at once with {"when": "now"} and no event.'
)
_OTHER_WORKSPACE = (
    "It is another workspace than the path's. Name the same in both, or leave it out here."
)

When = Annotated[
    Literal["next_start", "now"],
    Field(
        description="`next_start`: the workspace's next regular start, for schedulers. "
        "`now`: at once, for a person; refused beside an event"
    ),
]
EventText = Annotated[str, Field(max_length=256)]


def _refuse_now(value: object) -> object:
    if value == "now":
        raise ValueError(_NOT_NOW)
    return value


class EventDetail(BaseModel):
    """The detail of an event. Its other members are ignored; a schedule sends `{}`."""

    model_config = ConfigDict(frozen=True)

    when: Annotated[Literal["next_start"], BeforeValidator(_refuse_now)] | None = None
    workspace_id: Identifier | None = Field(
        None, description="the workspace in the path; another one is refused"
    )


class CycleRequest(BaseModel):
    """The body of a request to run: `when`, or an event as EventBridge sends it.

    An event has `detail-type` or `detail`. Other members are ignored.
    """

    model_config = ConfigDict(frozen=True)

    when: When = "next_start"
    version: EventText | None = None
    id: EventText | None = Field(None, description="the event's id, for the log")
    detail_type: EventText | None = Field(
        None, alias="detail-type", description="of a schedule `Scheduled Event`"
    )
    source: EventText | None = Field(None, description="of a schedule `aws.events`")
    account: EventText | None = None
    time: Instant | None = Field(None, description="when the event occurred, for the log")
    region: EventText | None = None
    resources: list[str] | None = Field(None, description="for example the ARN of the rule")
    detail: EventDetail | None = None

    @property
    def is_event(self) -> bool:
        return self.detail_type is not None or self.detail is not None


async def read_cycle_request(workspace_id: str) -> CycleRequest:
    """Return the body of the present request, which may be empty.

    Raises Problem, 422 with the place, for an event that asks for another workspace or for a run at
    once.
    """
    if not await request.get_data(as_text=False):
        return CycleRequest()
    wanted = await read_json(request, CycleRequest)
    faults = []
    if wanted.is_event and wanted.when == "now":
        faults.append(FaultyPart(pointer="/when", detail=_NOT_NOW))
    named = None if wanted.detail is None else wanted.detail.workspace_id
    if named not in (None, workspace_id):
        faults.append(FaultyPart(pointer="/detail/workspace_id", detail=_OTHER_WORKSPACE))
    if faults:
        raise invalid_fields(faults, len(faults))
    return wanted
