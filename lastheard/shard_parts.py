"""The shard actor with its session, its place among the shards, and what runs its workspaces.

A part of the composition root (service.py), which owns the order. It decides nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors.gathered_cutovers import GatheredCutovers, GatheredGuardrails
from actors.gathered_cycles import GatheredCycles
from actors.runner import WorkspaceRunner
from actors.session import SessionKeeper
from actors.shard import ShardActor
from ports.cutovers import CutoverStores
from ports.ownership import OwnershipStores
from storage.cutovers import PostgresCutovers
from storage.cycles import PostgresCycleStore
from storage.guardrails import PostgresGuardrailStore
from storage.leases import PostgresLeaseStore
from storage.legacy_syncs import PostgresLegacySyncs
from storage.notices import PostgresNotices
from storage.parity import PostgresParityStore
from storage.sessions import PostgresSessionStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.session import CurrentSession
    from actors.tools import ActorTools
    from lastheard.settings import Settings
    from storage.gateway import Database
    from storage.pools import Pools


def make_shard(
    settings: Settings,
    pools: Pools,
    current: CurrentSession,
    tools: ActorTools,
    *,
    on_superseded: Callable[[], None],
) -> ShardActor:
    """Return the shard actor. Renewing the session has a connection of its own."""
    keeper = SessionKeeper(
        settings.shard_id,
        PostgresSessionStore(pools.session),
        current,
        tools.clock,
        tools.random,
        ttl_seconds=settings.ttl_seconds,
        is_paused=settings.paused,
    )
    return ShardActor(
        keeper,
        OwnershipStores(
            PostgresSessionStore(pools.collecting),
            PostgresLeaseStore(pools.collecting),
            PostgresNotices(pools.collecting),
        ),
        _make_runner(settings, pools.collecting, tools),
        tools,
        on_superseded=on_superseded,
    )


def _make_runner(settings: Settings, collecting: Database, tools: ActorTools) -> WorkspaceRunner:
    cycles = PostgresCycleStore(collecting)
    guardrails = PostgresGuardrailStore(collecting)
    return WorkspaceRunner(
        GatheredCycles(cycles, cycles),
        tools,
        window_seconds=settings.stream_window_seconds,
        cutovers=CutoverStores(
            GatheredCutovers(PostgresCutovers(collecting)),
            PostgresParityStore(collecting),
            GatheredGuardrails(guardrails, guardrails),
            PostgresLegacySyncs(collecting),
        ),
    )
