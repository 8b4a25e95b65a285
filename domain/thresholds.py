"""Thresholds: the limits of age that a workspace, a connection and a device set.

Owns which limits contradict each other, and which of them applies to a device. Their defaults stand
in `Policy`. Pure.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Final, NamedTuple

from domain.model import NO_OVERRIDE, Policy, PolicyOverride

if TYPE_CHECKING:
    from domain.model import Device, ProviderConnection, Workspace

OVERRIDABLE: Final = tuple(field.name for field in fields(PolicyOverride))
DEFAULT_STALE_AFTER_SECONDS: Final = Policy().stale_after_seconds
# A stream that reports every hour is delayed after 72 minutes and stale after 3 hours.
DELAYED_PERIODS: Final = 1.2
STALE_PERIODS: Final = 3.0


class Thresholds(NamedTuple):
    """The limits that applied to one device, in seconds of age. `source` is their origin.

    `period_seconds` is how often news can come: the expected period, and the poll interval of a
    polled connection.
    """

    freshness_target_seconds: float
    delayed_after_seconds: float
    stale_after_seconds: float
    grace_seconds: float
    expected_update_seconds: float | None
    source: str  # workspace | provider | device | expected_update_seconds | poll_interval_seconds
    period_seconds: float = 0.0


class ThresholdFault(NamedTuple):
    """A limit that cannot hold, by its field's name, and the rule that it breaks."""

    field: str
    detail: str


def check_policy(policy: Policy) -> list[ThresholdFault]:
    """Return the limits of a workspace that break 0 < target <= delayed < stale, or 0 < grace."""
    faults = _check_above_zero(policy, ("freshness_target_seconds",))
    if policy.delayed_after_seconds < policy.freshness_target_seconds:
        detail = "It must not be less than freshness_target_seconds."
        faults.append(ThresholdFault("delayed_after_seconds", detail))
    if not is_in_order(policy.delayed_after_seconds, policy.stale_after_seconds):
        detail = "It must be more than delayed_after_seconds."
        faults.append(ThresholdFault("stale_after_seconds", detail))
    return faults + _check_above_zero(policy, ("grace_seconds",))


def check_override(override: PolicyOverride) -> list[ThresholdFault]:
    """Return the limits of a connection or device that are not above 0.

    Their order is not checked: it may depend on limits that are inherited.
    """
    return _check_above_zero(override, OVERRIDABLE)


def is_in_order(delayed: float | None, stale: float | None) -> bool:
    """Return whether a device gets delayed before it gets stale. True if either is inherited."""
    return delayed is None or stale is None or stale > delayed


def _check_above_zero(
    limits: Policy | PolicyOverride, names: tuple[str, ...]
) -> list[ThresholdFault]:
    values = {name: getattr(limits, name) for name in names}
    return [
        ThresholdFault(name, "must be above 0")
        for name, value in values.items()
        if value is not None and not value > 0  # true for NaN too
    ]


def resolve_thresholds(
    workspace: Workspace,
    connection: ProviderConnection,
    device: Device,
    *,
    lives_on_calls: bool = False,
) -> Thresholds:
    """Return the limits for one device, each from the nearest place that sets it.

    The order is device, provider connection, workspace. The limits are at least 1.2 times (delayed)
    and 3 times (stale) the period in which news can come. An expected period that a person stated
    raises the grace as well; one from the vendor's documents does not, nor does it raise a limit
    that a device or connection overrides. Stale is never below delayed: relaxing only the delayed
    limit relaxes both. `source` names the nearest place that supplied any of the three, or what
    made the period if that raised any. `lives_on_calls`: see `period_seconds`.
    """
    near, middle, policy = device.override, connection.override, workspace.policy
    delayed = _nearest(
        near.delayed_after_seconds, middle.delayed_after_seconds, policy.delayed_after_seconds
    )
    stale = _nearest(
        near.stale_after_seconds, middle.stale_after_seconds, policy.stale_after_seconds
    )
    grace = _nearest(near.grace_seconds, middle.grace_seconds, policy.grace_seconds)
    source = (
        "device" if near != NO_OVERRIDE else "provider" if middle != NO_OVERRIDE else "workspace"
    )
    expected = connection.expected_update_seconds
    period = period_seconds(workspace, connection, lives_on_calls=lives_on_calls)
    for_delayed = _period_beside(
        near.delayed_after_seconds, middle.delayed_after_seconds, connection, period
    )
    for_stale = _period_beside(
        near.stale_after_seconds, middle.stale_after_seconds, connection, period
    )
    raises_grace = expected is not None and not connection.period_is_documented
    raised = (
        max(delayed, DELAYED_PERIODS * for_delayed),
        max(stale, STALE_PERIODS * for_stale),
        max(grace, STALE_PERIODS * period) if raises_grace else grace,
    )
    if raised != (delayed, stale, grace):
        source = "poll_interval_seconds" if expected is None else "expected_update_seconds"
    delayed, stale, grace = raised
    return Thresholds(
        policy.freshness_target_seconds,
        delayed,
        max(delayed, stale),
        grace,
        expected,
        source,
        period,
    )


def period_seconds(
    workspace: Workspace, connection: ProviderConnection, *, lives_on_calls: bool = False
) -> float:
    """Return how often news can come: the provider's own period and ours of asking, added up.

    A record may become ready just after a poll, and is then fetched by the next one. A stream is
    polled in effect for a device that lives on its state calls, because its socket is away.
    """
    is_polled = connection.transport == "poll" or (
        connection.transport == "stream" and lives_on_calls
    )
    interval = workspace.poll_interval_seconds if is_polled else 0
    return (connection.expected_update_seconds or 0.0) + interval


def _period_beside(
    near: float | None, middle: float | None, connection: ProviderConnection, period: float
) -> float:
    """Return the period that raises a limit: without the documents' part if that is overridden."""
    is_overridden = near is not None or middle is not None
    if not (connection.period_is_documented and is_overridden):
        return period
    return period - (connection.expected_update_seconds or 0.0)


def _nearest(near: float | None, middle: float | None, far: float) -> float:
    return near if near is not None else middle if middle is not None else far
