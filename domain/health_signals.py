"""The age of each value, and whether it is current, old or ended. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from domain.held import to_micros
from domain.signals import CATALOGUE
from domain.thresholds import DEFAULT_STALE_AFTER_SECONDS, STALE_PERIODS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from domain.held import Held
    from domain.model import Workspace
    from domain.thresholds import Thresholds

UNCATALOGUED_OLD_AFTER_SECONDS: Final = 3600.0

Mark = Literal["current", "old", "ended"]


class SignalAge(NamedTuple):
    """One stored value with its age and its mark.

    `old` is a value that is too old to go by. `ended` is one that was sent only while another
    signal said so, and that signal has said since that this is over.
    """

    signal: str
    held: Held
    age_seconds: float
    mark: Mark


class SignalRule(NamedTuple):
    """The age above which a signal's value is old, in microseconds.

    `condition` is the signal while which this one is sent; None if it is sent periodically.
    """

    old_after: float
    condition: str | None


class SignalRules(dict[str, SignalRule]):
    """The rule of each signal under some thresholds, made when it is first asked for."""

    def __init__(self, workspace: Workspace, thresholds: Thresholds) -> None:
        stale = workspace.policy.stale_after_seconds
        self._scale = min(1.0, stale / DEFAULT_STALE_AFTER_SECONDS)
        self._least = max(
            STALE_PERIODS * thresholds.period_seconds, thresholds.delayed_after_seconds
        )

    def __missing__(self, signal: str) -> SignalRule:
        """Make the rule of one signal.

        The catalogue's age is shortened in proportion if the workspace's stale threshold is below
        the default (so that a demonstration can show it). The result is at least three periods in
        which news can come, and at least the device's delayed threshold: a value must not be old
        while the device is on time.
        """
        entry = CATALOGUE.get(signal)
        base = entry.old_after_seconds if entry else UNCATALOGUED_OLD_AFTER_SECONDS
        old_after = 1e6 * max(base * self._scale, self._least)
        rule = SignalRule(old_after, entry.while_signal if entry else None)
        self[signal] = rule
        return rule


def age_signals(
    document: Mapping[str, Held], rules: SignalRules, now: datetime
) -> tuple[SignalAge, ...]:
    """Return each value with its own age, in name order. A value at its limit is current.

    The age counts from the earlier of the stated time and the arrival.
    """
    ages = []
    moment = to_micros(now)
    for signal, held in sorted(document.items()):
        age = max(0, moment - held.observed)
        old_after, condition = rules[signal]
        mark: Mark = "old" if age > old_after else "current"
        if condition is not None and has_ended(held, document.get(condition)):
            mark = "ended"
        ages.append(SignalAge(signal, held, age / 1e6, mark))
    return tuple(ages)


def find_silent_signals(
    document: Mapping[str, Held], rules: SignalRules, now: datetime
) -> tuple[str, ...]:
    """Return the periodic signals whose values are old, in name order.

    Other signals may stop for a good reason.
    """
    moment = to_micros(now)
    found = []
    for signal, held in document.items():
        old_after, condition = rules[signal]
        if condition is None and moment - held.observed > old_after:
            found.append(signal)
    return tuple(sorted(found))


def has_ended(held: Held, condition: Held | None) -> bool:
    """Return whether the vehicle has said since that the signal's condition is over."""
    return condition is not None and condition.value is False and condition.stated >= held.stated
