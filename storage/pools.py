"""The database connections of one shard, separated by purpose.

Owns which purposes there are. If all connections of one purpose wait, behind a locked table for
instance, the others must still have theirs:

- `session`: the heartbeat. One connection, because a late heartbeat costs the shard all that it
  owns.
- `ingest`: the ingest actor. A connection for each writer, because each has one unit in flight.
  They keep the plans of their few statements, which all join by primary key.
- `collecting`: cycles, leases, configuration, partitions.
- `api`: reads and commands of requests, and their keys. Some of them keep the plans of pages that
  are read by keys (docs/decisions/0061).

The connection that listens for notices comes on top of these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from ports.ingest import WRITERS
from runtime.measures import UNMEASURED
from storage.gateway import Database
from storage.pool_statistics import PoolsStatistics, sum_up

if TYPE_CHECKING:
    from runtime.measures import Measures
    from storage.connection_pool import ConnectionPool


POOLS: Final = ("session", "ingest", "collecting", "api")


class Pools:
    """One Database for each purpose, all on one server.

    When one of them finds the server gone, all drop their idle connections.
    """

    def __init__(
        self,
        dsn: str,
        *,
        collecting: int,
        api: int,
        ingest: int = WRITERS,
        application_name: str,
        measures: Measures = UNMEASURED,
    ) -> None:
        """`collecting`, `api` and `ingest`: the number of connections for that purpose."""
        family: list[ConnectionPool] = []

        def pool(name: str, size: int, *, keeps_plans: bool = False) -> Database:
            return Database(
                dsn,
                pool_size=size,
                application_name=application_name,
                keeps_plans=keeps_plans,
                family=family,
                observe_wait=lambda waited, /, *_: measures.connection_wait_seconds(waited, name),
            )

        self.session = pool("session", 1)
        self.ingest = pool("ingest", ingest, keeps_plans=True)
        self.collecting = pool("collecting", collecting)
        self.api = pool("api", api)
        self._pools = {
            "session": self.session,
            "ingest": self.ingest,
            "collecting": self.collecting,
            "api": self.api,
        }

    async def aclose(self) -> None:
        """Close idle connections politely, within 3 s.

        A connection in use closes when its call ends.
        """
        async with trio.open_nursery() as nursery:
            for pool in self._pools.values():
                nursery.start_soon(pool.aclose)

    def statistics(self) -> PoolsStatistics:
        return sum_up({name: pool.statistics() for name, pool in self._pools.items()})
