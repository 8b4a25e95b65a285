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


def age_signals(
    document: Mapping[str, Held],
    workspace: Workspace,
    thresholds: Thresholds,
    now: datetime,
) -> tuple[SignalAge, ...]:
    """Return each value with its own age, in name order. A value at its limit is current.

    The age counts from the earlier of the stated time and the arrival.
    """
    scale = min(1.0, workspace.policy.stale_after_seconds / DEFAULT_STALE_AFTER_SECONDS)
    ages = []
    moment = to_micros(now)
    for signal, held in sorted(document.items()):
        age = max(0, moment - held.observed) / 1e6
        mark: Mark = "old" if age > _old_after(signal, scale, thresholds) else "current"
        if _has_ended(signal, held, document):
            mark = "ended"
        ages.append(SignalAge(signal, held, age, mark))
    return tuple(ages)


def find_silent_signals(ages: tuple[SignalAge, ...]) -> tuple[str, ...]:
    """Return the periodic signals whose values are old. Others may stop for a good reason."""
    return tuple(
        item.signal for item in ages if item.mark == "old" and _condition_of(item.signal) is None
    )


def _condition_of(signal: str) -> str | None:
    """Return the signal while which this one is sent; None if it is sent periodically."""
    entry = CATALOGUE.get(signal)
    return None if entry is None else entry.while_signal


def _has_ended(signal: str, held: Held, document: Mapping[str, Held]) -> bool:
    """Return whether the vehicle has said since that the signal's condition is over."""
    condition = document.get(_condition_of(signal) or "")
    return condition is not None and condition.value is False and condition.stated >= held.stated


def _old_after(signal: str, scale: float, thresholds: Thresholds) -> float:
    """Return the age in seconds above which a value is old.

    The catalogue's age is shortened in proportion if the workspace's stale threshold is below the
    default (so that a demonstration can show it). The result is at least three periods in which
    news can come, and at least the device's delayed threshold: a value must not be old while the
    device is on time.
    """
    entry = CATALOGUE.get(signal)
    base = (entry.old_after_seconds if entry else UNCATALOGUED_OLD_AFTER_SECONDS) * scale
    return max(base, STALE_PERIODS * thresholds.period_seconds, thresholds.delayed_after_seconds)
