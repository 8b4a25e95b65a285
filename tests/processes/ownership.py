"""Judge which session wrote what on a shared database: there are never two effective owners.

Owns the rules of docs/ownership.md as they show afterwards: in event rows, in poll cycles, and in
the providers' own log of connections. It shares no code with what keeps them. Pure: rows in,
sentences out. A good history gives no sentence.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import combinations, pairwise
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

MAX_NAMED = 5  # faults named of one kind and resource; more would say the same


class OwnedEvent(NamedTuple):
    """One row of events, with its ownership.

    `resource` and `token` are None if no lease covered the update.
    """

    workspace_id: str
    device_id: str
    sequence: int
    recorded_at: datetime
    shard_id: str
    epoch: int
    resource: str | None
    token: int | None


class CycleRow(NamedTuple):
    """One attempt of one poll cycle."""

    workspace_id: str
    slot_start_at: datetime
    trigger: str
    attempt: int
    outcome: str
    started_at: datetime | None
    ended_at: datetime | None


class Connection(NamedTuple):
    """One stream connection by the provider's log, in seconds since the epoch. None: it is open."""

    tenant: str
    opened_at: float
    closed_at: float | None


class Window(NamedTuple):
    """A span in seconds since the epoch in which a paused process cannot close its connections."""

    begins_at: float
    ends_at: float


def find_usurpations(events: Iterable[OwnedEvent]) -> list[str]:
    """Find, by the tokens of events, where two owners wrote for a resource at a time."""
    by_resource: defaultdict[str, list[OwnedEvent]] = defaultdict(list)
    faults = []
    for event in events:
        if (event.resource is None) is not (event.token is None):
            faults.append(
                f"{event.workspace_id}/{event.device_id} {event.sequence}: "
                "a token without a resource"
            )
        elif event.resource is not None:
            by_resource[event.resource].append(event)
    for resource, owned in sorted(by_resource.items()):
        for judge in (_shared_tokens, _returning_tokens, _late_writers):
            faults += [f"{resource}: {fault}" for fault in list(judge(owned))[:MAX_NAMED]]
    return faults


def _shared_tokens(events: Sequence[OwnedEvent]) -> Iterable[str]:
    """Find tokens that two sessions used. One acquisition belongs to one session."""
    sessions: defaultdict[int | None, set[tuple[str, int]]] = defaultdict(set)
    for event in events:
        sessions[event.token].add((event.shard_id, event.epoch))
    return [
        f"token {token} was used by {sorted(owners)}"
        for token, owners in sorted(sessions.items())
        if len(owners) > 1
    ]


def _returning_tokens(events: Sequence[OwnedEvent]) -> Iterable[str]:
    """Find tokens that decrease along the history of one device."""
    by_device: defaultdict[str, list[OwnedEvent]] = defaultdict(list)
    for event in events:
        by_device[event.device_id].append(event)
    for device_id, history in sorted(by_device.items()):
        for before, after in pairwise(sorted(history, key=lambda event: event.sequence)):
            if (after.token or 0) < (before.token or 0):
                yield (
                    f"{device_id} sequence {after.sequence} "
                    f"has token {after.token} after token {before.token} "
                    f"at {before.sequence}"
                )


def _late_writers(events: Sequence[OwnedEvent]) -> Iterable[str]:
    """Find events under an older token after the first event under a newer one, on any device."""
    successor_at: datetime | None = None
    for token, written in _by_falling_token(events):
        last = max(event.recorded_at for event in written)
        if successor_at is not None and last >= successor_at:
            yield f"token {token} wrote at {last}, its successor had begun at {successor_at}"
        first = min(event.recorded_at for event in written)
        successor_at = first if successor_at is None else min(first, successor_at)


def _by_falling_token(events: Sequence[OwnedEvent]) -> list[tuple[int, list[OwnedEvent]]]:
    grouped: defaultdict[int, list[OwnedEvent]] = defaultdict(list)
    for event in events:
        grouped[event.token or 0].append(event)
    return sorted(grouped.items(), reverse=True)


def find_double_cycles(cycles: Iterable[CycleRow]) -> list[str]:
    """Find slots that were collected twice: completed twice, or by two attempts at one time.

    Runs on demand do not count.
    """
    by_slot: defaultdict[tuple[str, datetime], list[CycleRow]] = defaultdict(list)
    for cycle in cycles:
        if cycle.trigger != "manual":
            by_slot[cycle.workspace_id, cycle.slot_start_at].append(cycle)
    return [
        f"{workspace_id} slot {slot_start_at}: {fault}"
        for (workspace_id, slot_start_at), attempts in sorted(by_slot.items())
        for fault in _faults_of_slot(attempts)
    ]


def _faults_of_slot(attempts: Sequence[CycleRow]) -> Iterable[str]:
    completed = sum(cycle.outcome == "completed" for cycle in attempts)
    if completed > 1:
        yield f"{completed} attempts completed"
    for one, other in combinations(attempts, 2):
        if _overlap_at_all(one, other):
            yield f"attempts {_name(one)} and {_name(other)} ran at one time"


def _overlap_at_all(one: CycleRow, other: CycleRow) -> bool:
    if one.started_at is None or other.started_at is None:
        return False
    first, second = sorted((one, other), key=lambda cycle: str(cycle.started_at))
    assert second.started_at is not None
    return first.ended_at is None or second.started_at < first.ended_at


def _name(cycle: CycleRow) -> str:
    return f"{cycle.trigger} {cycle.attempt} ({cycle.outcome})"


def find_overlaps(
    connections: Iterable[Connection], *, slack_seconds: float, paused: Sequence[Window] = ()
) -> list[str]:
    """Find tenants with two streams at one time, outside the pauses of a process.

    Up to `slack_seconds` are allowed.
    """
    by_tenant: defaultdict[str, list[Connection]] = defaultdict(list)
    for connection in connections:
        by_tenant[connection.tenant].append(connection)
    return [
        fault
        for tenant, opened in sorted(by_tenant.items())
        for one, other in combinations(
            sorted(opened, key=lambda connection: connection.opened_at), 2
        )
        for fault in _doubled(tenant, one, other, slack_seconds, paused)
    ]


def _doubled(
    tenant: str, one: Connection, other: Connection, slack_seconds: float, paused: Sequence[Window]
) -> Iterable[str]:
    """Find the overlap of two connections, of which `one` was opened first."""
    ends_at = min(
        float("inf") if one.closed_at is None else one.closed_at,
        float("inf") if other.closed_at is None else other.closed_at,
    )
    excused = any(
        window.begins_at <= other.opened_at and ends_at <= window.ends_at for window in paused
    )
    if ends_at - other.opened_at > slack_seconds and not excused:
        yield (
            f"{tenant}: two streams for {ends_at - other.opened_at:.2f} s "
            f"from {other.opened_at:.2f} on"
        )
