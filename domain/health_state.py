"""The state of a device: the comparison of its times with its thresholds (FR-006).

SQL classifies devices by the same comparisons (storage/sql/health.sql); a property test holds the
two equal. Pure.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime

    from domain.thresholds import Thresholds


class State(StrEnum):
    """The health states. Every active device has exactly one."""

    HEALTHY = "healthy"
    DELAYED = "delayed"
    STALE = "stale"
    CONFIGURED_NO_DATA = "configured-no-data"
    AWAITING_FIRST_DATA = "awaiting-first-data"


class Cutoffs(NamedTuple):
    """Thresholds as instants. A time strictly before the instant is over the limit."""

    delayed_before: datetime
    stale_before: datetime
    grace_before: datetime


def cutoffs(thresholds: Thresholds, now: datetime) -> Cutoffs:
    """Return the thresholds as instants at `now`.

    Over the limit means strictly before the instant, here and in SQL.
    """
    return Cutoffs(
        now - timedelta(seconds=thresholds.delayed_after_seconds),
        now - timedelta(seconds=thresholds.stale_after_seconds),
        now - timedelta(seconds=thresholds.grace_seconds),
    )


def state_of(
    last_update_received_at: datetime | None, activated_at: datetime, limits: Cutoffs
) -> State:
    """Return the state of a device (FR-006).

    SQL filters and counts devices by the same comparisons.
    """
    if last_update_received_at is None:
        return (
            State.CONFIGURED_NO_DATA
            if activated_at < limits.grace_before
            else State.AWAITING_FIRST_DATA
        )
    if last_update_received_at < limits.stale_before:
        return State.STALE
    if last_update_received_at < limits.delayed_before:
        return State.DELAYED
    return State.HEALTHY
