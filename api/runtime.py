"""The state of this process and of the other shards, for operators."""

from typing import Any

from quart import Response

from api.auth import current_access
from api.bodies import json_response
from api.keys import Scope
from api.operations import Operations
from api.problem_types import MISSING_SCOPE
from api.problems import Problem
from api.services import ApiServices
from api.shapes import AnswerModel


class RuntimeAnswer(AnswerModel):
    """The report of the shard that answered (`process`), and all `shards` of the database.

    Each of the `shards` has the statistics of its last heartbeat.
    """

    process: dict[str, Any]
    shards: list[dict[str, Any]]


def declare_runtime(operations: Operations, services: ApiServices) -> None:
    @operations.declare("GET", "/runtime", scope=Scope.READ, response=RuntimeAnswer, tag="runtime")
    async def get_runtime() -> Response:
        """Show the state of the shards. A key that is limited to workspaces gets 403."""
        if current_access().workspaces is not None:
            raise Problem(
                MISSING_SCOPE, "A key that is limited to workspaces does not see the runtime."
            )
        process = {**services.runtime_report(), "http": services.traffic.statistics()}
        shards = [dict(shard) for shard in await services.reads.load_shards()]
        return json_response(RuntimeAnswer(process=process, shards=shards))
