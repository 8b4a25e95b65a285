"""The stored facts from which the verdict on a device is made.

Storage fills these records, and the health rule reads them. They decide nothing. A fact that is
None is not known, and nothing is concluded from it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from domain.held import Held
    from domain.model import Device, FaultClass, ProviderConnection, Workspace


@dataclass(frozen=True, slots=True)
class ConnectionRecord:
    """connection_state as stored. Calls and the socket of a stream keep separate last results."""

    # The newest call that ended, answered or failed.
    call_status: str | None = None  # "succeeded" | "failed"
    call_begun_at: datetime | None = None
    call_ended_at: datetime | None = None
    last_success_at: datetime | None = None
    last_failure_at: datetime | None = None
    failing_since: datetime | None = None
    fault: FaultClass | None = None
    fault_detail: str | None = None
    # The newest complete incremental answer, and the newest roster answer.
    complete_begun_at: datetime | None = None
    complete_at: datetime | None = None
    roster_begun_at: datetime | None = None
    roster_at: datetime | None = None
    not_asked_at: datetime | None = None  # end of a cycle that did not ask; None once it was asked
    # The socket of a stream.
    stream_status: str | None = None  # "open" | "closed"
    stream_changed_at: datetime | None = None
    stream_fault: FaultClass | None = None
    stream_fault_detail: str | None = None
    stream_down_since: datetime | None = None  # until a socket is open for 60 s and brought data
    # What came: the newest data and its device, the newest of any other device, its readability.
    data_at: datetime | None = None
    data_device_id: str | None = None
    other_data_at: datetime | None = None
    readable_at: datetime | None = None
    unreadable_at: datetime | None = None
    sender_at: datetime | None = None  # the newest request of a client that pushes


@dataclass(frozen=True, slots=True)
class CollectorRecord:
    """The stored facts about our own side, for one workspace."""

    last_good_cycle_at: datetime | None = None  # end of the newest completed or partial cycle
    last_cycle_started_at: datetime | None = None
    last_cycle_outcome: str | None = None
    last_slot_start_at: datetime | None = None  # the slot of the newest cycle that started
    earlier_cycle_started_at: datetime | None = None  # newest start in any slot before that one
    owner: str | None = None  # the shard that holds the workspace's lease; None if it is free
    owner_expires_at: datetime | None = None  # when that session's heartbeat expires
    oldest_waiting_seconds: float | None = None  # from that heartbeat's statistics
    # by connection: for how long data waits in its stream, from the same statistics
    stream_waiting_seconds: Mapping[str, float] = field(default_factory=dict)
    # provider_id and external id of the newest refusals as `unknown_device`, at most 100
    unknown_ids: tuple[tuple[str, str], ...] = ()
    is_paused: bool = False  # every shard that runs was started to collect nothing


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
    # The newest statement of the provider about the device.
    statement: str | None  # "named" | "left_out" | "error"
    statement_begun_at: datetime | None
    statement_at: datetime | None
    statement_detail: str | None
    # The newest update that was refused whole, and the newest that was older than what is held.
    last_rejected_at: datetime | None
    last_rejection_reason: str | None
    last_outdated_at: datetime | None
    held_back_seconds: float | None  # proven for the newest data; None if nothing proves it
    connection_changed_at: datetime | None = None  # the connection was switched on or off
    # Refused readings of the last two hours at most, by signal, as the ledger counts them.
    refused_signals: Mapping[str, int] = MappingProxyType({})
    is_of_legacy: bool = False  # it is what the legacy system says: domain/legacy_health.py

    @property
    def lag_seconds(self) -> float | None:
        """Arrival minus observation of the newest data.

        Negative if the provider's clock is ahead of ours.
        """
        if self.last_update_received_at is None or self.last_observed_at is None:
            return None
        return (self.last_update_received_at - self.last_observed_at).total_seconds()

    @property
    def silent_since(self) -> datetime:
        """Return when the device was last heard, or when it was activated if it never was."""
        return self.last_update_received_at or self.device.activated_at

    @property
    def away_since(self) -> datetime:
        """Return the earlier of `silent_since` and the vehicle's own newest time.

        The worklist is sorted by it.
        """
        return find_away_since(
            self.last_update_received_at, self.last_observed_at, self.device.activated_at
        )

    @property
    def is_pushed(self) -> bool:
        """Return whether clients send the data of this connection to us."""
        return self.connection.transport == "push"

    @property
    def is_asked(self) -> bool:
        """Return whether calls are made over this connection: polls, or state calls of a stream.

        A stream has a state endpoint if a call over it ever ended. Nobody tells us how the legacy
        system asks.
        """
        if self.is_of_legacy:
            return False
        record = self.connection_record
        return self.connection.transport == "poll" or (
            self.connection.transport == "stream"
            and (record.call_status is not None or record.roster_at is not None)
        )

    @property
    def lives_on_calls(self) -> bool:
        """Return whether the device's newest data came while its stream had no steady socket.

        Such data came by a state call, and so will the next, until the socket is back. The answer
        stays the same while the device is silent, so its limits do not move.
        """
        return is_after_loss(self.last_update_received_at, self.connection_record.stream_down_since)

    @property
    def others_data_at(self) -> datetime | None:
        """Return when the newest data of any other device came over the connection."""
        record = self.connection_record
        if record.data_device_id == self.device.device_id:
            return record.other_data_at
        return record.data_at


def find_away_since(
    received_at: datetime | None, observed_at: datetime | None, activated_at: datetime
) -> datetime:
    """Return the earlier of the last arrival, or else the activation, and the vehicle's own time.

    SQL sorts by the same comparison (storage/sql/health.sql).
    """
    silent_since = received_at or activated_at
    return min(silent_since, observed_at or silent_since)


def is_after_loss(received_at: datetime | None, stream_down_since: datetime | None) -> bool:
    """Return whether data came while a stream had no steady socket.

    SQL makes the same comparison (storage/sql/health.sql).
    """
    return (
        received_at is not None
        and stream_down_since is not None
        and received_at > stream_down_since
    )


def age_seconds(instant: datetime, now: datetime) -> float:
    """Return the seconds since the instant, never negative.

    A arrival stamped a moment after `now` counts as new.
    """
    return max(0.0, (now - instant).total_seconds())


def is_within(instant: datetime | None, seconds: float, now: datetime) -> bool:
    """Return whether the instant is known and at most so many seconds ago."""
    return instant is not None and age_seconds(instant, now) <= seconds


def is_later(one: datetime | None, other: datetime | None) -> bool:
    """Return whether the first instant is known and later than the second, or that is unknown."""
    return one is not None and (other is None or one > other)
