"""Whether the frames of a stream can be read at all. Pure.

Owns the two facts about it: that frames arrive of which not even the vehicle can be told, and that
frames can be read again. While nothing of a connection can be read, the silence of its devices is
not theirs. A frame that names its vehicle is held against that vehicle instead (refusals.py).
"""

from __future__ import annotations

from typing import NamedTuple

from domain.model import ConnectionFactKind

UNREADABLE_EVERY_SECONDS = 10.0  # a stream of garbage must not write a fact in every window


class ReadabilityChange(NamedTuple):
    """What is new. `received` is the frame's monotonic time; None stands for now."""

    kind: ConnectionFactKind
    received: float | None
    detail: str | None


class Readability:
    """The frames of which not even the vehicle could be told, until they are told as a fact."""

    def __init__(self) -> None:
        self._unreadable: tuple[float, str] | None = None  # the newest one that was not yet told
        self._told_at = float("-inf")  # monotonic
        self._merged = 0  # frames merged when the newest unreadable one came
        self._is_told = False  # and that frames can be read again was not

    def note_unreadable(self, detail: str, received: float, merged: int) -> None:
        self._unreadable = (received, detail)
        self._merged = merged

    def take_change(self, merged: int) -> ReadabilityChange | None:
        """Return what is new; None if nothing is.

        `merged` is the count of merged frames: one more says that frames can be read.
        """
        if merged > self._merged:
            self._unreadable = None
            return self._take_end()
        if self._unreadable is None:
            return None
        received, detail = self._unreadable
        if received - self._told_at < UNREADABLE_EVERY_SECONDS:
            return None
        self._unreadable, self._told_at, self._is_told = None, received, True
        return ReadabilityChange(ConnectionFactKind.UNREADABLE, received, detail)

    def _take_end(self) -> ReadabilityChange | None:
        if not self._is_told:
            return None
        self._is_told = False
        return ReadabilityChange(ConnectionFactKind.READABLE, None, None)
