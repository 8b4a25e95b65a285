"""The probes: liveness and readiness of this process.

Readiness fails for our own faults only (database, partitions, ingest, lanes). A provider that is
away must not take the service out of rotation, because then nobody could read why the data is old.
"""

import trio
from pydantic import Field
from quart import Response

from api.bodies import json_response
from api.operations import Operations
from api.problem_types import DEPENDENCY_AWAY
from api.problems import DEFAULT_RETRY_AFTER_SECONDS, Problem
from api.services import ApiServices
from api.shapes import AnswerModel
from runtime.faults import EnvironmentFault

MIN_PARTITION_DAYS = 2
CHECK_SECONDS = 3.0  # below a prober's usual timeout, so that the answer names the failing check


class Alive(AnswerModel):
    alive: bool


class Ready(AnswerModel):
    """The result of every check, all true; else the answer is a problem with the same member."""

    checks: dict[str, bool]
    collecting_paused: bool = Field(
        description="This process was started to collect nothing; it still answers requests."
    )


def declare_probes(operations: Operations, services: ApiServices) -> None:
    @operations.declare("GET", "/healthz", scope=None, response=Alive, tag="probes", prefixed=False)
    async def check_alive() -> Response:
        """Show that the process serves requests."""
        return json_response(Alive(alive=True))

    @operations.declare("GET", "/readyz", scope=None, response=Ready, tag="probes", prefixed=False)
    async def check_ready() -> Response:
        """Show whether the process can do its work; 503 names the failing checks."""
        days = await _count_partition_days(services)
        checks = {
            "database": days is not None,
            "partitions": days is not None and days >= MIN_PARTITION_DAYS,
            **services.readiness(),
        }
        failing = [name for name, passed in checks.items() if not passed]
        if failing:
            raise Problem(
                DEPENDENCY_AWAY,
                f"Not ready: {', '.join(failing)}.",
                retry_after_seconds=DEFAULT_RETRY_AFTER_SECONDS,
                extensions={"checks": checks},
            )
        return json_response(Ready(checks=checks, collecting_paused=services.is_paused))


async def _count_partition_days(services: ApiServices) -> int | None:
    """Return how many days of partitions exist ahead; None when the database does not answer.

    Waits CHECK_SECONDS at most.
    """
    with trio.move_on_after(CHECK_SECONDS):
        try:
            return await services.reads.check_ready()
        except EnvironmentFault:
            return None
    return None
