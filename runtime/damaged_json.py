"""JSON documents of which single records are damaged: the other records are read. Pure.

Owns the second reading of a document whose first, strict reading failed: a provider's answer, or
the body of a client's request. NaN, a number beyond all bounds, half a surrogate pair, a byte that
is not UTF-8 or a control character in one record must not cost the others. The list is cut into its
records by their brackets and strings. Each record is read strictly, and if that fails by the
standard library's reader, which takes most of these forms. A quote or a bracket too many in one
record hides where the next ones begin. Then the list is cut in front of every object that begins
with the same member as its first one.

It is bounded for any bytes: a document with more brackets or damaged records than its limits is
damaged as a whole. Even so, a MiB may take a second: what clients send is read in a thread.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import Any, Final, NamedTuple

import orjson


class Limits(NamedTuple):
    """The most brackets and damaged records that are read of one document."""

    brackets: int = 1_000_000
    damaged: int = 20_000


LIMITS: Final = Limits()
_BARE_LIST: Final = re.compile(r"[ \t\r\n]*\[")
# One match leads to the next bracket. Strings are skipped whole, so that a bracket in a text is not
# taken for structure. A string without an end is skipped, too: looking for its end again from each
# quote in it would take quadratic time.
_TO_BRACKET: Final = re.compile(
    r"""(?:[^"{}\[\]]++|"(?:[^"\\]++|\\.)*+(?:"|\\?\Z))*+([{}\[\]]|\Z)""", re.DOTALL
)
_BETWEEN: Final = " \t\r\n,"
_FIRST_MEMBER: Final = re.compile(r'\s*\{\s*"([^"\\]{1,64})"\s*:')
_READER: Final = json.JSONDecoder(strict=False)
MAX_ENDS: Final = 20  # brackets that are tried as the end of a value, from the last one on


class Damaged(NamedTuple):
    """A record that is no strict JSON. `value` is what could be read of it, None if nothing."""

    value: Any
    raw: bytes

    def text_of(self, name: str) -> str | None:
        """Return the text of this member, also if the record could not be read as a whole."""
        found = re.search(rb'"%b"\s*:\s*"([^"\\]{1,256})"' % re.escape(name.encode()), self.raw)
        return None if found is None else found[1].decode("utf-8", "replace")


def read_damaged(body: bytes, *list_names: str, limits: Limits = LIMITS) -> Any:
    """Return the answer; in the list of one of these names, damaged records are `Damaged`.

    A bare list is read, too. Raises ValueError if there is no such list, or if what is around its
    records is damaged.
    """
    # A byte that is not UTF-8 becomes half a surrogate pair, and the same byte again below.
    text = body.decode("utf-8", "surrogateescape")
    names = "|".join(map(re.escape, list_names))
    opening = re.search(rf'"(?:{names})"\s*:\s*\[', text) or _BARE_LIST.match(text)
    if opening is None:
        raise ValueError(f"there is no list {names}")
    begin = opening.end()
    try:
        records, end = _read_list(text, begin, limits)
        answer = json.loads(text[:begin] + text[end:], strict=False)
    except ValueError:
        answer, records = _read_by_first_member(text, begin, limits)
    else:
        if not all(map(_is_read, records)):
            # An unread record may have swallowed those behind it.
            with suppress(ValueError):
                cut_anew = _read_by_first_member(text, begin, limits)[1]
                records = max(cut_anew, records, key=lambda found: sum(map(_is_read, found)))
    _list_in(answer, list_names).extend(records)
    return answer


def _is_read(record: Any) -> bool:
    return type(record) is not Damaged or record.value is not None


def _read_by_first_member(text: str, begin: int, limits: Limits) -> tuple[Any, list[Any]]:
    """Return the answer without its records, and the records.

    They are cut where an object begins as the first one does.
    """
    answer, end = _read_around(text, begin)
    first = _FIRST_MEMBER.match(text, begin)
    if first is None:
        raise ValueError("the list does not begin with a record")
    begins = re.compile(rf'(?<=[\s,\[])\{{\s*"{re.escape(first[1])}"\s*:')
    places = [match.start() for match in begins.finditer(text, begin, end)]
    reader = _Records(limits)
    for place, stop in zip(places, [*places[1:], end], strict=True):
        reader.add(text[place:stop].strip(_BETWEEN))
    return answer, reader.records


def _read_around(text: str, begin: int) -> tuple[Any, int]:
    """Return the answer without its records, and the place of the bracket that closes the list."""
    end = len(text)
    for _ in range(MAX_ENDS):
        end = text.rfind("]", begin, end)
        if end < 0:
            break
        with suppress(ValueError):
            return json.loads(text[:begin] + text[end:], strict=False), end
    raise ValueError("the list of records is not closed")


def _read_list(text: str, position: int, limits: Limits) -> tuple[list[Any], int]:
    """Return the records from here on, and the place of the bracket that closes the list."""
    reader = _Records(limits)
    start, depth = position, 0
    for number, match in enumerate(_TO_BRACKET.finditer(text, position)):
        bracket, place = match[1], match.start(1)
        if not bracket or number == limits.brackets:
            break
        if bracket in "{[":
            if not depth:
                reader.add(text[start:place].strip(_BETWEEN))
                start = place
            depth += 1
        elif depth:
            depth -= 1
            if not depth:
                reader.add(text[start : place + 1])
                start = place + 1
        elif bracket == "]":
            reader.add(text[start:place].strip(_BETWEEN))
            return reader.records, place
    raise ValueError("the list of records is not closed, or too long")


class _Records:
    """The records that were cut out of the list."""

    def __init__(self, limits: Limits) -> None:
        self.records: list[Any] = []
        self._damaged = 0
        self._limits = limits

    def add(self, text: str) -> None:
        """Read a record. Raises ValueError if too many are damaged."""
        if not text:
            return
        raw = text.encode("utf-8", "surrogateescape")
        try:
            self.records.append(orjson.loads(raw))
        except ValueError:
            self._damaged += 1
            if self._damaged > self._limits.damaged:
                raise
            self.records.append(Damaged(_read_loosely(text), raw))


def _read_loosely(text: str) -> Any:
    try:
        return json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return None


def _list_in(answer: Any, names: tuple[str, ...]) -> list[Any]:
    """Return the list of these names, at the top or one level below, or the answer if it is one."""
    if isinstance(answer, list):
        return answer
    places = [answer, *answer.values()] if isinstance(answer, dict) else []
    for place in places:
        for name in names if isinstance(place, dict) else ():
            if isinstance(found := place.get(name), list):
                return found
    raise ValueError("the list is in another place")


def cut_member(body: bytes, name: str) -> tuple[bytes, bytes]:
    """Return the document with empty text in place of this member's value, and the value's bytes.

    The value of text is returned as the text says it, else as it stands in the document. The first
    member of this name counts. Raises ValueError if there is none, or if its end cannot be told.
    """
    text = body.decode("utf-8", "surrogateescape")
    found = re.search(rf'"{re.escape(name)}"\s*:\s*', text)
    if found is None:
        raise ValueError(f"there is no member {name}")
    begin = found.end()
    if text[begin : begin + 1] == '"':
        value, end = _READER.raw_decode(text, begin)
        return _without(text, begin, end), to_bytes(value)
    end = _end_of_value(text, begin)
    return _without(text, begin, end), text[begin:end].encode("utf-8", "surrogateescape")


def _without(text: str, begin: int, end: int) -> bytes:
    """Return the document around a value. Raises ValueError if that is no strict JSON."""
    around = (text[:begin] + '""' + text[end:]).encode("utf-8", "surrogateescape")
    orjson.loads(around)
    return around


def _end_of_value(text: str, begin: int) -> int:
    """Return where the object or list ends that begins here.

    A quote too many in it hides its own bracket. Then the last brackets of the document are tried.
    """
    with suppress(ValueError):
        end = _closing(text, begin)
        _without(text, begin, end)
        return end
    end = len(text)
    for _ in range(MAX_ENDS):
        end = max(text.rfind("}", begin, end), text.rfind("]", begin, end))
        if end < 0:
            break
        with suppress(ValueError):
            _without(text, begin, end + 1)
            return end + 1
    raise ValueError("the value does not end")


def _closing(text: str, begin: int) -> int:
    """Return the place behind the bracket that closes the one at `begin`."""
    depth = 0
    for number, match in enumerate(_TO_BRACKET.finditer(text, begin)):
        if not match[1] or number == LIMITS.brackets:
            break
        depth += 1 if match[1] in "{[" else -1
        if depth <= 0:
            return match.end(1)
    raise ValueError("the value is not closed, or too long")


def to_bytes(text: str) -> bytes:
    """Return the text's bytes: a lone surrogate becomes the byte it was read from, or three bytes.

    No strict reader takes either.
    """
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
