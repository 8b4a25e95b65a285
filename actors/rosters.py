"""When a provider is asked to name every vehicle of the account.

An incremental answer names only vehicles with news. A vehicle that left the account is noticed only
by an answer that names all: a roster answer. Owns when one is asked for, beside the regular run. It
must never ask for more: rosters use up the account's quota, too.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from domain.model import Device

RETRY_SECONDS = 1800.0  # after a roster that was not read to its end


class RosterPolicy(NamedTuple):
    """How old the newest roster answer may be, in seconds. Zero switches an occasion off."""

    max_age_seconds: float = 43_200.0
    max_age_while_silent_seconds: float = 1800.0  # while a device is stale or was never heard


DEFAULT_ROSTERS = RosterPolicy()


class Rosters:
    """The newest roster answer of each connection of a workspace.

    `begun_at` are the stored instants at which the calls of the newest ones were begun.
    """

    def __init__(self, begun_at: Mapping[str, datetime], policy: RosterPolicy) -> None:
        self._policy = policy
        self._begun_at = dict(begun_at)
        self._tried_at: dict[str, datetime] = {}
        self._asked_for: dict[str, frozenset[tuple[str, datetime]]] = {}

    def note_answer(
        self, provider_id: str, begun_at: datetime, devices: Collection[Device]
    ) -> None:
        """Note a roster answer that was asked for these devices."""
        self._begun_at[provider_id] = begun_at
        self._asked_for[provider_id] = _spans(devices)
        self._tried_at.pop(provider_id, None)

    def note_attempt(self, provider_id: str, now: datetime) -> None:
        """Note that a roster is asked for. Without an answer the next attempt waits."""
        self._tried_at[provider_id] = now

    def is_due(
        self, provider_id: str, devices: Collection[Device], now: datetime, *, is_silent: bool
    ) -> bool:
        """Return whether a roster is due: for a new device, by age, or while one is silent."""
        tried_at, begun_at = self._tried_at.get(provider_id), self._begun_at.get(provider_id)
        if not devices or (tried_at is not None and now - tried_at < self._pause):
            return False
        if begun_at is None or self._has_new_device(provider_id, devices, begun_at):
            return True
        if is_silent and self.may_ask_for_silent(provider_id, now):
            return True
        return _is_over(now - begun_at, self._policy.max_age_seconds)

    def may_ask_for_silent(self, provider_id: str, now: datetime) -> bool:
        """Return whether the newest roster is old enough to ask again for a silent device."""
        begun_at = self._begun_at.get(provider_id)
        limit = self._policy.max_age_while_silent_seconds
        return begun_at is not None and _is_over(now - begun_at, limit)

    @property
    def _pause(self) -> timedelta:
        return timedelta(seconds=self._policy.max_age_while_silent_seconds or RETRY_SECONDS)

    def _has_new_device(
        self, provider_id: str, devices: Collection[Device], begun_at: datetime
    ) -> bool:
        asked_for = self._asked_for.get(provider_id)
        if asked_for is not None:
            return not _spans(devices) <= asked_for
        return any(device.activated_at > begun_at for device in devices)


def _spans(devices: Collection[Device]) -> frozenset[tuple[str, datetime]]:
    """Return the present assignments. Each begins with an activation."""
    return frozenset((device.device_id, device.activated_at) for device in devices)


def _is_over(age: timedelta, max_seconds: float) -> bool:
    return max_seconds > 0 and age >= timedelta(seconds=max_seconds)
