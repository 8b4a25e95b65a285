"""The truth about each device of a run, and so which sides may be blamed at an instant.

Pure. The simulator tells its episodes, the run adds those of our own side. Two allowances follow
from the rule itself (docs/health.md): a cause that has just begun cannot be known at once, and a
device stays late for a moment after its cause has ended.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

OURS, PROVIDER, CUSTOMER, DEVICE, UNKNOWN, NONE = PARTIES = (
    "ours",
    "provider",
    "customer",
    "device",
    "unknown",
    "none",
)
NO_CAUSE: Final = "no cause"


class Limits(NamedTuple):
    """The thresholds of a run, in seconds."""

    delayed: float = 6.0
    stale: float = 15.0
    grace: float = 60.0
    interval: float = 3.0
    roster: float = 6.0  # how often every vehicle of an account is asked for while one is stale
    backlog: float = 30.0

    @property
    def due(self) -> float:
        return 2.2 * self.interval

    @property
    def overdue(self) -> float:
        """How long after its last start a cycle is overdue."""
        return 1.2 * self.interval + 5.0

    @property
    def tail(self) -> float:
        """How long a device may stay late after its cause: until it was asked for and answered."""
        return self.due + 2 * self.interval

    @property
    def settles(self) -> float:
        """How long after a change of truth a reason may still change."""
        return self.stale + self.due + self.tail


class Cause(NamedTuple):
    """What is wrong with a device from `since` to `until` (None: for good).

    `is_shared`: the device's account or our own side has it, not the device alone. `also` are sides
    that may be named as well for the first `also_seconds`, because the rule cannot know better.
    `after` are those that may be named for a moment after the end.
    """

    name: str
    party: str
    since: float
    until: float | None
    is_shared: bool
    stops_data: bool = True
    also: frozenset[str] = frozenset()
    also_seconds: float = 0.0
    after: frozenset[str] = frozenset({UNKNOWN})

    def is_active(self, at: float, tail: float = 0.0) -> bool:
        return self.since <= at and (self.until is None or at < self.until + tail)


class Expectation(NamedTuple):
    """The row of the table to which a late device belongs, and the sides that may be named."""

    cause: str
    parties: frozenset[str]


class Truth:
    """The causes of one device."""

    def __init__(self, causes: Iterable[Cause], limits: Limits) -> None:
        self._causes = sorted(causes, key=lambda cause: cause.since)
        self._limits = limits

    def expect(self, at: float) -> Expectation:
        """Return what a verdict that says *late* must say at this instant.

        With a cause of the device's own and a shared one, either may be named: both are true. A
        device that is late although data comes from it may be late because of us.
        """
        tail = self._limits.tail
        active = [cause for cause in self._causes if cause.is_active(at, tail)]
        stopping = [cause for cause in active if cause.stops_data]
        causes = stopping or active
        if not causes:
            return Expectation(NO_CAUSE, frozenset({OURS, UNKNOWN}))
        own = [cause for cause in causes if not cause.is_shared]
        parties: set[str] = set() if stopping else {OURS, UNKNOWN}
        for cause in causes:
            parties.add(cause.party)
            if at < cause.since + cause.also_seconds:
                parties |= cause.also
            if not cause.is_active(at):
                parties |= cause.after
        return Expectation((own or causes)[-1].name, frozenset(parties))

    def edges(self) -> list[float]:
        """Return the instants at which the truth changes."""
        ends = [cause.until for cause in self._causes if cause.until is not None]
        return sorted([cause.since for cause in self._causes] + ends)


def read_story(
    episodes: Sequence[Mapping[str, object]], limits: Limits
) -> dict[str | None, list[Cause]]:
    """Return the simulator's episodes of one account by vehicle; None is the whole account."""
    causes: dict[str | None, list[Cause]] = {}
    for episode in episodes:
        vehicle = episode["vehicle_id"]
        name = str(episode["cause"])
        until = episode["until"]
        cause = Cause(
            name,
            str(episode["party"]),
            float(str(episode["since"])),
            None if until is None else float(str(until)),
            is_shared=vehicle is None,
            stops_data=bool(episode["stops_data"]),
        )
        also, also_seconds = _cannot_be_known(name, limits)
        cause = cause._replace(also=also, also_seconds=also_seconds)
        causes.setdefault(None if vehicle is None else str(vehicle), []).append(cause)
    return causes


def _cannot_be_known(name: str, limits: Limits) -> tuple[frozenset[str], float]:
    """Return the sides that may be named as well for a vehicle's own cause, and for how long.

    A vehicle that left its account is like a silent one until the next roster. One that never
    reported is in no answer of latest statuses, like one that is not in the account. A sender is
    silent once it has sent nothing for the stale threshold, and a cause of that length is unknown.
    """
    if name == "sender_silent":
        return frozenset({UNKNOWN}), limits.stale + limits.interval
    if name == "left_out":
        return frozenset({DEVICE, UNKNOWN}), limits.stale + limits.roster + limits.due
    if name == "never":
        return frozenset({CUSTOMER}), inf
    return frozenset(), 0.0
