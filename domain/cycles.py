"""The poll cycle's values: its identity, its outcomes and its end."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


class CycleOutcome(StrEnum):
    RUNNING = "running"
    COMPLETED = "completed"  # every polled connection answered and its data is committed
    PARTIAL = "partial"  # some connections answered, some failed
    FAILED = "failed"  # no connection answered
    TIMED_OUT = "timed_out"  # the deadline ended it; what had arrived is committed
    SKIPPED = "skipped"  # there was nothing to collect
    MISSED = "missed"  # no shard started it in its slot
    ABANDONED = "abandoned"  # its shard died or stopped before the cycle ended


class CycleTrigger(StrEnum):
    SCHEDULE = "schedule"
    LATE = "late"
    MANUAL = "manual"


class CycleKey(NamedTuple):
    """The four parts that identify a cycle. domain.schedule.cycle_id makes `cycle_id` from them."""

    workspace_id: str
    slot_start_at: datetime
    trigger: CycleTrigger
    attempt: int


class CycleEnd(NamedTuple):
    """The end of a cycle, committed with the last part of its data."""

    key: CycleKey
    cycle_id: str
    ended_at: datetime
    outcome: CycleOutcome
    summary: Mapping[str, Any]
