"""The rules of configuration: the answers to commands, and which commands are refused.

The database's constraints are a second guard. The rules for devices are in `device_changes`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from domain.model import PolicyOverride
from domain.thresholds import check_override, check_policy

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from domain.model import Policy, ProviderConnection, Workspace
    from domain.thresholds import ThresholdFault

MIN_INTERVAL_SECONDS, MAX_INTERVAL_SECONDS = 2, 3600


class Stored(NamedTuple):
    """A command was carried out; `created` tells a new thing from a changed one.

    `swapped` says that an active device got another unit or vehicle.
    """

    created: bool
    swapped: bool = False


class NotFound(NamedTuple):
    """A thing that the command names does not exist, or the key may not know of it."""

    what: str


class Conflict(NamedTuple):
    """The command contradicts a rule or what is stored. `field` names the field at fault."""

    detail: str
    field: str


Answer = Stored | NotFound | Conflict


class DeviceDraft(NamedTuple):
    """A device as a client configures it.

    The database sets activated_at unless it is given.
    """

    device_id: str
    provider_id: str
    external_id: str
    vehicle_id: str
    vehicle_name: str
    delayed_after_seconds: float | None = None
    stale_after_seconds: float | None = None
    grace_seconds: float | None = None
    activated_at: datetime | None = None
    effective_at: datetime | None = None  # of a swap

    @property
    def override(self) -> PolicyOverride:
        return PolicyOverride(
            self.delayed_after_seconds, self.stale_after_seconds, self.grace_seconds
        )


class Swap(NamedTuple):
    """Another unit or vehicle for an active device. None leaves a part as it is.

    `effective_at` is when the swap happened: now, if it is not given.
    """

    provider_id: str | None = None
    external_id: str | None = None
    vehicle_id: str | None = None
    vehicle_name: str | None = None
    effective_at: datetime | None = None


def check_workspace(poll_interval_seconds: int, policy: Policy) -> Conflict | None:
    """Return the refusal that the table's constraints would make, with the field, or None."""
    if not MIN_INTERVAL_SECONDS <= poll_interval_seconds <= MAX_INTERVAL_SECONDS:
        limits = f"from {MIN_INTERVAL_SECONDS} to {MAX_INTERVAL_SECONDS} seconds"
        return Conflict(f"must be {limits}", "poll_interval_seconds")
    return refuse_faults(check_policy(policy))


def keeps_ordinal(stored: Workspace, *, active: bool, poll_interval_seconds: int) -> bool:
    """Return whether the workspace's ordinal stays as it is; an inactive one goes on without one.

    A workspace needs another ordinal when it becomes active, and when it moves to the series of
    another interval.
    """
    if not active:
        return not stored.active
    return stored.active and stored.poll_interval_seconds == poll_interval_seconds


def check_provider(connection: ProviderConnection) -> Conflict | None:
    expected = connection.expected_update_seconds
    if expected is not None and not expected > 0:
        return Conflict("must be above 0", "expected_update_seconds")
    return refuse_faults(check_override(connection.override))


def refuse_faults(faults: Sequence[ThresholdFault]) -> Conflict | None:
    """Return the refusal for the first fault, or None if there is none."""
    return Conflict(faults[0].detail, faults[0].field) if faults else None
