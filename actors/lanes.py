"""Lanes of the ingest actor's mailbox: which submission goes where, and how much each holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from runtime.mailbox_lane import LaneLimits

if TYPE_CHECKING:
    from domain.model import Submission

# Capacities count updates. When all lanes are full, their weights share out a unit: streams carry
# most, polls can wait longest.
LANES: Final = {
    "stream": LaneLimits(capacity=20_000, weight=4),
    "http": LaneLimits(capacity=5_000, weight=2),
    "poll": LaneLimits(capacity=10_000, weight=2),
}
_LANE_OF_ORIGIN: Final = {"stream": "stream", "poll": "poll", "http": "http", "envelope": "http"}


def lane_of(submission: Submission) -> str:
    return _LANE_OF_ORIGIN[submission.origin]
