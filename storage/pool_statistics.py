"""The use of database connections, as frozen records for operators."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseStatistics:
    """The connections of one Database. Totals, except for the present values named so."""

    pool_size: int  # connections that calls may use at the same time
    in_use: int  # now
    waiting: int  # now; calls that wait for a connection
    idle: int  # now; open and unused
    listening: int  # now; connections of `listen`, besides the pool
    calls: int
    opened: int
    terminated: int  # closed without a goodbye
    expired: int  # how often all idle connections were dropped, because the server was gone
    reruns: int  # work that ran again, after a deadlock, a failed serialization or a migration
    commits_unknown: int  # the answer to COMMIT was lost
    deadlines: int  # calls without an answer in time
    server_version: str | None  # None before the first connection
    last_error: str | None  # redacted


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolsStatistics(DatabaseStatistics):
    """The sums over all pools of a shard, and each of them by its purpose."""

    pools: Mapping[str, DatabaseStatistics]


def sum_up(pools: Mapping[str, DatabaseStatistics]) -> PoolsStatistics:
    """Return the sum of every count, and the first version and error that any pool knows."""
    sums = {
        field.name: sum(getattr(pool, field.name) for pool in pools.values())
        for field in fields(DatabaseStatistics)
        if field.name not in ("server_version", "last_error")
    }
    return PoolsStatistics(
        **sums,
        server_version=next((p.server_version for p in pools.values() if p.server_version), None),
        last_error=next((p.last_error for p in pools.values() if p.last_error), None),
        pools=pools,
    )
