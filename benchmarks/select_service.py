"""The service with one operation more, `GET /select-1`: the reference of the health benchmark.

Its handler does one `SELECT 1`. Everything before and after it is the product's: gate, key,
connection pool, frame, server. `python -m benchmarks.select_service` is run as `lastheard`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import api.app
from api.bodies import json_response
from api.keys import Scope
from lastheard.cli import main
from storage.reads import PostgresReads

if TYPE_CHECKING:
    from quart import Response

    from api.operations import Operations
    from api.services import ApiServices
    from storage.gateway import Connection

PATH = "/select-1"


def declare_select(operations: Operations, services: ApiServices) -> None:
    reads = services.reads
    assert isinstance(reads, PostgresReads)
    database = reads._database

    @operations.declare("GET", PATH, scope=Scope.READ, tag="probes")
    async def select_1() -> Response:
        """Answer with what PostgreSQL selects."""

        async def work(connection: Connection) -> int:
            found: int = await connection.fetchval("SELECT 1")
            return found

        return json_response({"found": await database.run(work, in_transaction=False)})


if __name__ == "__main__":
    api.app._RESOURCES = (*api.app._RESOURCES, declare_select)
    main()
