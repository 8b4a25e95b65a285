"""State answers of which single vehicles are damaged: the others are read. Pure.

Owns the second reading of an answer that is no strict JSON. NaN, a number beyond all bounds, half a
surrogate pair, a byte that is not UTF-8 or a control character in one vehicle's labels must not
cost the others. The standard library's reader takes all of these. What it read is then written
again, member by member, to find the damaged ones. What no reader takes (a value that is nan or
missing, a quote too many) costs its vehicle: the answer is cut in front of each vehicle's name.

It takes about 40% of the time that reading the labels takes, in one piece with it. So an answer
above MAX_BYTES is not read again.
"""

from __future__ import annotations

import json
import re
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

import orjson

if TYPE_CHECKING:
    from collections.abc import Collection

MAX_BYTES: Final = 4 * 1024 * 1024  # a thousand vehicles with every label have half a MiB
_MAX_DIGITS: Final = 19  # of a whole number of 64 bits
_MAX_SHOWN: Final = 40


class NotANumber:
    """What stands where a number should be, or a vehicle's labels. No writer of JSON takes it."""

    def __init__(self, text: str) -> None:
        self._text = text[:_MAX_SHOWN]

    def __repr__(self) -> str:
        return self._text


def read_tolerantly(body: bytes, vids: Collection[str] = ()) -> tuple[Any, frozenset[str]]:
    """Return the answer, and the names of its members that are damaged.

    `vids` are the members by whose names it is cut if no reader takes it whole. Raises ValueError
    if it is too large, or if nothing of it can be read.
    """
    if len(body) > MAX_BYTES:
        raise ValueError("too large to be read a second time")
    # A byte that is not UTF-8 becomes half a surrogate pair, which no writer takes.
    text = body.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
    try:
        message = _DECODER.decode(text)
    except (ValueError, RecursionError):
        message = _read_by_name(text, vids)
    if not isinstance(message, dict):
        return message, frozenset()
    return message, frozenset(name for name, value in message.items() if is_damaged({name: value}))


def _read_by_name(text: str, vids: Collection[str]) -> dict[str, Any]:
    """Return the vehicles that can be read, and what stands for the others."""
    names = {json.dumps(vid, ensure_ascii=False): vid for vid in vids}
    found = [match for match in _MEMBER.finditer(text) if match[1] in names]
    message: dict[str, Any] = {}
    ends = [match.start() for match in found[1:]]
    for match, end in zip(found, [*ends, len(text)], strict=True):
        part = text[match.end() : end].lstrip()
        try:
            message[names[match[1]]] = _DECODER.raw_decode(part)[0]
        except (ValueError, RecursionError):
            message[names[match[1]]] = NotANumber(part)
    if all(type(labels) is NotANumber for labels in message.values()):
        raise ValueError("no vehicle of the answer can be read")
    return message


def find_vehicles(body: bytes) -> list[str]:
    """Return the names of the vehicles of an answer that no reader takes, in order.

    These are the members of the answer itself. Where a quote or a bracket too many hides which
    members those are, they are the objects that begin with an object.
    """
    text = body.decode("utf-8", "surrogateescape")
    begin = [match[1] for match in _OBJECT_IN_OBJECT.finditer(text)]
    members = _names_at_first_level(text)
    return members if set(begin) <= set(members) else begin


def _names_at_first_level(text: str) -> list[str]:
    names, depth = [], 0
    for match in _NAME_OR_BRACKET.finditer(text):
        if match[0] in "{[":
            depth += 1
        elif match[0] in "}]":
            depth -= 1
        elif depth == 1 and match[2]:
            names.append(match[1])
    return names


def is_damaged(value: object) -> bool:
    """Return whether a strict reader would have refused the value."""
    try:
        orjson.dumps(value)
    except TypeError:
        return True
    return False


def _read_float(text: str) -> float | NotANumber:
    number = float(text)
    return number if isfinite(number) else NotANumber(text)


def _read_int(digits: str) -> int | NotANumber:
    return int(digits) if len(digits) <= _MAX_DIGITS else NotANumber(digits)


_NAME_OR_BRACKET: Final = re.compile(r'"([^"\\]*+(?:\\.[^"\\]*+)*+)"(\s*:)?|[{}\[\]]')
_OBJECT_IN_OBJECT: Final = re.compile(
    r'(?<=[{,\s])"([^"\\\x00-\x1f]{1,128})"\s*:\s*\{\s*"[^"\\\x00-\x1f]{1,128}"\s*:\s*\{'
)
_MEMBER: Final = re.compile(r'(?<=[{,\s])("[^"\\\x00-\x1f]{1,128}")\s*:')
_DECODER: Final = json.JSONDecoder(
    strict=False,
    parse_constant=NotANumber,
    parse_float=_read_float,
    parse_int=_read_int,
)
