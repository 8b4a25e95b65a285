"""What a page says after a form was carried out.

The address names the result (`?done=…`), and the words are from this table, never from the address.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from quart import request

if TYPE_CHECKING:
    from collections.abc import Mapping

_WORDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "policy-stored": "The policy was stored. The owning shard follows within a second.",
        "cutover-changed": "The cutover was changed. The owning shard follows within a second; a "
        "cycle that has begun ends as it began.",
        "rolled-back": "Rolled back: the legacy system collects and is read again. Nothing was "
        "destroyed.",
        "synchronised": "The devices were synchronised with the legacy registry.",
    }
)


def find_result() -> str | None:
    """Return the words of the result that the address names; None without one."""
    return _WORDS.get(request.args.get("done", ""))
