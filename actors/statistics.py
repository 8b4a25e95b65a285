"""The state and counters of the actors, as frozen records for operators.

`/runtime` shows them as one tree; a heartbeat carries a few of them (ports.sessions.VitalSigns).
Counts are totals since the actor was made, unless the comment says "now". Nothing in here decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from domain.coalesce import BufferStatistics
    from domain.refusals import RefusalStatistics
    from domain.resource import Resource
    from runtime.assignment import RoundsStatistics
    from runtime.child_statistics import SupervisorStatistics, SupervisorTotals
    from runtime.clock import ClockStatistics
    from runtime.mailbox import MailboxStatistics


@dataclass(frozen=True, slots=True, kw_only=True)
class DeferredStatistics:
    """The deferred submissions of the ingest actor."""

    submissions: int  # now
    updates: int  # now; those in the submissions
    locked_rows: int  # now; rows that are known to be locked
    deferrals: int  # how often a submission was put here; one may be put here again
    looks: int  # how often the locks were looked at
    oldest_seconds: float  # now; 0 if nothing is deferred
    oldest_seconds_by_workspace: Mapping[str, float]  # now; the 100 longest, longest first


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptTotals:
    """Updates from the mailbox on. submitted = sum of `outcomes` + pending, exactly."""

    submitted: int
    outcomes: Mapping[str, int]  # by domain.model.Outcome
    reasons: Mapping[str, int]  # by domain.model.Reason
    dropped_readings: Mapping[str, int]  # of accepted and refused updates, by Reason
    conflicting_readings: int  # that tie in time with another value
    ahead_readings: int  # accepted ahead of their arrival: each may be accepted again
    pending: int  # now; without a verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestTotals(ReceiptTotals):
    """The ingest actor, without what it counts for each resource."""

    units: int  # units committed
    largest_unit: int  # updates of the largest unit
    failing: bool  # the last commit failed
    oldest_waiting_seconds: float  # now; deferred submissions do not count
    deferred: DeferredStatistics
    mailbox: MailboxStatistics
    refusals: RefusalStatistics


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestStatistics(IngestTotals):
    """The ingest actor."""

    by_resource: Mapping[Resource, Mapping[str, int]]  # outcomes, by the lease collected under


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameStatistics:
    """The frames of one stream. received = merged + ignored + malformed + pending."""

    received: int
    merged: int
    ignored: int
    ignored_by: Mapping[str, int]  # `ignored` by its cause
    malformed: int
    faults: Mapping[str, int]  # errors that the provider reported, by domain.model.FaultClass
    refused: Mapping[str, Mapping[str, int]]  # by domain.model.Reason and signal ("": not told)
    pending: int  # now; 1 while a frame is interpreted
    buffer: BufferStatistics


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamStatistics:
    """One stream actor."""

    open: bool  # now
    waiting_seconds: float  # now; since nothing waited that was due: data, or unread bytes
    connections: int  # opened
    unsent: int  # now; submissions that a full lane refused
    failures: int  # since the connection last worked
    frames: FrameStatistics


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceStatistics:
    """One workspace actor."""

    outcomes: Mapping[str, int]  # cycles by domain.model.CycleOutcome
    next_start_at: str | None  # ISO 8601; None before the first start is known
    config_version: int  # the configuration that it works with


@dataclass(frozen=True, slots=True, kw_only=True)
class CutoverStatistics:
    """One cutover actor."""

    cycles: int  # ended ones after which there was something to look at
    done: Mapping[str, int]  # by step: comparisons, rollbacks and alerts, syncs
    failing: tuple[str, ...]  # now; steps whose newest attempt failed


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningWorkspaceStatistics(WorkspaceStatistics):
    """One owned workspace with its streams."""

    token: int  # of the lease
    cutover: CutoverStatistics | None
    streams: Mapping[str, StreamStatistics]  # by provider_id


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerStatistics:
    """All owned workspaces of a shard."""

    paused: bool  # now; the session is not trusted
    actors: SupervisorStatistics
    workspaces: Mapping[str, RunningWorkspaceStatistics]  # by workspace_id


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnedTotals:
    """The numbers of what a shard owns, as its metrics need them."""

    workspaces: tuple[str, ...]  # now; their ids
    streams_open: int  # now
    streams_closed: int  # now
    actors: SupervisorTotals


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionStatistics:
    """The session keeper."""

    trusted: bool  # now
    beats: int  # heartbeats renewed
    rejoined: int  # sessions begun after this process's own was over
    clock: ClockStatistics


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardTotals(SessionStatistics):
    """The shard actor without what it owns."""

    shard_id: str
    epoch: int | None  # of the live session; None without one
    draining: bool  # now
    paused: bool  # started to collect nothing
    rounds: int
    decisions: int  # rounds that did not find everything as the round before left it
    claimed: int  # leases
    released: int  # leases
    declared_dead: int  # sessions of other shards
    assignment: RoundsStatistics
    leaving: tuple[str, ...]  # now; workspaces that are being handed over
    frames: Mapping[str, int]  # sums over all streams that this process ever ran


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardStatistics(ShardTotals):
    """The shard actor, with everything that it owns."""

    owned: RunnerStatistics


@dataclass(frozen=True, slots=True, kw_only=True)
class RollupStatistics:
    """The actor that counts hours of indicators in advance."""

    counted: int  # hours, by this process
    behind: bool  # more hours waited than one run counts; true before the first run


@dataclass(frozen=True, slots=True, kw_only=True)
class UpkeepStatistics:
    """The upkeep actor."""

    partition_days_ahead: int | None  # None before the first time
    dropped: Mapping[str, int]  # expired rows or partitions, by table
