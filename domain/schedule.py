"""The schedule: when each workspace's cycle starts, by arithmetic alone (FR-001, FR-002).

Owns phases, slots, jitter and the identity of a cycle. No state and no coordination: every shard, before and after a
restart, computes the same starts from a workspace's stored ordinal and interval.

A workspace's regular starts stand at epoch multiples of its interval plus its phase; its slot runs from one regular
start to the next and is named by the first (`slot_start_at`).

The workspaces of one interval are a series: each holds an ordinal of its own, the lowest free one.
Phases follow the golden ratio over the ordinals, which keeps any number of workspaces almost evenly
apart. Each series is shifted by a share of its own, so that ordinal 0 of many intervals is not one
instant. `starts_bound` says how many starts a second may hold.

Arithmetic is in whole microseconds, so that an instant and its slot agree exactly on every machine.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from domain.model import CycleKey

GOLDEN_RATIO = 0.618033988749895
SERIES_RATIO = 0.41421356  # the square root of 2 over intervals: shifts each series by its own share
LATE_RATIO = 0.4142135623730951  # the square root of 2: also spreads evenly, and independently of the phases
MAX_MARGIN_SECONDS = 0.25
JITTER_SHARE = 0.2  # of the margin
DEADLINE_SHARE = 0.8
COMMIT_SHARE = 0.1
ROOM_SHARE = 0.3
MAX_STARTS_COUNTED = 500_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Start(NamedTuple):
    """When a cycle is to start, and the slot that it is for."""

    slot_start_at: datetime
    start_at: datetime


def margin_seconds(interval: float) -> float:
    """Return what every phase keeps from both ends of the interval.

    A quarter of a second; below an interval of 60 s, the same share of the interval.
    """
    return min(MAX_MARGIN_SECONDS, interval / 240)


def jitter_seconds(interval: float) -> float:
    """Return the bound of the jitter: a fifth of the margin, so at most 50 ms.

    Any second takes its starts from a second of phases and one jitter more. With a jitter of the
    whole margin, three intervals are enough to exceed `starts_bound`.
    """
    return JITTER_SHARE * margin_seconds(interval)


def phase_of(ordinal: int, interval: float) -> float:
    """Return the seconds after each epoch multiple of the interval at which the slots begin."""
    margin = margin_seconds(interval)
    share = _fraction(_spread(ordinal, GOLDEN_RATIO) + _fraction(interval * SERIES_RATIO))
    return margin + share * (interval - 2 * margin)


def slot_of(instant: datetime, ordinal: int, interval: float) -> datetime:
    """slot_start_at of the slot that holds the instant (its first moment belongs to it, its last to the next)."""
    return _slot_start(_slot_number(instant, ordinal, interval), ordinal, interval)


def next_start(after: datetime, workspace_id: str, ordinal: int, interval: float) -> Start:
    """The first regular start strictly after the instant, jitter included.

    Jitter is seeded by workspace and slot and lies in [0, J): never before the slot's own beginning, since slots are
    counted from there and an early start would be booked to the slot before.
    """
    number = _slot_number(after, ordinal, interval)
    start = _regular_start(number, workspace_id, ordinal, interval)
    return start if start.start_at > after else _regular_start(number + 1, workspace_id, ordinal, interval)


def late_start(now: datetime, workspace_id: str, ordinal: int, interval: float) -> Start:
    """When to make up for the present slot after a boot, a takeover, a resume or a creation.

    Spread over the time while there is room in the slot, so that a restart fires nothing all at once: by the square
    root, which makes up for the many whose time is short, so that a second holds about twice the regular starts.
    The spread has a ratio of its own: with the phases' ratio, how long the time is and which share of it to wait would
    go together. When the present slot's regular start is still to come, that one is the answer. When there is no room
    left (`leaves_room`), what is spread over the rest of the slot is only the record of having missed it.
    """
    coming = next_start(now, workspace_id, ordinal, interval)
    present = slot_of(now, ordinal, interval)
    if coming.slot_start_at == present:
        return coming
    left = coming.slot_start_at - now
    room = left - timedelta(seconds=interval * ROOM_SHARE)
    return Start(present, now + math.sqrt(_spread(ordinal, LATE_RATIO)) * (room if room > timedelta(0) else left))


def leaves_room(start: Start, interval: float) -> bool:
    """Whether at least 30% of the slot is left at the start; a slot without is recorded as missed instead."""
    left = start.slot_start_at + timedelta(seconds=interval) - start.start_at
    return left >= timedelta(seconds=interval * ROOM_SHARE)


def cycle_deadline(start: Start, interval: float) -> datetime:
    """When fetching must end: 80% of the interval after the start, and in time for the commits to end before the
    workspace's next slot. Whoever overran that would be late there as well, and so on in every slot.
    """
    commits_at = start.slot_start_at + timedelta(seconds=interval * (1 - COMMIT_SHARE))
    return min(start.start_at + timedelta(seconds=interval * DEADLINE_SHARE), commits_at)


def missed_slots(since: datetime, now: datetime, ordinal: int, interval: float, limit: int) -> list[datetime]:
    """Slots after the one recorded last (`since`) that are over at `now`, oldest first; of too many the newest."""
    first = _slot_number(since, ordinal, interval) + 1
    present = _slot_number(now, ordinal, interval)
    return [_slot_start(number, ordinal, interval) for number in range(max(first, present - limit), present)]


def lowest_free(taken: Iterable[int]) -> int:
    """Return the lowest ordinal that is not taken. `taken` are those of the same interval."""
    held = set(taken)
    return next(ordinal for ordinal in range(len(held) + 1) if ordinal not in held)


def starts_bound(highest_ordinals: Mapping[int, int]) -> float:
    """Return how many regular starts of all workspaces together any one second may hold.

    `highest_ordinals`: interval in use -> the highest ordinal in use there. docs/decisions/0017
    says for which fleets this is proven: up to three intervals of any length, and any number of
    intervals that divide an hour.
    """
    if not highest_ordinals:
        return 0.0
    load = sum(1.3 * (highest + 1) / interval for interval, highest in highest_ordinals.items())
    return load + 3 + (len(highest_ordinals) - 1)


def worst_second(ordinals: Iterable[int], interval: int) -> int:
    """Return the most regular starts of one series that a second can hold, whatever the jitter."""
    window = min(1 + jitter_seconds(interval), interval)
    return _fullest_window([phase_of(ordinal, interval) for ordinal in ordinals], window, interval)


def worst_second_of_all(series: Mapping[int, Collection[int]]) -> int:
    """Return the most regular starts of all series together that a second can hold, at any time.

    `series`: interval -> ordinals in use. Counted over the period after which all starts repeat.
    Where that is too long to count, the answer is the sum of each series' worst second, which is
    never too low.
    """
    period = math.lcm(*series)
    repeats = (period // interval * len(ordinals) for interval, ordinals in series.items())
    if sum(repeats) > MAX_STARTS_COUNTED:
        return sum(worst_second(ordinals, interval) for interval, ordinals in series.items())
    starts = [
        phase_of(ordinal, interval) + first
        for interval, ordinals in series.items()
        for ordinal in ordinals
        for first in range(0, period, interval)
    ]
    window = min(1 + max(map(jitter_seconds, series), default=0), period)
    return _fullest_window(starts, window, period)


def cycle_id(key: CycleKey) -> str:
    """Readable, safe in a URL, and the same wherever it is made: slot, trigger, attempt and a hash of all four."""
    slot = key.slot_start_at.astimezone(UTC)
    parts = (key.workspace_id, slot.isoformat(), key.trigger.value, str(key.attempt))
    return f"{slot:%Y%m%dT%H%M%SZ}-{key.trigger.value}-{key.attempt}-{_digest(parts, size=4).hex()}"


def _spread(ordinal: int, ratio: float) -> float:
    """frac(ordinal x ratio): multiples of such a ratio fall evenly into [0, 1), however many there are."""
    return _fraction(ordinal * ratio)


def _fullest_window(instants: Sequence[float], window: float, period: int) -> int:
    """Return the most instants in any window around the period, the window's end left out."""
    ordered = sorted(instants)
    around = ordered + [instant + period for instant in ordered]
    counts = (bisect_left(around, instant + window) - at for at, instant in enumerate(ordered))
    return max(counts, default=0)


def _fraction(number: float) -> float:
    return math.modf(number)[0]


def _slot_number(instant: datetime, ordinal: int, interval: float) -> int:
    elapsed = (instant - _EPOCH) // _MICROSECOND
    return (elapsed - _microseconds(phase_of(ordinal, interval))) // _microseconds(interval)


def _slot_start(number: int, ordinal: int, interval: float) -> datetime:
    offset = number * _microseconds(interval) + _microseconds(phase_of(ordinal, interval))
    return _EPOCH + timedelta(microseconds=offset)


def _regular_start(number: int, workspace_id: str, ordinal: int, interval: float) -> Start:
    slot_start_at = _slot_start(number, ordinal, interval)
    share = int.from_bytes(_digest((workspace_id, slot_start_at.isoformat()), size=4), "big") / 2**32
    return Start(slot_start_at, slot_start_at + timedelta(microseconds=int(share * jitter_seconds(interval) * 1e6)))


def _digest(parts: tuple[str, ...], *, size: int) -> bytes:
    """Not hash(): that one differs from process to process. Lengths keep ('a', 'bc') apart from ('ab', 'c')."""
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).digest()


def _microseconds(seconds: float) -> int:
    return round(seconds * 1_000_000)
