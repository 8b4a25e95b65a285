"""The schedule: when each workspace's cycle starts, by arithmetic alone (FR-001, FR-002).

Owns phases, slots, jitter and the identity of a cycle. No state and no coordination: every shard, before and after a
restart, computes the same starts from a workspace's stored ordinal and interval.

A workspace's regular starts stand at epoch multiples of its interval plus its phase; its slot runs from one regular
start to the next and is named by the first (`slot_start_at`). Phases follow the golden ratio over the ordinals, which
keeps any number of workspaces almost evenly apart; hashed phases would clump (54 starts in the worst second for
10,000 workspaces, against 35). Jitter stays below a quarter of a second on purpose: more would undo the spread.

Arithmetic is in whole microseconds, so that an instant and its slot agree exactly on every machine.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from domain.model import CycleKey

GOLDEN_RATIO = 0.618033988749895
LATE_RATIO = 0.4142135623730951  # the square root of 2: also spreads evenly, and independently of the phases
MAX_JITTER_SECONDS = 0.25
DEADLINE_SHARE = 0.8
COMMIT_SHARE = 0.1
ROOM_SHARE = 0.3

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Start(NamedTuple):
    """When a cycle is to start, and the slot that it is for."""

    slot_start_at: datetime
    start_at: datetime


def jitter_seconds(interval: float) -> float:
    """J: a quarter of a second, and from the shortest production interval (60 s) down the same share of it."""
    return min(MAX_JITTER_SECONDS, interval / 240)


def phase_of(ordinal: int, interval: float) -> float:
    """Seconds after each epoch multiple of the interval at which this workspace's slots begin."""
    jitter = jitter_seconds(interval)
    return jitter + _spread(ordinal, GOLDEN_RATIO) * (interval - 2 * jitter)


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


def worst_second(ordinals: Iterable[int], interval: float) -> int:
    """The most regular starts that any one second can hold, whatever the jitter turns out to be.

    Sliding, and around the end of the interval: starts of one second come from phases of one second and a J more.
    """
    phases = sorted(phase_of(ordinal, interval) for ordinal in ordinals)
    window = min(1.0 + jitter_seconds(interval), interval)
    around = phases + [phase + interval for phase in phases]
    return max((bisect_left(around, phase + window) - index for index, phase in enumerate(phases)), default=0)


def cycle_id(key: CycleKey) -> str:
    """Readable, safe in a URL, and the same wherever it is made: slot, trigger, attempt and a hash of all four."""
    slot = key.slot_start_at.astimezone(UTC)
    parts = (key.workspace_id, slot.isoformat(), key.trigger.value, str(key.attempt))
    return f"{slot:%Y%m%dT%H%M%SZ}-{key.trigger.value}-{key.attempt}-{_digest(parts, size=4).hex()}"


def _spread(ordinal: int, ratio: float) -> float:
    """frac(ordinal x ratio): multiples of such a ratio fall evenly into [0, 1), however many there are."""
    return math.modf(ordinal * ratio)[0]


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
