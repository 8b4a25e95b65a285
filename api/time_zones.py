"""The time zones that a workspace may be in, by their IANA names.

Owns the set of names. They come from the package tzdata, not from the host, so that all shards of a
release take the same ones. A time zone is for showing times: no instant is stored in it.
"""

from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from typing import Annotated

from pydantic import AfterValidator, Field

TIME_ZONE_DESCRIPTION = "IANA name, for showing times: all instants are in UTC"
_MAX_LENGTH = 64  # the longest name has 32 characters


@cache
def known_time_zones() -> frozenset[str]:
    """Return all names, some hundreds. Reads them from the package at the first call."""
    return frozenset((files("tzdata") / "zones").read_text(encoding="utf-8").split())


def _check_name(name: str) -> str:
    if name not in known_time_zones():
        alike = get_close_matches(name, known_time_zones(), n=1)
        example = alike[0] if alike else "Europe/Berlin or UTC"
        raise ValueError(f"there is no time zone {name!r}: give an IANA name, such as {example}")
    return name


TimeZone = Annotated[
    str,
    Field(max_length=_MAX_LENGTH, description=TIME_ZONE_DESCRIPTION),
    AfterValidator(_check_name),
]
