"""Reasons and parties: which reasons there are, and whose each of them is.

The order of `HealthReason` from `switched_off` on is the order of the rule. Pure.
"""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


class HealthReason(StrEnum):
    """The reason for a state. The first three are those of fresh devices."""

    REPORTING = "reporting"
    PROVIDER_DELAY = "provider_delay"
    SIGNAL_SILENT = "signal_silent"
    SWITCHED_OFF = "switched_off"
    COLLECTOR_LATE = "collector_late"
    INGEST_BACKLOG = "ingest_backlog"
    MISCONFIGURED = "misconfigured"
    CREDENTIALS_REJECTED = "credentials_rejected"
    QUOTA_EXHAUSTED = "quota_exhausted"
    PROVIDER_OUTAGE = "provider_outage"
    STREAM_DISCONNECTED = "stream_disconnected"
    UPDATES_REJECTED = "updates_rejected"
    OUTDATED_DATA = "outdated_data"
    UNKNOWN_TO_PROVIDER = "unknown_to_provider"
    SENDER_SILENT = "sender_silent"
    AWAITING_FIRST_DATA = "awaiting_first_data"
    NEVER_REPORTED = "never_reported"
    DEVICE_SILENT = "device_silent"
    NO_ANSWER_YET = "no_answer_yet"


class Party(StrEnum):
    """The side whose fault a reason is. `none` stands beside `reporting` only."""

    OURS = "ours"
    PROVIDER = "provider"
    CUSTOMER = "customer"
    DEVICE = "device"
    UNKNOWN = "unknown"
    NONE = "none"


# The party of each reason that has only one. provider_delay, updates_rejected and
# unknown_to_provider depend on the facts.
PARTIES: Final[Mapping[HealthReason, Party]] = MappingProxyType(
    {
        HealthReason.REPORTING: Party.NONE,
        HealthReason.SIGNAL_SILENT: Party.DEVICE,
        HealthReason.SWITCHED_OFF: Party.CUSTOMER,
        HealthReason.COLLECTOR_LATE: Party.OURS,
        HealthReason.INGEST_BACKLOG: Party.OURS,
        HealthReason.MISCONFIGURED: Party.OURS,
        HealthReason.CREDENTIALS_REJECTED: Party.CUSTOMER,
        HealthReason.QUOTA_EXHAUSTED: Party.PROVIDER,
        HealthReason.PROVIDER_OUTAGE: Party.PROVIDER,
        HealthReason.STREAM_DISCONNECTED: Party.PROVIDER,
        HealthReason.OUTDATED_DATA: Party.DEVICE,
        HealthReason.SENDER_SILENT: Party.CUSTOMER,
        HealthReason.AWAITING_FIRST_DATA: Party.UNKNOWN,
        HealthReason.NEVER_REPORTED: Party.DEVICE,
        HealthReason.DEVICE_SILENT: Party.DEVICE,
        HealthReason.NO_ANSWER_YET: Party.UNKNOWN,
    }
)
# Causes of the connection, from our side to the provider's. They do not displace a recent answer.
CONNECTION_REASONS: Final = frozenset(
    {
        HealthReason.COLLECTOR_LATE,
        HealthReason.INGEST_BACKLOG,
        HealthReason.MISCONFIGURED,
        HealthReason.CREDENTIALS_REJECTED,
        HealthReason.QUOTA_EXHAUSTED,
        HealthReason.PROVIDER_OUTAGE,
        HealthReason.STREAM_DISCONNECTED,
    }
)
# Causes that all devices of a connection, a workspace or a shard have together.
SHARED_REASONS: Final = CONNECTION_REASONS | {HealthReason.SWITCHED_OFF, HealthReason.SENDER_SILENT}


class Cause(NamedTuple):
    """A reason that holds now, with its party. `since` and `detail` are None if not known."""

    reason: HealthReason
    party: Party
    since: datetime | None = None
    detail: str | None = None


def cause(reason: HealthReason, since: datetime | None = None, detail: str | None = None) -> Cause:
    """Return the cause for a reason that has only one party."""
    return Cause(reason, PARTIES[reason], since, detail)
