"""A cache of tokens that were right or wrong a moment ago.

It decides about shares of the places in flight, never about access.

A right token is looked up in the database again at every request (api/auth.py), so a revocation
holds from the next request on. A wrong one is refused from the cache for a few seconds, without the
database. Tokens are kept as digests only.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import TypeVar

ValueT = TypeVar("ValueT")

REFUSED_SECONDS = 15.0  # short, because an operator may undo a revocation
MAX_TOKENS = 4096


def digest_of(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


class TokenCache:
    """Two bounded tables, of right and of wrong tokens.

    Only verified tokens enter the first, so a flood of made-up tokens cannot push them out.
    """

    def __init__(self, max_tokens: int = MAX_TOKENS) -> None:
        self._max_tokens = max_tokens
        self._keys: OrderedDict[bytes, str] = OrderedDict()
        self._refused: OrderedDict[bytes, tuple[float, str]] = OrderedDict()

    def key_of(self, digest: bytes) -> str | None:
        """Return the id of the key that this token last belonged to, or None."""
        key_id = self._keys.get(digest)
        if key_id is not None:
            self._keys.move_to_end(digest)
        return key_id

    def refusal_of(self, digest: bytes, now: float) -> str | None:
        """Return the reason of a recent refusal of this token, or None."""
        until, why = self._refused.get(digest, (now, ""))
        return why if now < until else None

    def remember_key(self, digest: bytes, key_id: str) -> None:
        self._refused.pop(digest, None)
        _put(self._keys, digest, key_id, self._max_tokens)

    def remember_refusal(self, digest: bytes, why: str, now: float) -> None:
        self._keys.pop(digest, None)
        _put(self._refused, digest, (now + REFUSED_SECONDS, why), self._max_tokens)

    def forget(self, digest: bytes) -> None:
        """Drop a token that was refused since then; its next request is looked up again."""
        self._keys.pop(digest, None)


def _put(table: OrderedDict[bytes, ValueT], digest: bytes, value: ValueT, limit: int) -> None:
    table[digest] = value
    table.move_to_end(digest)
    if len(table) > limit:
        table.popitem(last=False)
