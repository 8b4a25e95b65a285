"""Indicators of a workspace: what is counted, how counts are added up, and what is told from them.

Everything that is counted over a span of time is a bag of whole numbers by name (`Counts`), such as
{"cycle completed": 12, "lag received_committed 45": 3}. Bags of neighbouring spans are added up, so
an hour that was counted in advance and one that is counted now give the same answer. Durations are
counted in fixed buckets for the same reason. Pure: reads no clock, does no I/O.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from datetime import datetime, timedelta
from math import ceil
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from domain.cycles import CycleTrigger

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

Counts = Counter[str]

HOUR: Final = timedelta(hours=1)
SLO_SHARE: Final = 0.95  # NFR-001: of the active devices, with an age within the target
BURN_WINDOWS_SECONDS: Final = (3600, 21_600, 259_200)  # 1 h, 6 h, 3 d
SHARES: Final = (0.5, 0.9, 0.95, 0.99)

# The limits of the buckets in seconds: the E24 series of preferred numbers (IEC 60063), from one
# millisecond to 105 days. Neighbours differ by at most 16%. 300, 360 and 3600 s are limits.
_E24: Final = (10, 11, 12, 13, 15, 16, 18, 20, 22, 24, 27, 30, 33, 36, 39, 43, 47, 51, 56, 62, 68)
_E24_END: Final = (75, 82, 91)
BOUNDS: Final = tuple(
    float(f"{mantissa}e{exponent}") for exponent in range(-4, 6) for mantissa in (*_E24, *_E24_END)
)

CYCLE, DURATION, LAG, REFUSED = "cycle", "duration", "lag", "refused"
SLOTS, GOOD_SLOTS = "slots", "good_slots"
SAMPLES, ACTIVE, FRESH, UPDATED = "samples", "active", "fresh", "updated"
DUPLICATES, RECORDS, RECORD_UPDATES = "duplicates", "records", "record_updates"
FRAMES, FRAME_UPDATES = "frames", "frame_updates"
STREAM_OPEN, STREAM_KNOWN = "stream_open_ms", "stream_known_ms"

# The stages of an accepted update. Those with the provider's reception are counted only where the
# provider states one.
LAG_STAGES: Final = (
    "observed_provider_received",
    "provider_received_received",
    "observed_received",
    "received_committed",
    "observed_committed",
)
_ALL: Final = LAG_STAGES[-1]
_WITH_A_DURATION: Final = frozenset({"completed", "partial", "failed", "timed_out"})
_NOT_OVER: Final = frozenset({"requested", "running"})
_NONE: Final = "-"


class HourPart(NamedTuple):
    """From `begins_at` on, until before `ends_at`, within one hour of UTC."""

    begins_at: datetime
    ends_at: datetime

    @property
    def hour(self) -> datetime:
        return floor_to_hour(self.begins_at)

    @property
    def is_whole(self) -> bool:
        return self.hour == self.begins_at and self.ends_at - self.begins_at == HOUR


class CycleFacts(NamedTuple):
    """What a poll cycle's record says. The devices were counted when the cycle ended."""

    slot_start_at: datetime
    trigger: str
    outcome: str
    started_at: datetime | None
    ended_at: datetime | None
    active_devices: int | None
    fresh_devices: int | None
    updated_devices: int | None
    summary: Mapping[str, Any]


class StreamEdge(NamedTuple):
    """A stream was opened, or it was closed or lost."""

    provider_id: str
    at: datetime
    is_open: bool


class DeviceCounts(NamedTuple):
    """The active devices of a workspace at one instant.

    `fresh`: with an age within the target. `updated`: with news in the cycle, or over a stream or a
    push connection within one interval.
    """

    active: int
    fresh: int
    updated: int


NoCounts = tuple[None, None, None]
NO_COUNTS: Final[NoCounts] = (None, None, None)


class Refused(NamedTuple):
    """How many updates (or readings, if there is a signal) were refused for one reason."""

    outcome: str
    reason: str | None
    signal: str | None
    occurrences: int


# --- time


def floor_to_hour(instant: datetime) -> datetime:
    return instant.replace(minute=0, second=0, microsecond=0)


def split_by_hours(begins_at: datetime, ends_at: datetime) -> list[HourPart]:
    """Return the spans of time, in order; only the first and the last may be less than an hour."""
    spans = []
    while begins_at < ends_at:
        end = min(floor_to_hour(begins_at) + HOUR, ends_at)
        spans.append(HourPart(begins_at, end))
        begins_at = end
    return spans


# --- counting


def bucket_of(seconds: float) -> int:
    """Return how many bounds are at or below; `width_bucket` of PostgreSQL returns the same."""
    return bisect_right(BOUNDS, seconds)


def count_cycles(cycles: Iterable[CycleFacts]) -> Counts:
    """Count cycles that are over: outcomes, slots, durations, devices at their ends, and updates.

    A slot of the schedule is good if one of its attempts was completed. A slot in which there was
    nothing to collect is none.
    """
    counts: Counts = Counter()
    outcomes: dict[datetime, set[str]] = {}
    for cycle in cycles:
        if cycle.outcome in _NOT_OVER:
            continue
        counts[f"{CYCLE} {cycle.outcome}"] += 1
        if cycle.trigger != CycleTrigger.MANUAL and cycle.outcome != "skipped":
            outcomes.setdefault(cycle.slot_start_at, set()).add(cycle.outcome)
        if cycle.outcome in _WITH_A_DURATION and cycle.started_at and cycle.ended_at:
            seconds = (cycle.ended_at - cycle.started_at).total_seconds()
            counts[f"{DURATION} {bucket_of(seconds)}"] += 1
        counts.update(_count_devices(cycle))
        counts.update(_count_summary(cycle.summary))
    counts[SLOTS] = len(outcomes)
    counts[GOOD_SLOTS] = sum("completed" in found for found in outcomes.values())
    return counts


def count_at_end(
    slot_start_at: datetime, at: datetime, active: int, fresh: int, updated: int
) -> DeviceCounts | NoCounts:
    """Return the counts for the record of a cycle that another session ends at this instant.

    None of them if that is more than an hour after the slot began: no cycle takes so long, and the
    devices were not counted in its time.
    """
    return NO_COUNTS if at - slot_start_at > HOUR else DeviceCounts(active, fresh, updated)


def _count_devices(cycle: CycleFacts) -> dict[str, int]:
    if cycle.active_devices is None:
        return {}
    return {
        SAMPLES: 1,
        ACTIVE: cycle.active_devices,
        FRESH: cycle.fresh_devices or 0,
        UPDATED: cycle.updated_devices or 0,
    }


def _count_summary(summary: Mapping[str, Any]) -> dict[str, int]:
    """Return what a cycle collected, and what streams took in since the cycle before it."""
    outcomes, streams = summary.get("outcomes", {}), summary.get("streams", {})
    return {
        DUPLICATES: outcomes.get("duplicate", 0),
        RECORDS: summary.get("records", 0),
        RECORD_UPDATES: summary.get("updates", 0),
        FRAMES: streams.get("frames", 0),
        FRAME_UPDATES: streams.get("updates", 0),
    }


def count_stream(edges: Sequence[StreamEdge], span: HourPart) -> Counts:
    """Count the milliseconds for which each stream was open in the span, and those that are known.

    `edges` are those of all streams in order of time, with each stream's last one before the span.
    Before its first edge nothing is known of a stream.
    """
    counts: Counts = Counter()
    by_provider: dict[str, list[StreamEdge]] = {}
    for edge in edges:
        by_provider.setdefault(edge.provider_id, []).append(edge)
    for provider_id, own in by_provider.items():
        ends = [edge.at for edge in own[1:]] + [span.ends_at]
        for edge, end in zip(own, ends, strict=True):
            held = min(end, span.ends_at) - max(edge.at, span.begins_at)
            milliseconds = max(0, round(held / timedelta(milliseconds=1)))
            counts[f"{STREAM_KNOWN} {provider_id}"] += milliseconds
            counts[f"{STREAM_OPEN} {provider_id}"] += milliseconds if edge.is_open else 0
    return counts


def count_refused(refused: Refused) -> Counts:
    name = f"{refused.outcome} {refused.reason or _NONE} {refused.signal or _NONE}"
    return Counter({f"{REFUSED} {name}": refused.occurrences})


def count_lag(stage: str, bucket: int, events: int) -> Counts:
    """Count accepted updates whose lag of this stage lies in the bucket."""
    return Counter({f"{LAG} {stage} {bucket}": events})


# --- what is told from counts


def find_share(part: int, whole: int) -> float | None:
    """Return part / whole to six digits; None if there is nothing to share."""
    return round(part / whole, 6) if whole else None


def find_burn_rate(fresh: int, active: int) -> float | None:
    """Return how fast the error budget of the SLO is spent: 1 is just as fast as is allowed.

    None if no device was counted.
    """
    return round((1 - fresh / active) / (1 - SLO_SHARE), 3) if active else None


def find_percentile(buckets: Mapping[int, int], share: float) -> float | None:
    """Return the upper limit of the bucket in which the percentile lies; None if all are empty."""
    rank, seen = ceil(round(share * sum(buckets.values()), 9)), 0
    for bucket in sorted(buckets):
        seen += buckets[bucket]
        if seen >= rank > 0:
            return BOUNDS[min(bucket, len(BOUNDS) - 1)]
    return None


def pick(counts: Counts, *prefix: str) -> dict[str, int]:
    """Return the counts whose names begin with these words, by the rest of the name."""
    begin = " ".join(prefix) + " "
    return {name.removeprefix(begin): n for name, n in counts.items() if name.startswith(begin)}


def pick_buckets(counts: Counts, *prefix: str) -> dict[int, int]:
    return {int(bucket): n for bucket, n in pick(counts, *prefix).items()}


def count_accepted(counts: Counts) -> int:
    """Return how many updates were accepted: each has one lag from observation to commit."""
    return sum(pick(counts, LAG, _ALL).values())


def list_refused(counts: Counts) -> Iterator[Refused]:
    """Yield what was refused, most first, then by name."""
    found = pick(counts, REFUSED)
    for name in sorted(found, key=lambda name: (-found[name], name)):
        outcome, reason, signal = (None if part == _NONE else part for part in name.split(" ", 2))
        yield Refused(outcome or "", reason, signal, found[name])
