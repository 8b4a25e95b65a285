"""Rendezvous hashing: who should own a key, agreed without a word between the members.

Owns the hash. Highest random weight (Thaler and Ravishankar, 1998): every member scores every key, the highest score
wins, so a member that leaves hands out its own keys and no others, and one that joins takes its share and no more.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection


def desired_owner(key: str, members: Collection[str]) -> str | None:
    """The member that should own the key; None when there is none. The same on every machine and in every process."""
    return max(members, key=lambda member: (_score(key, member), member), default=None)


def _score(key: str, member: str) -> bytes:
    # The separator keeps ("ab", "c") and ("a", "bc") apart; names hold no NUL.
    return blake2b(f"{member}\0{key}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
