"""Scrubbing: cut a known secret out of a provider's answer. Pure.

This module owns the forms in which a secret comes back: plain, escaped for JSON (`\\u0041`, `\\/`),
percent- or HTML-encoded (each also several times over and in parts), hexadecimal, and base64 at any
of its three alignments, as inside a Basic pair. `redaction` recognises what looks like a secret;
this module finds a secret that is known, whatever it looks like. When in doubt it hides too much.

A sample is scrubbed before it is cut to its limit. The scrubbed window is longer than the limit by
the longest form: a secret across the limit is whole in the window, and none of it is left.
"""

from __future__ import annotations

import html
import re
from base64 import b64encode
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

REDACTED: Final = b"[redacted]"
MAX_LAYERS: Final = 4  # encodings on top of each other that are decoded
MIN_PART_BYTES: Final = 4  # a shorter part is no secret, and would be found everywhere
MIN_CASED_BYTES: Final = 8
# Bytes for one byte of the secret: \\u0041, with each of its six characters escaped so once more.
_LONGEST_FORM: Final = 36
_SPARE: Final = 64

_ESCAPE: Final = re.compile(
    rb"\\u(?P<high>[dD][89abAB][0-9a-fA-F]{2})\\u(?P<low>[dD][c-fC-F][0-9a-fA-F]{2})"
    rb"|\\u(?P<unicode>[0-9a-fA-F]{4})"
    rb"|\\x(?P<hex>[0-9a-fA-F]{2})"
    rb"|\\(?P<letter>[\"'\\/bfnrt])"
    rb"|%(?P<percent>[0-9a-fA-F]{2})"
    rb"|&(?P<entity>\#[0-9]{1,7}|\#[xX][0-9a-fA-F]{1,6}|amp|lt|gt|quot|apos);"
    rb"|(?P<line_end>\r?\n)"  # base64 in e-mail is broken into lines
)
_SEPARATORS: Final = re.compile(rb"[-_\s]+")
_LETTERS: Final = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t"}
_TO_STANDARD_BASE64: Final = bytes.maketrans(b"-_", b"+/")
_BASE64: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=")

_Span = tuple[int, int]


class Scrubber:
    """Cuts one connection's secret out of texts and samples. Immutable.

    Of a secret like `user:password`, the password alone is cut out, too. Without a secret, nothing
    is changed.
    """

    def __init__(self, secret: str | None = None) -> None:
        parts = _parts_of(secret or "")
        longest = max(map(len, parts), default=0)
        self._margin = longest * _LONGEST_FORM + _SPARE
        self._forms = _plain_forms(parts)
        self._cores = {
            form
            for part in _with_encoded(parts)
            for core in _base64_cores(part)
            for form in _cases_of(core)
        }
        self._marks = {_mark_of(form) for form in self._forms}
        self._base64_marks = {core.lower() for core in self._cores}
        shortest = [len(part.decode("utf-8", "surrogatepass")) for part in parts]
        self._shortest = min([*shortest, *map(len, self._cores)], default=0)  # in characters

    def text(self, text: str) -> str:
        """Return the text without the secret."""
        if not self._forms or len(text) < self._shortest:
            return text
        data = text.encode("utf-8", "surrogatepass")
        spans = self._spans(data)
        return _without(data, spans, len(data)).decode("utf-8", "surrogatepass") if spans else text

    def sample(self, data: bytes | str, limit: int) -> bytes:
        """Return the beginning of the data without the secret, at most `limit` bytes."""
        window = data[: limit + self._margin]
        if isinstance(window, str):
            window = window.encode("utf-8", "replace")[: limit + self._margin]
        return _without(window, self._spans(window), limit)[:limit]

    def finds_in(self, text: str) -> bool:
        """Return whether the secret is in the text, in any form."""
        return self.text(text) != text

    def _spans(self, data: bytes) -> list[_Span]:
        """Return the places of the secret in the data, in order and not overlapping."""
        if not self._forms:
            return []
        found: list[_Span] = []
        view: _View | None = _View(data, range(len(data)), range(1, len(data) + 1))
        for _ in range(MAX_LAYERS):
            if view is None:
                break
            found += self._spans_in(view)
            view = view.decoded()
        return _merged(found)

    def _spans_in(self, view: _View) -> Iterator[_Span]:
        if _has_any(view.text, self._marks):
            for start, end in _matches(self._plain, view.text):
                yield view.place(start, end)
        standard = view.text.translate(_TO_STANDARD_BASE64)
        if _has_any(standard, self._base64_marks):
            for start, end in _matches(self._base64, standard):
                yield view.place(*_widened(standard, start, end))

    # A pattern takes longer to compile than all the rest of a poll, and most answers need none.

    @cached_property
    def _plain(self) -> re.Pattern[bytes]:
        return _any_of(self._forms, re.IGNORECASE)

    @cached_property
    def _base64(self) -> re.Pattern[bytes]:
        return _any_of(self._cores)


class _View(NamedTuple):
    """The data with some layers of encoding removed.

    `starts` and `ends` give, for each byte of `text`, its place in the original data.
    """

    text: bytes
    starts: Sequence[int]
    ends: Sequence[int]

    def place(self, start: int, end: int) -> _Span:
        return self.starts[start], self.ends[end - 1]

    def decoded(self) -> _View | None:
        """Return the view with one more layer removed, or None if no escape is left."""
        text, starts, ends, done = bytearray(), list[int](), list[int](), 0
        for escape in _ESCAPE.finditer(self.text):
            begin, end = escape.span()
            plain = _plain_of(escape)
            text += self.text[done:begin] + plain
            starts += [*self.starts[done:begin], *[self.starts[begin]] * len(plain)]
            ends += [*self.ends[done:begin], *[self.ends[end - 1]] * len(plain)]
            done = end
        if not done:
            return None
        text += self.text[done:]
        return _View(bytes(text), [*starts, *self.starts[done:]], [*ends, *self.ends[done:]])


def _plain_of(escape: re.Match[bytes]) -> bytes:
    value = escape.group
    if value("high"):
        pair = f"\\u{value('high').decode()}\\u{value('low').decode()}"
        return (
            pair.encode()
            .decode("unicode-escape")
            .encode("utf-16", "surrogatepass")
            .decode("utf-16")
            .encode()
        )
    if value("unicode"):
        return chr(int(value("unicode"), 16)).encode("utf-8", "surrogatepass")
    if value("letter"):
        return _LETTERS.get(value("letter"), value("letter"))
    if value("entity"):
        return html.unescape(f"&{value('entity').decode()};").encode("utf-8", "surrogatepass")
    if value("line_end"):
        return b""
    return bytes([int(value("hex") or value("percent"), 16)])


# The secret's forms


def _parts_of(secret: str) -> list[bytes]:
    """Return the secret as it is sent and, for a pair, its password."""
    whole = secret.strip()
    _, _, password = whole.partition(":")
    parts = [whole.encode("utf-8", "surrogatepass")] if whole else []
    if len(password.encode("utf-8", "surrogatepass")) >= MIN_PART_BYTES:
        parts.append(password.encode("utf-8", "surrogatepass"))
    return parts


def _with_encoded(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Yield each part and its base64: a Basic header's text may come back in base64 once more."""
    for part in parts:
        if len(part) >= MIN_PART_BYTES:
            yield part
            yield b64encode(part)


def _plain_forms(parts: Iterable[bytes]) -> set[bytes]:
    """Return each part in its plain forms, and as decoding would leave it.

    A secret may itself hold what looks like an escape.
    """
    forms: set[bytes] = set()
    for part in parts:
        forms |= {part, part.replace(b" ", b"+")}
        if len(part) >= MIN_PART_BYTES:
            forms.add(part.hex().encode())
        view: _View | None = _View(part, range(len(part)), range(len(part)))
        for _ in range(MAX_LAYERS):
            view = None if view is None else view.decoded()
            if view is not None and len(view.text) >= MIN_PART_BYTES:
                forms.add(view.text)
    return forms


def _base64_cores(part: bytes) -> Iterator[bytes]:
    """Yield the base64 characters that this part alone decides, for each alignment.

    A part can begin at three places in a group of base64.
    """
    for lead in range(3):
        encoded = b64encode(bytes(lead) + part)
        core = encoded[-(-lead * 8 // 6) : (lead + len(part)) * 8 // 6]
        if len(core) >= MIN_PART_BYTES - 1:
            yield core


def _cases_of(core: bytes) -> tuple[bytes, ...]:
    """Return base64 as it is, and as a reader of codes like CHARGING_AC leaves it.

    It makes `-` to `_`, which is `+` made to `/` in the other alphabet. Short ones in another case
    would be found everywhere.
    """
    if len(core) < MIN_CASED_BYTES:
        return (core,)
    capitals = core.upper()
    return core, core.lower(), capitals, capitals.replace(b"+", b"/")


def _mark_of(form: bytes) -> bytes:
    """Return what stands in every text that has this form, in small letters."""
    return max(_SEPARATORS.split(form), key=len).lower()


def _has_any(text: bytes, marks: Iterable[bytes]) -> bool:
    lowered = text.lower()
    return any(mark in lowered for mark in marks)


def _any_of(forms: Iterable[bytes], flags: int = 0) -> re.Pattern[bytes]:
    """Return a pattern that finds every occurrence, overlapping ones too."""
    alternatives = sorted((form for form in forms if form), key=lambda form: (-len(form), form))
    return re.compile(b"(?=(" + b"|".join(map(_pattern_of, alternatives)) + b"))", flags)


def _pattern_of(form: bytes) -> bytes:
    """Return a pattern of the form, whichever of ` -_` stand for its separators, and how few.

    A reader of codes makes `CHARGING_AC` of `charging - ac`, and takes separators from the ends.
    """
    if len(_SEPARATORS.sub(b"", form)) < MIN_PART_BYTES:
        return re.escape(form)
    pattern, done = b"", 0
    for run in _SEPARATORS.finditer(form):
        least = 0 if run.start() == 0 or run.end() == len(form) else 1
        pattern += re.escape(form[done : run.start()])
        pattern += b"[-_\\s]{%d,%d}" % (least, len(run.group()))
        done = run.end()
    return pattern + re.escape(form[done:])


# Spans


def _matches(pattern: re.Pattern[bytes], text: bytes) -> Iterator[_Span]:
    return (match.span(1) for match in pattern.finditer(text))


def _widened(text: bytes, start: int, end: int) -> _Span:
    """Return the span of the whole base64 text around a part of it."""
    while start > 0 and text[start - 1] in _BASE64:
        start -= 1
    while end < len(text) and text[end] in _BASE64:
        end += 1
    return start, end


def _merged(spans: Iterable[_Span]) -> list[_Span]:
    merged: list[_Span] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return merged


def _without(data: bytes, spans: Iterable[_Span], limit: int) -> bytes:
    """Return the first `limit` bytes, with each span that begins in them replaced."""
    kept, done = bytearray(), 0
    for start, end in spans:
        if start >= limit:
            break
        kept += data[done:start] + REDACTED
        done = end
    return bytes(kept + data[done : max(done, limit)])
