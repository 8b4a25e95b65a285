"""The statistics of one process, from all its parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actors.statistics import (
        IngestStatistics,
        IngestTotals,
        OwnedTotals,
        RollupStatistics,
        ShardStatistics,
        ShardTotals,
        UpkeepStatistics,
    )
    from api.jwt_access import JwtStatistics
    from api.pages.live_board import LiveStatistics
    from api.traffic import HttpStatistics
    from legacy.client import LegacyStatistics
    from providers.http import HttpPoolStatistics
    from runtime.child_statistics import SupervisorStatistics, SupervisorTotals
    from runtime.dialling import DiallerStatistics
    from runtime.spans import TraceStatistics
    from storage.pool_statistics import PoolsStatistics


@dataclass(frozen=True, slots=True, kw_only=True)
class PartStatistics:
    """The parts of the process whose statistics do not grow with what is owned."""

    upkeep: UpkeepStatistics
    rollups: RollupStatistics
    database: PoolsStatistics
    outbound: DiallerStatistics
    provider_http: HttpPoolStatistics
    legacy_http: HttpPoolStatistics
    http: HttpStatistics  # the API's listener
    probes: HttpStatistics  # the probes' listener
    live: LiveStatistics  # pages that keep themselves true
    traces: TraceStatistics | None  # None: no address for them is configured


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessTotals(PartStatistics):
    """What the metrics show. It is read for each scrape, so it names no workspace's actors."""

    ingest: IngestTotals
    shard: ShardTotals
    owned: OwnedTotals
    actors: SupervisorTotals  # the children of the process


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessStatistics(PartStatistics):
    """The tree that `/runtime` shows as `process`. Each part documents its fields."""

    ingest: IngestStatistics
    shard: ShardStatistics  # session, ownership, and all that is owned
    legacy: LegacyStatistics
    jwt: JwtStatistics | None  # None: no issuer is configured
    actors: SupervisorStatistics  # the children of the process
