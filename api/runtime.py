"""The state of this process and of the other shards, for operators."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, Field, create_model
from quart import Response

from api.auth import current_access, require_all_workspaces
from api.bodies import Instant, json_response
from api.keys import Scope
from api.operations import Operations
from api.record_models import RecordModels
from api.services import ApiServices
from api.shapes import AnswerModel
from ports.sessions import VitalSigns
from runtime.mailbox_lane import LaneStatistics

_NAMES = {"Mapping": Mapping, "LaneStatistics": LaneStatistics}
_VITAL_SIGNS: Any = RecordModels(_NAMES).of(VitalSigns)


class ShardAnswer(AnswerModel):
    """One shard's newest session, and its heartbeat. Without a heartbeat its members are null."""

    shard_id: str
    epoch: int
    state: Literal["live", "ended", "dead"]
    last_unit: int = Field(description="the number of the last unit that it committed")
    started_at: Instant
    ended_at: Instant | None
    beat_at: Instant | None
    expires_at: Instant | None = Field(description="it is alive until then; other shards wait")
    draining: bool | None = Field(description="it hands over all it owns, and takes nothing")
    statistics: _VITAL_SIGNS | None


class RuntimeAnswer(AnswerModel):
    """The report of the shard that answered (`process`), and all `shards` of the database.

    Each of the `shards` has the statistics of its last heartbeat. A shard of another version may
    send others.
    """

    process: BaseModel
    shards: list[ShardAnswer]


def declare_runtime(operations: Operations, services: ApiServices) -> None:
    answer_model = create_model(
        RuntimeAnswer.__name__,
        __base__=RuntimeAnswer,
        __doc__=RuntimeAnswer.__doc__,
        process=(services.process_model, ...),
    )

    @operations.declare("GET", "/runtime", scope=Scope.READ, response=answer_model, tag="runtime")
    async def get_runtime() -> Response:
        """Show the state of the shards. A key that is limited to workspaces gets 403."""
        require_all_workspaces(current_access(), "the runtime")
        # Not read into the models: a shard of another version may report other statistics.
        process = {**services.runtime_report(), "http": services.traffic.statistics()}
        return json_response({"process": process, "shards": await services.reads.load_shards()})
