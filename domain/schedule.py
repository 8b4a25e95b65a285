"""The schedule: compute when each workspace's cycle starts (FR-001, FR-002).

This module owns phases, slots, jitter and the identity of a cycle. It needs no state and no
coordination: every shard, before and after a restart, computes the same starts from a workspace's
stored place: its ordinal, its interval and, if it has one, its explicit offset.

A workspace's regular starts are at epoch multiples of its interval plus its phase. Its slot runs
from one regular start to the next and is named by the first (`slot_start_at`). An explicit offset
is the phase itself; start_offsets.py says which ones are refused. Without one, the phase follows
from the ordinal.

The workspaces of one interval are a series. Each holds its own ordinal, the lowest that was free.
Phases follow the golden ratio over the ordinals, which keeps any number of workspaces almost evenly
apart. Each series is shifted by a share of its own, so that the ordinals 0 of several intervals do
not start at the same instant. `starts_bound` says how many starts a second may hold.

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

    from domain.cycles import CycleKey
    from domain.model import Workspace

GOLDEN_RATIO = 0.618033988749895
# The fractional part of the square root of 2. Times the interval, it shifts each series by its own
# share.
SERIES_RATIO = 0.41421356
# The fractional part of the square root of 2. It spreads evenly, and independently of the phases.
LATE_RATIO = 0.4142135623730951
LATE_ROOT = 6  # the k-th root puts k / (k - 1) times the regular starts into the first seconds
MAX_MARGIN_SECONDS = 0.25
JITTER_SHARE = 0.2  # of the margin
DEADLINE_SHARE = 0.8
COMMIT_SHARE = 0.1
ROOM_SHARE = 0.3
MAX_GATHERING_SECONDS = 0.25
GATHERING_SHARE = 0.01  # of the interval
MAX_STARTS_COUNTED = 500_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Place(NamedTuple):
    """A workspace's place in the schedule: all its starts follow from it.

    `offset` is its explicit offset, in whole seconds. `since` is when it took the place: no slot
    that began before is its own.
    """

    workspace_id: str
    ordinal: int
    interval: int
    offset: int | None = None
    since: datetime | None = None

    @property
    def phase(self) -> float:
        """Seconds after each epoch multiple of the interval at which the slots begin."""
        return phase_of(self.ordinal, self.interval) if self.offset is None else self.offset


class Start(NamedTuple):
    """The start of a cycle, and the slot that it is for."""

    slot_start_at: datetime
    start_at: datetime


def place_of(workspace: Workspace) -> Place | None:
    """Return the workspace's place in the schedule; None while it is inactive."""
    if workspace.ordinal is None:
        return None
    return Place(
        workspace.workspace_id,
        workspace.ordinal,
        workspace.poll_interval_seconds,
        workspace.start_offset_seconds,
        workspace.scheduled_since,
    )


def margin_seconds(interval: float) -> float:
    """Return the distance in seconds that a phase without an offset keeps from the interval's ends.

    A quarter of a second; below an interval of 60 s, the same share of the interval.
    """
    return min(MAX_MARGIN_SECONDS, interval / 240)


def jitter_seconds(interval: float) -> float:
    """Return the upper bound of the jitter in seconds: a fifth of the margin, so at most 50 ms.

    The starts in any one second come from phases within that second plus one jitter. With a jitter
    of the whole margin, three intervals would be enough to exceed `starts_bound`.
    """
    return JITTER_SHARE * margin_seconds(interval)


def phase_of(ordinal: int, interval: float) -> float:
    """Return the phase, in seconds, of a workspace that has no explicit offset."""
    margin = margin_seconds(interval)
    share = _fraction(_spread(ordinal, GOLDEN_RATIO) + _fraction(interval * SERIES_RATIO))
    return margin + share * (interval - 2 * margin)


def slot_of(instant: datetime, place: Place) -> datetime:
    """Return slot_start_at of the slot that holds the instant.

    A slot includes its first moment and ends before the first moment of the next slot.
    """
    return _slot_start(_slot_number(instant, place), place)


def is_slot_of(place: Place, slot: datetime) -> bool:
    """Return whether the recorded slot belongs to this place, not to an earlier one."""
    is_before = place.since is not None and slot < slot_of(place.since, place)
    return not is_before and slot == slot_of(slot, place)


def next_start(after: datetime, place: Place) -> Start:
    """Return the first regular start strictly after the instant, jitter included.

    Jitter is seeded by workspace and slot and lies in [0, J). It is never negative: slots are
    counted from their beginning, so an early start would be booked to the slot before.
    """
    number = _slot_number(after, place)
    start = _regular_start(number, place)
    return start if start.start_at > after else _regular_start(number + 1, place)


def late_start(now: datetime, place: Place) -> Start:
    """Return the start that makes up for the present slot.

    Used after a boot, a takeover, a resume or a creation. If the present slot's regular start is
    still to come, it is returned. Otherwise the start is spread over the time until only 30% of the
    slot is left, so that a restart does not start everything at once. If that time is over, the
    start is spread over the rest of the slot. Then `leaves_enough_of_slot` is false, and the slot
    is only recorded as missed.

    The share of the time to wait is a root of a spread number. Many workspaces have little time
    left, so that early seconds would be crowded; the root moves starts later to make up for this.
    With the regular starts that follow, a second then holds at most twice starts_bound. The spread
    has a ratio of its own: with the phases' ratio, the length of the time and the share to wait
    would go together. It is that of the ordinal for an explicit offset too, so equal offsets are
    late apart.
    """
    coming = next_start(now, place)
    present = slot_of(now, place)
    if coming.slot_start_at == present:
        return coming
    left = coming.slot_start_at - now
    room = left - timedelta(seconds=place.interval * ROOM_SHARE)
    share = _spread(place.ordinal, LATE_RATIO) ** (1 / LATE_ROOT)
    wait = share * (room if room > timedelta(0) else left)
    # In the last microseconds of the slot the wait is rounded up to its end.
    return Start(present, now + min(wait, left - timedelta(microseconds=1)))


def leaves_enough_of_slot(start: Start, interval: float) -> bool:
    """Return whether at least 30% of the slot is left at the start.

    If less is left, the slot is recorded as missed instead.
    """
    left = start.slot_start_at + timedelta(seconds=interval) - start.start_at
    return left >= timedelta(seconds=interval * ROOM_SHARE)


def gathering_seconds(interval: float) -> float:
    """Return how long cycles may wait for each other, to be recorded and committed together.

    A quarter of a second at most: a hundredth of a short interval.
    """
    return min(MAX_GATHERING_SECONDS, interval * GATHERING_SHARE)


def ask_at(start: Start, interval: float) -> datetime:
    """Return when to have the start recorded, which takes a moment: once or twice the gathering.

    Instants are whole multiples of it, so that the starts of one moment are recorded together.
    """
    gathering = timedelta(seconds=gathering_seconds(interval))
    return start.start_at - gathering - (start.start_at - _EPOCH) % gathering


def cycle_deadline(start: Start, interval: float) -> datetime:
    """Return when fetching must end.

    That is 80% of the interval after the start, or earlier, so that the commits end before the
    workspace's next slot. A cycle that overran would make the next slot's cycle late too, and so
    on.
    """
    commits_at = start.slot_start_at + timedelta(seconds=interval * (1 - COMMIT_SHARE))
    return min(start.start_at + timedelta(seconds=interval * DEADLINE_SHARE), commits_at)


def missed_slots(since: datetime, now: datetime, place: Place, limit: int) -> list[datetime]:
    """Return the slots after `since`, the last one recorded, that are over at `now`, oldest first.

    Only the newest `limit` of them are returned.
    """
    first = _slot_number(since, place) + 1
    present = _slot_number(now, place)
    return [_slot_start(number, place) for number in range(max(first, present - limit), present)]


def lowest_free(taken: Iterable[int]) -> int:
    """Return the lowest ordinal that is not taken. `taken` are those of the same interval."""
    held = set(taken)
    return next(ordinal for ordinal in range(len(held) + 1) if ordinal not in held)


def starts_bound(highest_ordinals: Mapping[int, int]) -> float:
    """Return how many regular starts of all workspaces together any one second may hold.

    `highest_ordinals`: interval in use -> the highest ordinal in use there. docs/decisions/0017
    says for which fleets this is proven: up to three intervals of any length, and any number of
    intervals that divide an hour.

    Starts at explicit offsets come on top: at most `start_offsets.most_in_a_second` in a second of
    the clock, and twice as many in any time that is one second long. Their workspaces hold
    ordinals too, so the bound counts each of them once more than needed, and stays true.
    """
    if not highest_ordinals:
        return 0.0
    load = sum(1.3 * (highest + 1) / interval for interval, highest in highest_ordinals.items())
    return load + 3 + (len(highest_ordinals) - 1)


def worst_second(ordinals: Iterable[int], interval: int) -> int:
    """Return the most regular starts of one series that a second can hold, for any jitter."""
    window = min(1 + jitter_seconds(interval), interval)
    return _fullest_window([phase_of(ordinal, interval) for ordinal in ordinals], window, interval)


def worst_second_of_all(series: Mapping[int, Collection[int]]) -> int:
    """Return the most regular starts of all series together that a second can hold, at any time.

    `series`: interval -> ordinals in use. Counted over the period after which all starts repeat. If
    that period has too many starts to count, the result is the sum of each series' worst second,
    which is never too low.
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
    """Return the cycle's id, built from slot, trigger, attempt and a hash of all four parts.

    Readable, safe in a URL, and the same on every shard.
    """
    slot = key.slot_start_at.astimezone(UTC)
    parts = (key.workspace_id, slot.isoformat(), key.trigger.value, str(key.attempt))
    return f"{slot:%Y%m%dT%H%M%SZ}-{key.trigger.value}-{key.attempt}-{_digest(parts, size=4).hex()}"


def _spread(ordinal: int, ratio: float) -> float:
    """Return frac(ordinal x ratio).

    Multiples of such a ratio fall evenly into [0, 1), for any number of ordinals.
    """
    return _fraction(ordinal * ratio)


def _fullest_window(instants: Sequence[float], window: float, period: int) -> int:
    """Return the most instants in any window around the period. The window's end is exclusive."""
    ordered = sorted(instants)
    around = ordered + [instant + period for instant in ordered]
    counts = (bisect_left(around, instant + window) - at for at, instant in enumerate(ordered))
    return max(counts, default=0)


def _fraction(number: float) -> float:
    return math.modf(number)[0]


def _slot_number(instant: datetime, place: Place) -> int:
    elapsed = (instant - _EPOCH) // _MICROSECOND
    return (elapsed - _microseconds(place.phase)) // _microseconds(place.interval)


def _slot_start(number: int, place: Place) -> datetime:
    since_epoch = number * _microseconds(place.interval) + _microseconds(place.phase)
    return _EPOCH + timedelta(microseconds=since_epoch)


def _regular_start(number: int, place: Place) -> Start:
    slot_start_at = _slot_start(number, place)
    seed = _digest((place.workspace_id, slot_start_at.isoformat()), size=4)
    share = int.from_bytes(seed, "big") / 2**32
    jitter = timedelta(microseconds=int(share * jitter_seconds(place.interval) * 1e6))
    return Start(slot_start_at, slot_start_at + jitter)


def _digest(parts: tuple[str, ...], *, size: int) -> bytes:
    """Return a hash that is the same in every process, which hash() is not.

    Lengths keep ('a', 'bc') apart from ('ab', 'c').
    """
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).digest()


def _microseconds(seconds: float) -> int:
    return round(seconds * 1_000_000)
