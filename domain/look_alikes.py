"""External ids that arrive and are nearly the id of a device: slips of the keyboard.

Two ids look alike if they differ only by case, spaces, leading zeros or one character. Pure.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from domain.identity import external_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_LOOK_ALIKES = 5


class LookAlikes:
    """The ids that arrive without a device, to be searched for many devices.

    Two ids that differ by one character share a *variant*: an id without one of its characters. So
    an index of variants finds the few ids that are worth a comparison. It is made by the first
    search.
    """

    def __init__(self, arriving: Iterable[str]) -> None:
        self._arriving = tuple(arriving)

    def find(self, external_id: str, *, is_vin: bool = False) -> list[str]:
        """Return those that look like this one, at most 5, as they arrived.

        An id that means the same unit is not among them.
        """
        if not self._arriving:
            return []
        plain, key = _plain(external_id), external_key(external_id, is_vin=is_vin)
        places = {place for each in _variants(plain) for place in self._index.get(each, ())}
        found = [
            other
            for other in map(self._arriving.__getitem__, sorted(places))
            if external_key(other, is_vin=is_vin) != key
            and _differ_by_one_at_most(plain, _plain(other))
        ]
        return found[:MAX_LOOK_ALIKES]

    @cached_property
    def _index(self) -> dict[str, set[int]]:
        index: dict[str, set[int]] = {}
        for place, external_id in enumerate(self._arriving):
            for variant in _variants(_plain(external_id)):
                index.setdefault(variant, set()).add(place)
        return index


def _variants(plain: str) -> Iterator[str]:
    """Yield the id, and the id without each of its characters."""
    yield plain
    for place in range(len(plain)):
        yield plain[:place] + plain[place + 1 :]


def _plain(external_id: str) -> str:
    """Return the id in one case, without spaces and leading zeros."""
    return "".join(external_id.split()).casefold().lstrip("0")


def _differ_by_one_at_most(one: str, other: str) -> bool:
    """Return whether at most one character was replaced, added or left out.

    Two empty ids, or ids of one character, have too little in common to look alike.
    """
    short, long = sorted((one, other), key=len)
    if len(long) - len(short) > 1 or len(long) < 2:
        return short == long and bool(short)
    for place, (left, right) in enumerate(zip(short, long, strict=False)):
        if left != right:
            rest = long[place + 1 :]
            return rest in (short[place:], short[place + 1 :])
    return True
