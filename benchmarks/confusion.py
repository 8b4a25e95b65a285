"""Verdicts against the truth: a table of whom was blamed for what, and its bounds. Pure.

Owns the counting of late device-seconds, of wrong blame and of restless reasons.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

from benchmarks.truth import DEVICE, NO_CAUSE, PARTIES, Truth

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from benchmarks.truth import Limits

LATE: Final = frozenset({"delayed", "stale", "configured-no-data"})
MIN_SHARE_OF_CAUSE: Final = 0.95
MIN_SHARE: Final = 0.98
MAX_RESTLESS_SHARE: Final = 0.02
MAX_CHANGES: Final = 2
MAX_SHARE_WITHOUT_CAUSE: Final = 0.02
MIN_LATE_SECONDS: Final = (
    60.0  # a share of less says nothing; the overall share has it all the same
)
MAX_SHOWN: Final = 10
MAX_STEP_SECONDS: Final = 5.0  # a longer gap between two samples counts as this much

Device = tuple[str, str]  # workspace, external id


class Sample(NamedTuple):
    """One verdict on one device, at an instant in seconds since the epoch."""

    at: float
    device: Device
    state: str
    reason: str
    party: str
    delayed_seconds: float


class Row(NamedTuple):
    """The late device-seconds of one cause, by the side that the verdicts named."""

    cause: str
    by_party: Mapping[str, float]
    right: float

    @property
    def late(self) -> float:
        return sum(self.by_party.values())

    @property
    def share(self) -> float:
        return self.right / self.late if self.late else 1.0


class Finding(NamedTuple):
    """The result of a run. `misses` has a sentence for each bound that does not hold."""

    rows: Sequence[Row]
    wrong: Sequence[tuple[str, str, str, float]]  # cause, state, reason, seconds
    overall: float
    longest_wrong_blame: float
    restless: Sequence[tuple[Device, int]]
    devices: int
    misses: Sequence[str]


def judge(samples: Iterable[Sample], truths: Mapping[Device, Truth], limits: Limits) -> Finding:
    """Compare all samples with the truth."""
    by_device: dict[Device, list[Sample]] = defaultdict(list)
    for sample in samples:
        by_device[sample.device].append(sample)
    table = _Table()
    blames: list[tuple[float, float, Device]] = []
    restless: list[tuple[Device, int]] = []
    for device, found in by_device.items():
        found.sort()
        truth = truths[device]
        table.add(found, truth)
        blames += [(*blame, device) for blame in _wrong_blames(found, truth, limits)]
        changes = _unexplained_changes(found, truth, limits)
        if changes > MAX_CHANGES:
            restless.append((device, changes))
    rows = table.rows()
    counted = [row for row in rows if row.cause != NO_CAUSE]
    late = sum(row.late for row in counted)
    overall = sum(row.right for row in counted) / late if late else 1.0
    finding = Finding(
        rows,
        table.wrong(),
        overall,
        max((seconds for seconds, _, _ in blames), default=0.0),
        sorted(restless, key=lambda one: -one[1]),
        len(by_device),
        (),
    )
    return finding._replace(misses=[*_misses(finding), *_long_blames(blames)])


class _Table:
    def __init__(self) -> None:
        self._by_party: dict[str, dict[str, float]] = {}
        self._right: dict[str, float] = defaultdict(float)
        self._wrong: dict[tuple[str, str, str], float] = defaultdict(float)

    def add(self, found: Sequence[Sample], truth: Truth) -> None:
        """Count a device's late samples; each stands for the time until the next one."""
        for sample, seconds in zip(found, _lengths(found), strict=True):
            if sample.state not in LATE:
                continue
            cause, parties = truth.expect(sample.at)
            row = self._by_party.setdefault(cause, dict.fromkeys(PARTIES, 0.0))
            row[sample.party] += seconds
            if sample.party in parties:
                self._right[cause] += seconds
            else:
                self._wrong[cause, sample.state, sample.reason] += seconds

    def rows(self) -> list[Row]:
        return [
            Row(cause, by_party, self._right[cause])
            for cause, by_party in sorted(self._by_party.items())
        ]

    def wrong(self) -> list[tuple[str, str, str, float]]:
        """Return what was wrong for longest, first."""
        ordered = sorted(self._wrong.items(), key=lambda item: -item[1])
        return [(*key, seconds) for key, seconds in ordered]


def _lengths(found: Sequence[Sample]) -> list[float]:
    steps = [min(later.at - earlier.at, MAX_STEP_SECONDS) for earlier, later in pairwise(found)]
    return [*steps, steps[-1] if steps else 0.0]


def _wrong_blames(
    found: Sequence[Sample], truth: Truth, limits: Limits
) -> list[tuple[float, float]]:
    """Return (length, bound) of every span in which the device was blamed for others' fault."""
    spans: list[tuple[float, float]] = []
    begin: Sample | None = None
    before: Sample | None = None
    for sample in found:
        is_wrong = (
            sample.state in LATE
            and sample.party == DEVICE
            and DEVICE not in truth.expect(sample.at).parties
        )
        if begin is None and is_wrong:
            begin = sample
        elif begin is not None and before is not None and not is_wrong:
            bound = max(begin.delayed_seconds, limits.due)
            spans.append((before.at - begin.at, bound))
            begin = None
        before = sample
    if begin is not None and before is not None:
        spans.append((before.at - begin.at, max(begin.delayed_seconds, limits.due)))
    return spans


def _unexplained_changes(found: Sequence[Sample], truth: Truth, limits: Limits) -> int:
    """Count the changes of reason that come long after every change of truth."""
    first = found[0].at
    edges = [*truth.edges(), first, first + limits.grace]
    return sum(
        later.reason != earlier.reason
        and not any(edge <= later.at <= edge + limits.settles for edge in edges)
        for earlier, later in pairwise(found)
    )


def _misses(finding: Finding) -> list[str]:
    misses = [
        f"{row.cause}: {row.share:.1%} of {row.late:.0f} late device-seconds blame the right side, "
        f"not {MIN_SHARE_OF_CAUSE:.0%}"
        for row in finding.rows
        if row.cause != NO_CAUSE and row.late >= MIN_LATE_SECONDS and row.share < MIN_SHARE_OF_CAUSE
    ]
    if finding.overall < MIN_SHARE:
        misses.append(f"overall: {finding.overall:.2%}, not {MIN_SHARE:.0%}")
    if len(finding.restless) > MAX_RESTLESS_SHARE * finding.devices:
        misses.append(
            f"{len(finding.restless)} of {finding.devices} devices change their reason without a "
            f"change of truth, more than {MAX_CHANGES} times; "
            f"{MAX_RESTLESS_SHARE:.0%} may"
        )
    late = sum(row.late for row in finding.rows)
    without = sum(row.late for row in finding.rows if row.cause == NO_CAUSE)
    if without > MAX_SHARE_WITHOUT_CAUSE * late:
        misses.append(
            f"{without:.0f} of {late:.0f} late device-seconds have no cause: the machine is too "
            "slow for the run, or data was lost"
        )
    return misses


def _long_blames(blames: Iterable[tuple[float, float, Device]]) -> list[str]:
    """Return a sentence for each device that was blamed for too long, the longest first."""
    longest: dict[Device, tuple[float, float]] = {}
    for seconds, bound, device in sorted(blames):
        if seconds > bound:
            longest[device] = seconds, bound
    found = sorted(longest.items(), key=lambda item: -item[1][0])
    misses = [
        f"{device[0]}/{device[1]} was blamed for {seconds:.0f} s for the fault of another side, "
        f"longer than {bound:.1f} s"
        for device, (seconds, bound) in found[:MAX_SHOWN]
    ]
    if len(found) > MAX_SHOWN:
        misses.append(f"{len(found) - MAX_SHOWN} more devices were blamed for too long")
    return misses


def show(finding: Finding) -> str:
    """Return the confusion table and the bounds as text."""
    lines = [f"{'cause':24}{'late s':>8}" + "".join(f"{p:>10}" for p in PARTIES) + f"{'right':>9}"]
    lines += [
        f"{row.cause:24}{row.late:8.0f}"
        + "".join(f"{row.by_party[party]:10.0f}" for party in PARTIES)
        + f"{row.share:9.1%}"
        for row in finding.rows
    ]
    lines.append(f"overall {finding.overall:.2%} (without '{NO_CAUSE}')")
    lines.append(f"longest wrong blame of a device {finding.longest_wrong_blame:.1f} s")
    lines.append(f"restless devices {len(finding.restless)} of {finding.devices}")
    lines += [
        f"  {device[0]}/{device[1]}: {changes} changes" for device, changes in finding.restless[:5]
    ]
    if finding.wrong:
        lines.append("wrong most often (cause, state, reason, seconds):")
    lines += [
        f"  {cause}: {state} {reason} {seconds:.0f}"
        for cause, state, reason, seconds in finding.wrong[:10]
    ]
    return "\n".join(lines)
