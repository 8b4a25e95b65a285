"""Keyset cursors: the place where a list's next page begins, in a form that clients cannot forge.

A cursor has the keys of the last item shown, and `evaluated_at`, so that all pages of one list are
judged at one instant. It has the source of the list, so that no list goes on under another. It is
signed, so its keys may go into a query as they are. It is not encrypted, so it must never carry a
secret.

Form: base64url(version byte · first 16 bytes of HMAC-SHA256 · JSON of kind, instant, keys and the
source unless it is core), without padding.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import orjson
from pydantic import Field

from api.bodies import RequestModel
from api.problem_types import INVALID_PARAMETER
from api.problems import FaultyPart, Problem

VERSION = b"\x01"
TAG_BYTES = 16
MIN_KEY_BYTES = 16
MAX_TOKEN_CHARACTERS = 2048
MAX_PAGE_ITEMS = 500

Key = str | int | float | bool | datetime | None


@dataclass(frozen=True, slots=True)
class Cursor:
    """The end of a page. `kind` names the list with its workspace, order and filters.

    These must be the same for all pages. `after` has the sort keys of the last item shown, in the
    order of the list. Instants are aware, integers fit in 64 bits, floats are finite. `source` is
    empty if all values are core's (api/sources.py).
    """

    kind: str
    evaluated_at: datetime
    after: tuple[Key, ...]
    source: str = ""


class PageQuery(RequestModel):
    """The query parameters of every list; lists with filters inherit from it."""

    cursor: str | None = Field(
        None,
        max_length=MAX_TOKEN_CHARACTERS,
        description="`next_cursor` of the previous page",
    )
    limit: Annotated[int, Field(ge=1, le=MAX_PAGE_ITEMS, description="most items of a page")] = 100


class CursorCodec:
    """Writes and reads cursors with one key, which all shards share.

    With a new key, older cursors are invalid.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) < MIN_KEY_BYTES:
            raise ValueError(
                f"the cursor key has {len(key)} bytes; give at least {MIN_KEY_BYTES} random ones"
            )
        self._key = key

    def encode(self, cursor: Cursor) -> str:
        payload = orjson.dumps(
            [
                cursor.kind,
                _to_microseconds(cursor.evaluated_at),
                [_to_plain(key) for key in cursor.after],
                *([cursor.source] if cursor.source else []),
            ]
        )
        token = _to_text(VERSION + self._tag(payload) + payload)
        if len(token) > MAX_TOKEN_CHARACTERS:
            raise ValueError(
                f"a cursor of {len(token)} characters; its kind is too long, hash the filters in it"
            )
        return token

    def decode(self, token: str, *, kind: str) -> Cursor:
        """Return the cursor in `token`. Raises Problem 400 unless we signed it for this `kind`."""
        payload = self._verified_payload(token)
        if payload is None:
            raise _refusal("Not a cursor of this API, or no longer valid; start again without one.")
        written_for, evaluated_at, after, *source = orjson.loads(payload)
        if written_for != kind:
            raise _refusal(
                "This cursor belongs to another list, or to other filters; start again without one."
            )
        keys = tuple(_from_plain(key) for key in after)
        return Cursor(kind, _from_microseconds(evaluated_at), keys, *source)

    def _verified_payload(self, token: str) -> bytes | None:
        raw = _from_text(token)
        if raw is None or raw[:1] != VERSION:
            return None
        tag, payload = raw[1 : 1 + TAG_BYTES], raw[1 + TAG_BYTES :]
        return payload if hmac.compare_digest(tag, self._tag(payload)) else None

    def _tag(self, payload: bytes) -> bytes:
        # With the label, another signature made with the same key is not valid for a cursor.
        return hmac.digest(self._key, b"lastheard-cursor" + VERSION + payload, hashlib.sha256)[
            :TAG_BYTES
        ]


def _refusal(detail: str) -> Problem:
    return Problem(INVALID_PARAMETER, errors=[FaultyPart(parameter="cursor", detail=detail)])


def _to_text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def _from_text(token: str) -> bytes | None:
    """Return the bytes of a text; None unless `_to_text` writes exactly this text for them.

    base64 has several texts for the same bytes (unused bits, ignored characters), and all of them
    would have the same, valid signature.
    """
    if len(token) > MAX_TOKEN_CHARACTERS:
        return None
    try:
        raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    except (binascii.Error, ValueError):
        return None
    return raw if _to_text(raw) == token else None


def _to_microseconds(instant: datetime) -> int:
    if instant.tzinfo is None:
        raise ValueError("a cursor's instants are aware datetimes")
    since = instant - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _from_microseconds(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)


def _to_plain(key: Key) -> Any:
    match key:
        case datetime():
            return {"at": _to_microseconds(key)}
        case float() if not math.isfinite(key):
            raise ValueError("a cursor's keys must be finite: NaN and infinity have no order")
        case _:
            return key


def _from_plain(key: Any) -> Key:
    return _from_microseconds(key["at"]) if isinstance(key, dict) else key


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
