"""The forms in which servers send the same JSON, and those that are refused."""

from __future__ import annotations

import gzip
import zlib

import pytest

from providers.bodies import (
    BodyTooLargeError,
    DamagedBodyError,
    ignored_coding,
    to_utf8,
    unpack,
    unpack_what_can_be,
)

TEXT = b'{"vin": "A"}'
LIMIT = 1000


def _gzip(body: bytes) -> bytes:
    return gzip.compress(body, mtime=0)


def _raw_deflate(body: bytes) -> bytes:
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflater.compress(body) + deflater.flush()


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("identity", TEXT),
        ("", TEXT),
        (" ", TEXT),
        ("UTF-8", TEXT),
        ("none", TEXT),
        ("gzip", TEXT),  # a wrong label
        ("deflate", TEXT),
        ("gzip", _gzip(TEXT)),
        ("x-gzip", _gzip(TEXT)),
        ("GZIP", _gzip(TEXT)),
        ("gzip, identity", _gzip(TEXT)),
        ("identity,gzip", _gzip(TEXT)),
        ("gzip, gzip", _gzip(_gzip(TEXT))),
        ("deflate, gzip", _gzip(zlib.compress(TEXT))),
        ("", _gzip(TEXT)),  # no label at all
        ("utf-8", _gzip(TEXT)),
        ("gzip", _gzip(TEXT[:5]) + _gzip(TEXT[5:])),
        ("gzip", _gzip(b"") + _gzip(TEXT)),
        ("gzip", _gzip(TEXT) + bytes(8)),
        ("deflate", zlib.compress(TEXT)),
        ("deflate", _raw_deflate(TEXT)),
    ],
)
def test_a_body_is_unpacked_by_what_it_is(encoding: str, body: bytes) -> None:
    assert unpack(body, encoding, LIMIT) == TEXT


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", b"no gzip"),
        ("gzip", _gzip(TEXT)[:-9]),
        ("gzip", _gzip(TEXT) + _gzip(TEXT)[:-9]),
        ("", _gzip(TEXT)[:-9]),
        ("deflate", b"\xff no deflate"),
    ],
)
def test_a_damaged_body_is_refused(encoding: str, body: bytes) -> None:
    with pytest.raises(DamagedBodyError):
        unpack(body, encoding, LIMIT)
    assert unpack_what_can_be(body, encoding, LIMIT) == b""


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", _gzip(bytes(LIMIT + 1))),
        ("gzip", _gzip(bytes(LIMIT)) + _gzip(b"1")),
        ("deflate", zlib.compress(bytes(LIMIT + 1))),
        ("deflate", _raw_deflate(bytes(LIMIT + 1))),
    ],
)
def test_no_more_than_the_limit_is_unpacked(encoding: str, body: bytes) -> None:
    with pytest.raises(BodyTooLargeError):
        unpack(body, encoding, LIMIT)
    assert unpack(_gzip(bytes(LIMIT)), "gzip", LIMIT) == bytes(LIMIT)


def test_an_empty_body_is_no_damage() -> None:
    assert unpack(b"", "gzip", LIMIT) == b""


@pytest.mark.parametrize(
    ("encoding", "named"),
    [("br", "br"), ("gzip, zstd", "zstd"), ("gzip", None), ("", None), ("identity", None)],
)
def test_an_ignored_coding_is_named(encoding: str, named: str | None) -> None:
    assert ignored_coding(encoding) == named


UMLAUT = '{"name": "M\u00fcller"}'


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (UMLAUT.encode(), "application/json"),
        (UMLAUT.encode("utf-8-sig"), "application/json"),
        (UMLAUT.encode("utf-16"), "application/json"),
        (b"\xfe\xff" + UMLAUT.encode("utf-16-be"), ""),
        (UMLAUT.encode("utf-32"), ""),
        (UMLAUT.encode("utf-16-le"), "application/json; charset=utf-16"),
        (UMLAUT.encode("utf-16-be"), ""),
        (UMLAUT.encode("utf-32-le"), ""),
        (UMLAUT.encode("latin-1"), "application/json; charset=ISO-8859-1"),
        (UMLAUT.encode("cp1252"), 'application/json; charset="windows-1252"'),
        (UMLAUT.encode(), "application/json; charset=ISO-8859-1"),  # it says so, and is UTF-8
        (UMLAUT.encode(), "application/json; charset=x-unknown"),
    ],
)
def test_a_text_comes_out_as_utf_8(body: bytes, content_type: str) -> None:
    assert to_utf8(body, content_type) == UMLAUT.encode()


def test_half_a_surrogate_pair_in_utf_16_costs_no_other_text() -> None:
    body = '{"a": "\ud800", "b": 5}'.encode("utf-16", "surrogatepass")
    plain = to_utf8(body, "")
    assert (plain[:7], plain[-10:]) == (b'{"a": "', b'", "b": 5}')


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (UMLAUT.encode("latin-1"), "application/json"),
        (UMLAUT.encode("latin-1"), "application/json; charset=utf-8"),
        (UMLAUT.encode("latin-1"), "application/json; charset=zip"),
    ],
)
def test_a_text_of_unknown_character_set_stays_as_it_is(body: bytes, content_type: str) -> None:
    assert to_utf8(body, content_type) == body
