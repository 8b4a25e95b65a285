"""Parity: whether core and the legacy system say the same about a device.

Owns the comparison of one device and the counts of a cycle. Pure. Both sides are given as
`DeviceView`: what a system shows of one device at one moment.

A value is called different only where that is certain. Both systems see a moving vehicle at
different moments, so two unequal values prove nothing by themselves. They are compared if core is
known to have shown one value at the very time for which the legacy system states its own: it was
observed by then, and did not change since.
"""

from __future__ import annotations

import math
from collections import Counter
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from domain.model import Value

TIME_TOLERANCE_SECONDS: Final = 60.0
POSITION_TOLERANCE_METRES: Final = 50.0
TOLERANCES: Final[Mapping[str, float]] = {"soc_percent": 1.0, "odometer_km": 1.0}
# Of any other number: systems round to whole units, or to three digits.
OTHER_TOLERANCE: Final = 0.5
OTHER_TOLERANCE_SHARE: Final = 0.01
FULL_CIRCLE_DEGREES: Final = 360.0
HEADING: Final = "heading_deg"
TIMES: Final = frozenset({"charging_complete_at"})  # signals whose value is a time
RECEIPT_INTERVALS: Final = 2
MAX_SAMPLES: Final = 20
EARTH_RADIUS_METRES: Final = 6_371_008.8


class ParityVerdict(StrEnum):
    """What the comparison of one device said. All but `equal` and `incomparable` are mismatches."""

    EQUAL = "equal"
    MISSING_HERE = "missing_here"
    MISSING_THERE = "missing_there"
    OLDER = "older"
    DIFFERENT = "different"
    INCOMPARABLE = "incomparable"


MISMATCHES: Final = (
    ParityVerdict.MISSING_HERE,
    ParityVerdict.MISSING_THERE,
    ParityVerdict.OLDER,
    ParityVerdict.DIFFERENT,
)


class ShownValue(NamedTuple):
    """One value as a system shows it.

    `observed_at` is None if the system does not say it. `unchanged_since` is when it was first
    observed with this value, if that is known.
    """

    value: Value
    observed_at: datetime | None
    unchanged_since: datetime | None = None


class DeviceView(NamedTuple):
    """What a system shows of one device. `is_readable` is false if its answer could not be read."""

    values: Mapping[str, ShownValue]  # by signal; a position is one signal
    received_at: datetime | None  # last update received, None if it was never heard
    is_readable: bool = True

    @property
    def observed_at(self) -> datetime | None:
        """Return the newest time of observation, None if no value has one."""
        times = [one.observed_at for one in self.values.values() if one.observed_at is not None]
        return max(times, default=None)


class ParityFinding(NamedTuple):
    """The verdict on one device; what it rests on, for a person to look at."""

    verdict: ParityVerdict
    signal: str | None = None
    core: str | None = None
    legacy: str | None = None


class ParityCounts(NamedTuple):
    """How many devices of one cycle, or of several, got each verdict."""

    devices: int
    by_verdict: Mapping[ParityVerdict, int]

    @property
    def comparable(self) -> int:
        return self.devices - self.by_verdict.get(ParityVerdict.INCOMPARABLE, 0)

    @property
    def mismatched(self) -> int:
        return sum(self.by_verdict.get(verdict, 0) for verdict in MISMATCHES)

    @property
    def comparable_share(self) -> float:
        """Return the share of the devices that could be compared; 0 if there is no device."""
        return self.comparable / self.devices if self.devices else 0.0

    @property
    def mismatch_share(self) -> float | None:
        """Return the share of the comparable devices that mismatch; None if there is none."""
        return self.mismatched / self.comparable if self.comparable else None


def compare(core: DeviceView | None, legacy: DeviceView | None, interval: float) -> ParityFinding:
    """Return the verdict on one device. None stands for a system that does not know the device.

    `interval` is the workspace's poll interval in seconds. Two systems that both never heard the
    device agree. Two that show no signal in common cannot be compared.
    """
    if (core is not None and not core.is_readable) or (
        legacy is not None and not legacy.is_readable
    ):
        return ParityFinding(ParityVerdict.INCOMPARABLE)
    core_heard = core is not None and core.received_at is not None
    legacy_heard = legacy is not None and legacy.received_at is not None
    if core is None or legacy is None or not (core_heard and legacy_heard):
        return _compare_presence(core, legacy, core_heard=core_heard, legacy_heard=legacy_heard)
    if (older := _compare_age(core, legacy, interval)) is not None:
        return older
    shared = sorted(core.values.keys() & legacy.values.keys())
    if not shared:
        return ParityFinding(ParityVerdict.INCOMPARABLE)
    found = [_compare_value(signal, core, legacy, interval) for signal in shared]
    different = next((one for one in found if one and one.verdict is ParityVerdict.DIFFERENT), None)
    return different or ParityFinding(ParityVerdict.EQUAL)


def count(comparisons: Iterable[ParityFinding]) -> ParityCounts:
    """Return the counts of one cycle."""
    by_verdict = Counter(one.verdict for one in comparisons)
    return ParityCounts(by_verdict.total(), by_verdict)


def pool(cycles: Iterable[ParityCounts]) -> ParityCounts:
    """Return the counts of several cycles together."""
    devices, by_verdict = 0, Counter[ParityVerdict]()
    for counts in cycles:
        devices += counts.devices
        by_verdict.update(counts.by_verdict)
    return ParityCounts(devices, by_verdict)


def _compare_presence(
    core: DeviceView | None, legacy: DeviceView | None, *, core_heard: bool, legacy_heard: bool
) -> ParityFinding:
    if core is None or (legacy_heard and not core_heard):
        return ParityFinding(ParityVerdict.MISSING_HERE)
    if legacy is None or core_heard:
        return ParityFinding(ParityVerdict.MISSING_THERE)
    return ParityFinding(ParityVerdict.EQUAL)


def _compare_age(core: DeviceView, legacy: DeviceView, interval: float) -> ParityFinding | None:
    """Return `older` if core lags behind by more than an interval and the tolerance.

    Times of observation are compared if both state them, and receipts otherwise.
    """
    ours, theirs = core.observed_at, legacy.observed_at
    if ours is None or theirs is None:
        ours, theirs = core.received_at, legacy.received_at
    if ours is None or theirs is None:
        return None
    if (theirs - ours).total_seconds() <= interval + TIME_TOLERANCE_SECONDS:
        return None
    return ParityFinding(ParityVerdict.OLDER, core=ours.isoformat(), legacy=theirs.isoformat())


def _compare_value(
    signal: str, core: DeviceView, legacy: DeviceView, interval: float
) -> ParityFinding | None:
    """Return equal or different; None if the two values cannot be compared."""
    ours, theirs = core.values[signal], legacy.values[signal]
    at = theirs.observed_at
    if at is None:
        at = legacy.received_at
        apart = _seconds_between(core.received_at, legacy.received_at)
        if apart is None or apart > RECEIPT_INTERVALS * interval:
            return None
    if at is None or not _held_at(ours, at):
        return None
    is_equal = within_tolerance(signal, ours.value, theirs.value)
    if is_equal is None:
        return None
    verdict = ParityVerdict.EQUAL if is_equal else ParityVerdict.DIFFERENT
    return ParityFinding(verdict, signal, str(ours.value), str(theirs.value))


def _held_at(shown: ShownValue, at: datetime) -> bool:
    """Return whether the value is known to have been this one at the instant.

    Systems cut off fractions of a second. So if one of the two times has none, both are compared
    in whole seconds, and in milliseconds otherwise.
    """
    observed_at = shown.observed_at
    if observed_at is None:
        return False
    cut = _cut_to_milliseconds if at.microsecond and observed_at.microsecond else _cut_to_seconds
    return cut(shown.unchanged_since or observed_at) <= cut(at) <= cut(observed_at)


def _cut_to_seconds(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)


def _cut_to_milliseconds(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1_000 * 1_000)


def within_tolerance(signal: str, ours: Value, theirs: Value) -> bool | None:
    """Return whether two values of one signal are equal enough; None if their types differ."""
    if isinstance(ours, tuple) and isinstance(theirs, tuple):
        return metres_between(ours, theirs) <= POSITION_TOLERANCE_METRES
    if isinstance(ours, bool) or isinstance(theirs, bool):
        return ours == theirs if isinstance(ours, bool) and isinstance(theirs, bool) else None
    if isinstance(ours, int | float) and isinstance(theirs, int | float):
        return _numbers_agree(signal, ours, theirs)
    if isinstance(ours, str) and isinstance(theirs, str):
        return ours == theirs or _times_agree(signal, ours, theirs)
    return None


def _numbers_agree(signal: str, ours: float, theirs: float) -> bool:
    apart = abs(ours - theirs)
    if signal == HEADING:
        apart = min(apart, FULL_CIRCLE_DEGREES - apart)
    if (tolerance := TOLERANCES.get(signal)) is not None:
        return apart <= tolerance
    return apart <= max(OTHER_TOLERANCE, OTHER_TOLERANCE_SHARE * max(abs(ours), abs(theirs)))


def _times_agree(signal: str, ours: str, theirs: str) -> bool:
    if signal not in TIMES:
        return False
    try:
        apart = datetime.fromisoformat(ours) - datetime.fromisoformat(theirs)
    except (TypeError, ValueError):  # no time, or one without a zone beside one with it
        return False
    return abs(apart.total_seconds()) <= TIME_TOLERANCE_SECONDS


def metres_between(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Return the distance of two positions in degrees over a sphere, in metres (haversine)."""
    (lat_a, lon_a), (lat_b, lon_b) = (tuple(map(math.radians, pair)) for pair in (one, other))
    half = (
        math.sin((lat_b - lat_a) / 2) ** 2
        + math.cos(lat_a) * math.cos(lat_b) * math.sin((lon_b - lon_a) / 2) ** 2
    )
    return 2 * EARTH_RADIUS_METRES * math.asin(min(1.0, math.sqrt(half)))


def _seconds_between(one: datetime | None, other: datetime | None) -> float | None:
    return None if one is None or other is None else abs((one - other).total_seconds())
