"""Columns of rows as PostgreSQL's binary COPY takes them: one block of bytes for all rows.

Owns the format (PostgreSQL's documentation, COPY, "Binary Format") and the types of the columns
that are copied. The driver encodes value by value, and takes a microsecond for an instant. Here one
column is encoded after the other; a value that a unit's rows share is encoded once. Pure.
"""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any, Final

from domain.held import MICROSECOND

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    Column = Sequence[Any]
    Fields = Iterable[bytes]  # each with its length in front

_HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)  # no flags, and no extension
_END: Final = b"\xff\xff"
_NULL: Final = b"\xff\xff\xff\xff"
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)  # from which PostgreSQL counts microseconds
_count = struct.Struct("!h").pack
_length = struct.Struct("!i").pack
_bigint = struct.Struct("!iq").pack
_integer = struct.Struct("!ii").pack


def encode_rows(names: Sequence[str], columns: Sequence[Column]) -> bytes:
    """Return the rows of these columns, which are of equal length, as COPY takes them.

    Raises TypeError, AttributeError, ValueError or struct.error for a value that is not of its
    column's type, and UnicodeEncodeError for a lone surrogate.
    """
    fields = [FORMS[name](column) for name, column in zip(names, columns, strict=True)]
    rows = zip(repeat(_count(len(names)), len(columns[0])), *fields, strict=True)
    return _HEADER + b"".join(chain.from_iterable(rows)) + _END


def _as_text(value: str) -> bytes:
    encoded = value.encode()
    return _length(len(encoded)) + encoded


def _as_bigint(value: int) -> bytes:
    return _bigint(8, value)


def _as_integer(value: int) -> bytes:
    return _integer(4, value)


def _as_instant(value: datetime) -> bytes:
    return _bigint(8, (value - _EPOCH) // MICROSECOND)


def _as_uuid(value: str) -> bytes:
    """Encode 32 hexadecimal digits."""
    return b"\0\0\0\x10" + bytes.fromhex(value)


def _shared(encode: Callable[[Any], bytes]) -> Callable[[Column], Fields]:
    """Return the form of a column in which many rows have the same value."""

    def encode_column(column: Column) -> Fields:
        encoded = {value: encode(value) for value in set(column) if value is not None}
        encoded[None] = _NULL
        return map(encoded.__getitem__, column)

    return encode_column


def _own(encode: Callable[[Any], bytes]) -> Callable[[Column], Fields]:
    """Return the form of a column in which each row has a value of its own, and none is null."""
    return lambda column: map(encode, column)


FORMS: Final[Mapping[str, Callable[[Column], Fields]]] = {
    "workspace_id": _shared(_as_text),
    "device_id": _own(_as_text),
    "sequence": _own(_as_bigint),
    "recorded_at": _shared(_as_instant),
    "received_at": _shared(_as_instant),
    "observed_at": _own(_as_instant),
    "signals": _own(_as_text),  # json
    "provider_id": _shared(_as_text),
    "trace": _shared(_as_uuid),
    "trace_id": _shared(_as_text),
    "shard_id": _shared(_as_text),
    "epoch": _shared(_as_bigint),
    "resource": _shared(_as_text),
    "token": _shared(_as_bigint),
    "assignment": _shared(_as_integer),
    "reception_at": _shared(_as_instant),
}
