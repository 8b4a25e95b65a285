"""Parts of pages that many live pages fetch at once: each is made once, and shown for a while.

A page that a person opens is always made anew. Only what static/live_regions.js fetches may be some
seconds old; the part says of which instant it is. So the fleet of 200 open pages is judged once.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final, NamedTuple

import trio
from quart import request

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

    from markupsafe import Markup

MAX_AGE_SECONDS: Final = 10.0
MAX_PARTS: Final = 64  # the one that was asked for longest ago makes room


class _KeptPart(NamedTuple):
    made_at: float
    text: Markup


class SharedParts:
    """The newest parts by their keys. A key must name all that the part depends on."""

    def __init__(self) -> None:
        self._parts: OrderedDict[Hashable, _KeptPart] = OrderedDict()
        self._locks: dict[Hashable, trio.Lock] = {}

    async def show(self, key: Hashable, make: Callable[[], Awaitable[Markup]]) -> Markup:
        """Return the part: a fresh one, or for a script's fetch one that was made just now.

        Fetches of one key wait for each other, within the request's deadline. Raises what `make`
        raises; then nothing is kept, and the next one in line makes it.
        """
        if not is_fetched():
            return self._keep(key, await make())
        lock = self._locks.setdefault(key, trio.Lock())
        try:
            async with lock:
                part = self._parts.get(key)
                if part is not None and trio.current_time() - part.made_at < MAX_AGE_SECONDS:
                    self._parts.move_to_end(key)
                    return part.text
                return self._keep(key, await make())
        finally:
            if not lock.locked():  # else the next in line has it now
                self._locks.pop(key, None)

    def _keep(self, key: Hashable, text: Markup) -> Markup:
        self._parts[key] = _KeptPart(trio.current_time(), text)
        self._parts.move_to_end(key)
        if len(self._parts) > MAX_PARTS:
            self._parts.popitem(last=False)
        return text


def is_fetched() -> bool:
    """Return whether a script of a page asks, and not a person who opens it."""
    return request.headers.get("Sec-Fetch-Dest") == "empty"
