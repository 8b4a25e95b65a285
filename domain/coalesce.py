"""Coalescing: keep the newest value of each signal and device for the length of a window.

This module owns the buffer between a socket's reader and the mailbox. The buffer is bounded by the
number of devices it knows. Merging never waits, never fails for lack of room, and never reads a
clock. It loses data by design: of several samples of one signal, only the newest is kept.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from domain.order import Order, Times, compare
from domain.position import POSITION
from domain.signals import PLAIN_VALUES, InvalidValue, check_value, is_plain_position

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from domain.model import Reading

MAX_UNKNOWN_IDS = 100
MAX_SIGNALS_PER_DEVICE = 64


class Merged(NamedTuple):
    """One device's merged frames of a window.

    `arrivals` are the monotonic times at which the readings' frames came, in the order of the
    readings. `received` is the newest of them.
    """

    external_id: str
    readings: tuple[Reading, ...]
    received: float
    arrivals: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class BufferStatistics:
    """Counters of one buffer: totals, except for what is pending. frames = merged + ignored."""

    frames: int
    merged: int  # frames
    ignored: int  # frames: empty + overflow
    empty: int  # frames without readings
    overflow: int  # frames of unknown devices for which there was no room
    drained: int  # devices
    pending: int  # devices that wait now
    pending_unknown: int  # of these, the unknown ones
    peak_pending: int  # the largest `pending` so far
    superseded: int  # readings that replaced an older one that waited
    outrun: int  # readings older than the one that waited
    repeated: int  # readings equal to the one that waited
    ties: int  # readings with another value at the same time
    invalid: int  # invalid readings that were not handed on; each was told to `refuse`
    signal_overflow: int  # readings of more signals than a device may have


class _Entry:
    __slots__ = ("arrivals", "opened", "signals")

    def __init__(self, received: float) -> None:
        self.signals: dict[str, Reading] = {}
        self.arrivals: dict[str, float] = {}  # of the readings; the same signals in the same order
        self.opened = received  # the device's window starts with its first frame

    def merged(self, external_id: str) -> Merged:
        arrivals = tuple(self.arrivals.values())
        return Merged(external_id, tuple(self.signals.values()), max(arrivals), arrivals)


class CoalescingBuffer:
    """A buffer of the newest value per signal and device.

    Not for concurrent use: one reader merges and one flusher drains.

    Overflow policy: conflate. Devices named in `known_ids` always have room. Of other devices, at
    most `max_unknown` wait at a time, so that the ledger can show which ids arrive. Frames of
    further unknown devices are ignored and counted as `overflow`.

    A reading replaces the waiting one if it is newer by domain.order, as in the snapshot; each
    keeps its own arrival. At equal times the waiting one stays. A different value at an equal time
    is counted in `ties`: acceptance would answer `conflict`, but it only sees the first value.

    A value that is invalid for its signal never replaces a valid one: acceptance would drop it, and
    the valid one would be lost. A position is one reading, so both its halves are replaced or
    neither. If no valid value waits, the newest invalid one is kept, so that
    acceptance rejects it visibly. Every other invalid reading is told to `refuse`, with its device
    and its arrival.

    Every frame is counted once: frames = merged + ignored (no readings, or overflow).
    """

    def __init__(
        self,
        known_ids: Iterable[str],
        *,
        instant_of: Callable[[float], datetime],
        refuse: Callable[[str, Reading, float], object],
        max_unknown: int = MAX_UNKNOWN_IDS,
    ) -> None:
        """`instant_of` gives the database time of a monotonic time."""
        self._known = frozenset(known_ids)
        self._instant_of = instant_of
        self._refuse = refuse
        self._max_unknown = max_unknown
        self._entries: dict[str, _Entry] = {}
        self._order: deque[str] = deque()  # in the order of their first frames
        self._unknown = 0
        self._peak = 0
        self._merged = 0
        self._empty = 0
        self._overflow = 0
        self._superseded = 0
        self._outrun = 0
        self._ties = 0
        self._invalid = 0
        self._repeated = 0
        self._signal_overflow = 0
        self._drained = 0

    def __len__(self) -> int:
        """Return the number of waiting devices."""
        return len(self._entries)

    def replace_known(self, known_ids: Iterable[str]) -> None:
        """Replace the known ids after a change of configuration. Waiting readings stay."""
        self._known = frozenset(known_ids)
        self._unknown = sum(external_id not in self._known for external_id in self._entries)

    def merge(self, external_id: str, readings: tuple[Reading, ...], received: float) -> bool:
        """Merge one frame's readings; return False if the frame was ignored.

        `received` is the frame's monotonic time in seconds: the arrival of its readings.
        """
        entry = self._entries.get(external_id)
        if entry is None:
            entry = self._admit(external_id, readings, received)
            if entry is None:
                return False
        elif not readings:
            self._empty += 1
            return False
        self._merged += 1
        signals = entry.signals
        for reading in readings:
            signal = reading[0]
            held = signals.get(signal)
            if held is None:
                if len(signals) >= MAX_SIGNALS_PER_DEVICE:
                    self._signal_overflow += 1
                    continue
            # A later stated time is newer, whichever of the two is ahead of its arrival.
            elif reading[2] > held[2] and _are_valid(reading, held):
                self._superseded += 1
            elif not self._replaces(external_id, entry, reading, received):
                continue
            signals[signal] = reading
            entry.arrivals[signal] = received
        return True

    def drain(self, limit: int, *, opened_before: float = math.inf) -> list[Merged]:
        """Remove and return at most `limit` devices, those that have waited longest first.

        Only devices whose first frame came before `opened_before` are removed. Called often with
        `opened_before` one window before now, every device waits one window from its own first
        frame, and the flushes are as spread out as the frames were.
        """
        drained: list[Merged] = []
        order, entries = self._order, self._entries
        while order and len(drained) < limit and entries[order[0]].opened < opened_before:
            external_id = order.popleft()
            entry = entries.pop(external_id)
            drained.append(entry.merged(external_id))
            self._unknown -= external_id not in self._known
        self._drained += len(drained)
        return drained

    def statistics(self) -> BufferStatistics:
        ignored = self._empty + self._overflow
        return BufferStatistics(
            frames=self._merged + ignored,
            merged=self._merged,
            ignored=ignored,
            empty=self._empty,
            overflow=self._overflow,
            drained=self._drained,
            pending=len(self._entries),
            pending_unknown=self._unknown,
            peak_pending=self._peak,
            superseded=self._superseded,
            outrun=self._outrun,
            repeated=self._repeated,
            ties=self._ties,
            invalid=self._invalid,
            signal_overflow=self._signal_overflow,
        )

    def _admit(
        self, external_id: str, readings: tuple[Reading, ...], received: float
    ) -> _Entry | None:
        if not readings:
            self._empty += 1
            return None
        if external_id not in self._known:
            if self._unknown >= self._max_unknown:
                self._overflow += 1
                return None
            self._unknown += 1
        entry = self._entries[external_id] = _Entry(received)
        self._order.append(external_id)
        self._peak = max(self._peak, len(self._entries))
        return entry

    def _replaces(self, external_id: str, entry: _Entry, reading: Reading, received: float) -> bool:
        """Return whether the reading replaces the one that waits, and count why.

        Called for the rare cases: the reading is not stated later, or one of the two is invalid.
        """
        held, held_arrival = entry.signals[reading[0]], entry.arrivals[reading[0]]
        if _is_valid(reading) and _is_valid(held):
            return self._is_newer(reading, received, held, held_arrival)
        self._invalid += 1
        if _is_valid(reading) or (reading[2] > held[2] and not _is_valid(held)):
            self._refuse(external_id, held, held_arrival)
            return True
        self._refuse(external_id, reading, received)
        return False

    def _is_newer(
        self, reading: Reading, received: float, held: Reading, held_arrival: float
    ) -> bool:
        if reading[1] == held[1] and reading[2] == held[2]:
            self._repeated += 1
            return False
        instant_of = self._instant_of
        order = compare(
            Times(reading[2], instant_of(received)), Times(held[2], instant_of(held_arrival))
        )
        if order is Order.NEWER:
            self._superseded += 1
            return True
        if order is Order.OLDER:
            self._outrun += 1
        else:
            self._ties += 1
        return False


def _are_valid(reading: Reading, held: Reading) -> bool:
    """Return whether both readings of one signal are valid."""
    plain = PLAIN_VALUES.get(reading[0])
    if plain is not None:
        kinds, lowest, highest = plain
        value, other = reading[1], held[1]
        if (
            value.__class__ in kinds
            and other.__class__ in kinds
            and lowest <= value <= highest  # type: ignore[operator]
            and lowest <= other <= highest  # type: ignore[operator]
        ):
            return True
    return _is_valid(reading) and _is_valid(held)


def _is_valid(reading: Reading) -> bool:
    value = reading[1]
    plain = PLAIN_VALUES.get(reading[0])
    if plain is not None:
        kinds, lowest, highest = plain
        if value.__class__ in kinds and lowest <= value <= highest:  # type: ignore[operator]
            return True
    elif reading[0] == POSITION and is_plain_position(value):
        return True
    return not isinstance(check_value(reading[0], value), InvalidValue)
