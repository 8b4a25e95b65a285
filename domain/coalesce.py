"""Coalescing: per device the newest value of each signal, for as long as a window lasts.

Owns the buffer between a socket's reader and the mailbox. Bounded by the devices it knows; merging never waits, never
fails for lack of room, and never looks at a clock. What it leaves out is on purpose: of several samples of one signal
only the newest survives.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from domain.signals import PLAIN_VALUES, InvalidValue, check_value

if TYPE_CHECKING:
    from collections.abc import Iterable

    from domain.model import Reading

MAX_UNKNOWN_IDS = 100
MAX_SIGNALS_PER_DEVICE = 64


class Merged(NamedTuple):
    """What a window left of one device's frames. `received` is the monotonic reading of the newest frame in it."""

    external_id: str
    readings: tuple[Reading, ...]
    received: float


class _Entry:
    __slots__ = ("opened", "received", "signals")

    def __init__(self, received: float) -> None:
        self.signals: dict[str, Reading] = {}
        self.opened = received  # its window runs from the first frame
        self.received = received


class CoalescingBuffer:
    """Newest value per signal and device. Not for concurrent use; one reader merges, one flusher drains.

    Overflow policy: conflate. Devices named in `known_ids` always find room. Of others at most `max_unknown` wait at a
    time, so that the ledger can show which ids arrive; frames of further ones are ignored and counted as `overflow`.

    A reading replaces the one that waits when its observed_at is newer. At equal times what is there stays, as it does
    in the snapshot; a different value at an equal time is counted in `ties`, since acceptance, which would answer
    `conflict`, gets to see the first only. A value that cannot stand for its signal never pushes out one that can:
    acceptance would drop it, and the good one would be lost. Alone it waits like any other, to be refused visibly.

    Every frame is counted once: frames = merged + ignored (no readings, or overflow).
    """

    def __init__(self, known_ids: Iterable[str], *, max_unknown: int = MAX_UNKNOWN_IDS) -> None:
        self._known = frozenset(known_ids)
        self._max_unknown = max_unknown
        self._entries: dict[str, _Entry] = {}
        self._order: deque[str] = deque()  # first merged, first drained
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
        """Devices that wait."""
        return len(self._entries)

    def replace_known(self, known_ids: Iterable[str]) -> None:
        """After a change of configuration. What waits stays, whoever it is from."""
        self._known = frozenset(known_ids)
        self._unknown = sum(external_id not in self._known for external_id in self._entries)

    def merge(self, external_id: str, readings: tuple[Reading, ...], received: float) -> bool:
        """Take one frame's readings; False when it was ignored. `received` is its monotonic time in seconds.

        Only a frame that brought something newer moves the receipt of what waits: age counts from the newest reading.
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
            held = signals.get(reading[0])
            if held is None:
                if len(signals) >= MAX_SIGNALS_PER_DEVICE:
                    self._signal_overflow += 1
                    continue
            elif reading[2] > held[2] and _is_valid(reading):
                self._superseded += 1
            elif not self._replaces(held, reading):
                continue
            signals[reading[0]] = reading
            if received > entry.received:
                entry.received = received
        return True

    def drain(self, limit: int, *, opened_before: float = math.inf) -> list[Merged]:
        """Take out at most `limit` devices whose first frame came before the instant, those that wait longest first.

        They are the caller's from then on. With `opened_before` a window behind now, called often, every device waits
        for one window from its own first frame, and the flushes are as spread as the frames were.
        """
        drained: list[Merged] = []
        order, entries = self._order, self._entries
        while order and len(drained) < limit and entries[order[0]].opened < opened_before:
            external_id = order.popleft()
            entry = entries.pop(external_id)
            drained.append(Merged(external_id, tuple(entry.signals.values()), entry.received))
            self._unknown -= external_id not in self._known
        self._drained += len(drained)
        return drained

    def statistics(self) -> dict[str, int]:
        """`pending…` is now, the rest since the beginning; from `superseded` on readings are counted, not frames."""
        ignored = self._empty + self._overflow
        return {
            "frames": self._merged + ignored,
            "merged": self._merged,
            "ignored": ignored,
            "empty": self._empty,
            "overflow": self._overflow,
            "drained": self._drained,
            "pending": len(self._entries),
            "pending_unknown": self._unknown,
            "peak_pending": self._peak,
            "superseded": self._superseded,
            "outrun": self._outrun,
            "repeated": self._repeated,
            "ties": self._ties,
            "invalid": self._invalid,
            "signal_overflow": self._signal_overflow,
        }

    def _admit(self, external_id: str, readings: tuple[Reading, ...], received: float) -> _Entry | None:
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

    def _replaces(self, held: Reading, reading: Reading) -> bool:
        """The rare cases: it came late, repeats or contradicts what is there, or one of the two is no valid value."""
        if not _is_valid(reading):
            self._invalid += 1
            return reading[2] > held[2] and not _is_valid(held)
        if not _is_valid(held):
            self._invalid += 1
            return True
        if reading[2] < held[2]:
            self._outrun += 1
        elif reading[1] == held[1]:
            self._repeated += 1
        else:
            self._ties += 1
        return False


def _is_valid(reading: Reading) -> bool:
    value = reading[1]
    plain = PLAIN_VALUES.get(reading[0])
    if plain is not None and value.__class__ in plain[0] and plain[1] <= value <= plain[2]:  # type: ignore[operator]
        return True
    return not isinstance(check_value(reading[0], value), InvalidValue)
