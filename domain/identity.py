"""When two spellings of an external id mean the same unit, and when they only look alike.

This module owns the comparison of external ids. An id is stored as it was configured, and compared
by a key. Edge spaces never count. The case counts, unless the provider's ids are VINs.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from domain.model import Device

MAX_LOOK_ALIKES = 5

# Only ASCII letters, as PostgreSQL's upper() does under the collation "C".
_SMALL = "abcdefghijklmnopqrstuvwxyz"
_ASCII_UPPER = str.maketrans(_SMALL, _SMALL.upper())


def external_key(external_id: str, *, is_vin: bool) -> str:
    """Return the form in which an external id is compared, unique among active devices."""
    trimmed = external_id.strip()
    return trimmed.translate(_ASCII_UPPER) if is_vin else trimmed


def key_of(device: Device) -> str:
    """Return the form in which the device's external id is compared."""
    return external_key(device.external_id, is_vin=device.ids_are_vins)


def find_look_alikes(
    external_id: str, arriving: Iterable[str], *, is_vin: bool = False
) -> tuple[str, ...]:
    """Return the arriving ids that a slip of the keyboard may have made of this one, at most 5.

    They differ from it only by case, spaces, leading zeros or one character. An id that means the
    same unit is not among them.
    """
    key, plain = external_key(external_id, is_vin=is_vin), _plain(external_id)
    found = []
    for other in arriving:
        is_same = other == external_id or external_key(other, is_vin=is_vin) == key
        if not is_same and _differ_by_one_at_most(plain, _plain(other)):
            found.append(other)
            if len(found) == MAX_LOOK_ALIKES:
                break
    return tuple(found)


@lru_cache(maxsize=4096)
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
