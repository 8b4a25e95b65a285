"""The times of the streams of live pages."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamLimits:
    """Times of a stream, in seconds."""

    beat: float = 15.0  # between signs of life, while there is no news
    check: float = 60.0  # between checks of the sign-in
    life: float = 3600.0  # then the browser comes back, perhaps to another shard
    retry: float = 3.0  # before a browser comes back
    retry_when_ending: float = 1.0
