"""Bodies of answers: content codings and character sets are undone. Pure.

Owns the forms in which servers send the same JSON. It is lenient where nothing can be mistaken: a
content coding that is blank, unknown or a character set is ignored, because the body shows what it
is. A body that is damaged or too large is refused.
"""

from __future__ import annotations

import codecs
import re
import zlib
from typing import Final

MAX_CODINGS: Final = 4  # on top of each other
_GZIP: Final = ("gzip", "x-gzip")
_GZIP_MAGIC: Final = b"\x1f\x8b"
_GZIP_WINDOW: Final = zlib.MAX_WBITS | 16
_JSON_START: Final = re.compile(rb"(?:\xef\xbb\xbf)?[ \t\r\n]*[{\[]")
_CODING: Final = re.compile(r"[a-z0-9._-]{1,20}")
_CHARSET: Final = re.compile(r";\s*charset\s*=\s*\"?([A-Za-z0-9_.:-]{1,40})", re.IGNORECASE)
# The longer mark comes first: the mark of UTF-16 is the beginning of that of UTF-32.
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# Character sets that are undone where the answer declares one. Any other is ignored.
_CHARSETS: Final = frozenset({"iso8859-1", "iso8859-15", "cp1252", "utf-16-le", "utf-16-be"})


class DamagedBodyError(ValueError):
    """A compressed body that cannot be unpacked. The text completes "answered with …"."""


class BodyTooLargeError(ValueError):
    """A body that is larger than the limit once it is unpacked."""


def unpack(body: bytes, content_encoding: str, limit: int) -> bytes:
    """Return the body without its content codings, at most `limit` bytes.

    Raises DamagedBodyError and BodyTooLargeError. No more than the limit is ever made.
    """
    if not body:
        return body
    codings = [coding.strip().lower() for coding in content_encoding.split(",")]
    for coding in reversed(codings[-MAX_CODINGS:]):
        if coding in _GZIP and not _JSON_START.match(body):
            body = _gunzip(body, limit)
        elif coding == "deflate":
            body = _undeflate(body, limit)
    # JSON never begins like gzip, so this is a body without a label, or with a wrong one.
    return _gunzip(body, limit) if body.startswith(_GZIP_MAGIC) else body


def ignored_coding(content_encoding: str) -> str | None:
    """Return the first content coding that `unpack` ignores; None if there is none to name."""
    codings = (coding.strip().lower() for coding in content_encoding.split(","))
    unknown = (coding for coding in codings if coding not in (*_GZIP, "deflate", "identity"))
    return next((coding for coding in unknown if _CODING.fullmatch(coding)), None)


def unpack_what_can_be(body: bytes, content_encoding: str, limit: int) -> bytes:
    """Return the unpacked body, cut to the limit; empty if it is damaged."""
    try:
        return unpack(body, content_encoding, limit)
    except ValueError:
        return b""


def to_utf8(body: bytes, content_type: str) -> bytes:
    """Return the text in UTF-8 without a byte order mark.

    A byte order mark says the character set, else the content type does, but only if the body is
    not valid UTF-8. A body that does not fit its character set is returned as it is.
    """
    for mark, charset in _MARKS:
        if body.startswith(mark):
            rest = body[len(mark) :]
            return rest if charset == "utf-8" else _transcoded(rest, charset)
    declared = _CHARSET.search(content_type)
    if declared is None or _is_utf8(body):
        return body
    try:
        charset = codecs.lookup(declared[1]).name
    except LookupError:
        return body
    return _transcoded(body, charset) if charset in _CHARSETS else body


def _gunzip(body: bytes, limit: int) -> bytes:
    """Unpack all members: a server may append one gzip file to another.

    What follows the last member and is none is ignored, as gzip itself does.
    """
    plain = bytearray()
    while body.startswith(_GZIP_MAGIC) or not plain:
        inflater = zlib.decompressobj(_GZIP_WINDOW)
        plain += _inflate(inflater, body, limit - len(plain))
        if not inflater.unused_data:
            break
        body = inflater.unused_data
    return bytes(plain)


def _undeflate(body: bytes, limit: int) -> bytes:
    """Unpack zlib's format, which the standard means, or raw deflate, which some servers send."""
    try:
        return _inflate(zlib.decompressobj(), body, limit)
    except DamagedBodyError:
        if _JSON_START.match(body):
            return body
    return _inflate(zlib.decompressobj(-zlib.MAX_WBITS), body, limit)


def _inflate(inflater: zlib._Decompress, body: bytes, limit: int) -> bytes:
    try:
        # One byte more than the limit tells a body of the very limit from a longer one. Zero would
        # mean no limit at all.
        plain = inflater.decompress(body, limit + 1)
    except zlib.error as error:
        raise DamagedBodyError("a damaged compressed body") from error
    if len(plain) > limit:
        raise BodyTooLargeError
    if not inflater.eof:
        raise DamagedBodyError("a compressed body that is cut off")
    return plain


def _is_utf8(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def _transcoded(body: bytes, charset: str) -> bytes:
    try:
        return body.decode(charset).encode()
    except UnicodeError:
        return body
