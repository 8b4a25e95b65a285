"""The stored facts from which the verdict on a device is made.

Storage fills these records, and the health rule reads them. They decide nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from domain.held import Held
    from domain.model import Device, FaultClass, ProviderConnection, Workspace


@dataclass(frozen=True, slots=True)
class ConnectionRecord:
    """connection_state as stored. All fields are None before the connection's first call."""

    call_status: str | None = None  # "succeeded" | "failed"
    last_success_at: datetime | None = None
    last_failure_at: datetime | None = None
    failing_since: datetime | None = None
    fault: FaultClass | None = None
    fault_detail: str | None = None
    stream_status: str | None = None  # "open" | "closed"
    stream_changed_at: datetime | None = None
    stream_fault: FaultClass | None = None  # of the socket, until a socket is steady


@dataclass(frozen=True, slots=True)
class CollectorRecord:
    """The stored facts about our own side, for one workspace."""

    last_good_cycle_at: datetime | None = None  # end of the newest completed or partial cycle
    last_cycle_started_at: datetime | None = None
    last_cycle_outcome: str | None = None
    owner: str | None = None  # the shard that holds the workspace's lease; None if it is free
    owner_expires_at: datetime | None = None  # when that session's heartbeat expires
    oldest_waiting_seconds: float | None = None  # from that heartbeat's statistics


class HealthFacts(NamedTuple):
    """Everything stored that the verdict on one device may use."""

    workspace: Workspace
    connection: ProviderConnection
    device: Device
    connection_record: ConnectionRecord
    collector: CollectorRecord
    version: int
    document: Mapping[str, Held]
    last_update_received_at: datetime | None
    last_observed_at: datetime | None
    last_changed_at: datetime | None
    last_confirmed_at: datetime | None
    last_rejected_at: datetime | None
    last_rejection_reason: str | None

    @property
    def lag_seconds(self) -> float | None:
        """Receipt minus observation of the newest data.

        Negative if the provider's clock is ahead of ours.
        """
        if self.last_update_received_at is None or self.last_observed_at is None:
            return None
        return (self.last_update_received_at - self.last_observed_at).total_seconds()


def age_seconds(instant: datetime, now: datetime) -> float:
    """Return the seconds since the instant, never negative.

    A receipt stamped a moment after `now` counts as new.
    """
    return max(0.0, (now - instant).total_seconds())
