"""Bodies of answers: content codings and character sets are undone. Pure.

Owns the forms in which servers send the same JSON. It is lenient where nothing can be mistaken: a
content coding that is blank, unknown or a character set is ignored, because the body shows what it
is. A body that is damaged or too large is refused.
"""

from __future__ import annotations

import codecs
import json
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
# Character sets that are undone where the answer declares one. Any other is ignored.
_CHARSETS: Final = frozenset({"iso8859-1", "iso8859-15", "cp1252"})


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

    JSON's first bytes show UTF-16 and UTF-32, with a mark or without. Any other character set is
    that of the content type, but only if the body is not valid UTF-8. A body that does not fit its
    character set is returned as it is.
    """
    shown = json.detect_encoding(body)
    if shown == "utf-8-sig":
        return body[len(codecs.BOM_UTF8) :]
    if shown != "utf-8":
        return _transcoded(body, shown)
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
    # Half a surrogate pair costs its record later, and must not cost the whole answer here.
    try:
        return body.decode(charset, "surrogatepass").encode(errors="surrogatepass")
    except UnicodeError:
        return body
