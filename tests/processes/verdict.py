"""The verdict on a cluster: every checker over everything that was stored, logged and connected.

Owns the ordered end of clients and processes, and the list of faults. It must never disturb a
cluster before that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from tests.processes.cluster import FENCED
from tests.processes.evidence import (
    fetch_connections,
    fetch_cycles,
    fetch_owned_events,
    generations_of,
    unify_epochs,
)
from tests.processes.history import find_faults, find_miscounted, find_unlogged, find_unstored
from tests.processes.ownership import find_double_cycles, find_overlaps, find_usurpations
from tests.processes.rows import fetch_history
from tests.processes.shard import find_uncounted

if TYPE_CHECKING:
    from tests.processes.cluster import Cluster, Process

SLACK_SECONDS: Final = 1.0  # two sides never agree to the millisecond on when a connection ended


async def end_and_judge(cluster: Cluster) -> list[str]:
    """End clients and processes in order. Returns each fault that a checker finds, in words."""
    await cluster.finish_posters()
    faults = []
    for shard_id, process in cluster.running.items():
        faults += [
            f"{shard_id}: {fault}" for fault in find_uncounted(await process.shard.runtime())
        ]
    connections = await fetch_connections(cluster.simulated)
    async with trio.open_nursery() as nursery:
        for shard_id in list(cluster.running):
            nursery.start_soon(cluster.terminate, shard_id)
    faults += [
        f"{each.shard_id}: a traceback\n{each.shard.child.tail()}"
        for each in cluster.processes
        if "Traceback" in each.shard.child.errors
    ]
    faults += [
        f"{each.shard_id}: {record}"
        for each in cluster.processes
        for record in each.shard.child.records
        if record.get("level") in ("error", "critical")
    ]
    faults += find_overlaps(connections, slack_seconds=SLACK_SECONDS, paused=cluster.pauses)
    return faults + await _judge_history(cluster) + await _judge_refusals(cluster)


async def _judge_history(cluster: Cluster) -> list[str]:
    events, devices = await fetch_history(cluster.dsn)
    owned = await fetch_owned_events(cluster.dsn)
    faults = find_faults([event._replace(epoch=0) for event in events], devices)
    faults += find_usurpations(owned)
    faults += find_double_cycles(await fetch_cycles(cluster.dsn))
    faults += find_unlogged(
        generations_of(cluster.processes), unify_epochs(cluster.processes, events, owned)
    )
    for poster in cluster.posters.values():
        faults += find_unstored(poster.acknowledged, events)
        faults += find_miscounted(poster.expected_events(), events)
    return faults


async def _judge_refusals(cluster: Cluster) -> list[str]:
    """Compare the fenced updates in the ledger with those that the processes logged.

    A killed process may have stored refusals without logging them.
    """
    stored = await cluster.count(FENCED)
    logged = sum(count_fenced(process) for process in cluster.processes)
    may_be_silent = any(process.killed for process in cluster.processes)
    if stored == logged or (may_be_silent and stored >= logged):
        return []
    return [f"the ledger has {stored} fenced updates, but the processes logged {logged}"]


def count_fenced(process: Process) -> int:
    """Return how many updates this process logged as refused because their session was over."""
    refused = process.shard.child.events("telematics_update_rejected")
    return sum(record["reasons"].get("fenced", 0) for record in refused)
