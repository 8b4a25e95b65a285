"""Rendezvous hashing: choose the member that should own a key, without communication.

This module owns the hash. Highest random weight (Thaler and Ravishankar, 1998): every member has a
score for every key, and the highest score wins. When a member leaves, only its own keys move. A
member that joins takes its share and no more.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection


def desired_owner(key: str, members: Collection[str]) -> str | None:
    """Return the member that should own the key, or None without members.

    The result is the same on every machine and in every process.
    """
    return max(members, key=lambda member: (_score(key, member), member), default=None)


def _score(key: str, member: str) -> bytes:
    # The separator keeps ("ab", "c") and ("a", "bc") apart; names hold no NUL.
    return blake2b(f"{member}\0{key}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
