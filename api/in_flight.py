"""Counts of the requests in flight: in all, by key, and by address for callers without a key.

Owns the counts only. Taking a place and giving it back never blocks.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum


class Shortage(StrEnum):
    """The share that is used up."""

    ALL = "in_flight"
    KEY = "in_flight_of_key"
    WITHOUT_KEY = "in_flight_without_key"
    ADDRESS = "in_flight_of_address"


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller of a request: `who` it is (api/access.py), or its address alone without a key.

    `digest` is that of its key; None for a JWT and for a sign-in. `is_stream`: the answer has no
    end, so the request has a place among the streams.
    """

    address: str
    who: str | None = None
    digest: bytes | None = None
    is_stream: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class InFlightLimits:
    """The most requests in flight: in all, of one key, and of callers without a good key."""

    # The bodies in memory have at most this many times max_body_bytes. At worst all requests are
    # imports of 4 MiB (api.device_import): 512 MiB, without the parsed values.
    total: int = 128
    per_key: int = 64
    without_key: int = 32
    per_address: int = 8  # without a key


class PlacesInFlight:
    """The places that are taken. A key or address with no request in flight takes no memory."""

    def __init__(self, limits: InFlightLimits) -> None:
        self._limits = limits
        self._of_key: Counter[str] = Counter()
        self._of_address: Counter[str] = Counter()
        self._taken = 0
        self._without_key = 0

    def take(self, caller: Caller) -> Shortage | None:
        """Take a place for a request and return None, or return the share that has none left."""
        shortage = self._shortage_of(caller)
        if shortage is None:
            self._count(caller, 1)
        return shortage

    def give_back(self, caller: Caller) -> None:
        self._count(caller, -1)

    def _shortage_of(self, caller: Caller) -> Shortage | None:
        limits = self._limits
        if caller.who is None:
            if self._of_address[caller.address] >= limits.per_address:
                return Shortage.ADDRESS
            if self._without_key >= limits.without_key:
                return Shortage.WITHOUT_KEY
        elif self._of_key[caller.who] >= limits.per_key:
            return Shortage.KEY
        return Shortage.ALL if self._taken >= limits.total else None

    def _count(self, caller: Caller, by: int) -> None:
        self._taken += by
        if caller.who is None:
            self._without_key += by
        names, name = (
            (self._of_address, caller.address) if caller.who is None else (self._of_key, caller.who)
        )
        names[name] += by
        if not names[name]:
            del names[name]
