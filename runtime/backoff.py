"""Backoff: how long to wait before trying again.

This module owns the arithmetic of exponential backoff with full jitter (AWS Builders' Library,
"Timeouts, retries and backoff with jitter"). It must never sleep, count time or decide whether to
try again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random

MAX_DOUBLINGS = 62  # beyond any cap in use; 2.0**62 is far from overflowing a float


class Backoff:
    """Delays drawn evenly from zero to a ceiling that doubles with each attempt, up to the cap.

    The jitter is full, because delays that only vary around a mean keep clients that failed
    together in step.
    """

    __slots__ = ("_attempts", "_base_seconds", "_cap_seconds", "_random")

    def __init__(self, random: Random, base_seconds: float, cap_seconds: float) -> None:
        if not 0 < base_seconds <= cap_seconds:
            raise ValueError(
                f"need 0 < base_seconds <= cap_seconds, not {base_seconds} and {cap_seconds}"
            )
        self._random = random
        self._base_seconds = base_seconds
        self._cap_seconds = cap_seconds
        self._attempts = 0

    @property
    def attempts(self) -> int:
        """Return the number of delays handed out since the start or the last reset."""
        return self._attempts

    def next_delay(self, retry_after: float | None = None) -> float:
        """Return the seconds to wait now.

        `retry_after` is a floor, and the jitter is added to it, so that clients do not all return
        in that very second.
        """
        doublings = min(self._attempts, MAX_DOUBLINGS)
        ceiling = min(self._cap_seconds, self._base_seconds * 2.0**doublings)
        self._attempts += 1
        return max(0.0, retry_after or 0.0) + self._random.uniform(0.0, ceiling)

    def reset(self) -> None:
        """Begin again at the base. Call it after a success."""
        self._attempts = 0
