"""API keys: how they are made, stored and checked.

Owns the token's form, `lh_<key id>_<secret>`, and the comparison. Only the SHA-256 of the secret is
stored: the secret has 32 random bytes, so a slow password hash would cost time and add no safety.
It must never log a token, and never answer faster for a key that does not exist.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from ports.keys import KeyRecord

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from ports.keys import ListedKey

PREFIX = "lh"
MAX_TOKEN_CHARACTERS = 200
_ID_BYTES = 8
_SECRET_BYTES = 32
_NO_HASH = bytes(32)
MAX_NAME_CHARACTERS = 100
_KEY_ID = re.compile(rf"[0-9a-f]{{{2 * _ID_BYTES}}}")


class Scope(StrEnum):
    """A right to a group of operations. A key has a set of scopes; no scope includes another."""

    READ = "read"
    INGEST = "ingest"
    FOLLOW_UP = "follow_up"  # for notes on issues; it opens no operation yet
    CONTROL = "control"
    ADMIN = "admin"


DEFAULT_SCOPES = (Scope.READ,)


class KeyState(StrEnum):
    """Whether a key opens anything now."""

    ACTIVE = "active"
    EXPIRED = "expired"
    REVOKED = "revoked"


class Token(NamedTuple):
    """The two parts of the token that a client sends."""

    key_id: str
    secret: str


def check_name(text: str) -> str:
    """Return the name of a new key, without spaces at its ends.

    Raises ValueError for a name that people could not tell from another, or from a key's id.
    """
    name = text.strip()
    if not 1 <= len(name) <= MAX_NAME_CHARACTERS or not name.isprintable():
        raise ValueError(
            f"a name has 1 to {MAX_NAME_CHARACTERS} characters, all of them printable: "
            "give the name of its user, such as liaison"
        )
    if _KEY_ID.fullmatch(name):
        raise ValueError("this looks like the id of a key: give the name of its user")
    return name


def mint_key(
    name: str, scopes: Iterable[str], workspaces: Iterable[str] | None, expires_at: datetime | None
) -> tuple[KeyRecord, str]:
    """Make a key: the record to store, and the token to show once. `workspaces=None` means all.

    Raises ValueError for a scope that does not exist, for no scope at all, and for an empty list of
    workspaces.
    """
    granted = frozenset(Scope(scope).value for scope in scopes)
    limited_to = None if workspaces is None else frozenset(workspaces)
    if not granted:
        raise ValueError(f"a key needs at least one scope of {', '.join(Scope)}")
    if limited_to is not None and not limited_to:
        raise ValueError(
            "a key limited to no workspace opens nothing; name one, or give None for all"
        )
    # Hexadecimal, because "_" separates the three parts and token_urlsafe may contain it.
    key_id, secret = secrets.token_hex(_ID_BYTES), secrets.token_hex(_SECRET_BYTES)
    record = KeyRecord(
        key_id, name, hash_secret(secret), granted, limited_to, expires_at, revoked_at=None
    )
    return record, f"{PREFIX}_{key_id}_{secret}"


def hash_secret(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def parse_token(text: str) -> Token | None:
    """Return the parts of a token, or None when the text is not a token."""
    if len(text) > MAX_TOKEN_CHARACTERS or not text.isascii():
        return None
    parts = text.split("_")
    if len(parts) != 3 or parts[0] != PREFIX or not parts[1].isalnum() or not parts[2].isalnum():
        return None
    return Token(parts[1], parts[2])


def why_refused(record: KeyRecord | None, token: Token, now: datetime) -> str | None:
    """Return the reason to refuse this key at `now`, or None when it is good.

    The hash of the secret is compared first, in constant time, and with a dummy when there is no
    such key. So neither the time nor the answer tells a client without the secret whether a key id
    exists.
    """
    expected = _NO_HASH if record is None else record.secret_hash
    matches = hmac.compare_digest(hash_secret(token.secret), expected)
    if record is None or not matches:
        return "The key is not known."
    match state_of(record, now):
        case KeyState.REVOKED:
            return "The key was revoked."
        case KeyState.EXPIRED:
            return "The key has expired."
        case KeyState.ACTIVE:
            return None


def state_of(key: KeyRecord | ListedKey, now: datetime) -> KeyState:
    if key.revoked_at is not None:
        return KeyState.REVOKED
    if key.expires_at is not None and key.expires_at <= now:
        return KeyState.EXPIRED
    return KeyState.ACTIVE
