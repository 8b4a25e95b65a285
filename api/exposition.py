"""The metrics of this process as text, for the programs that scrape them.

Owns how often and for how long they are rendered: one rendering at a time, which all scrapers of a
second share. The text is made in a thread, since ten thousand lines would hold up the event loop.
It must never know a metric: `gather` fills the registry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import trio
from prometheus_client.exposition import choose_encoder

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from prometheus_client import CollectorRegistry

KEPT_SECONDS: Final = 1.0
_OPENMETRICS: Final = "application/openmetrics-text"
_PLAIN: Final = ""


class Rendered(NamedTuple):
    """The metrics in one form."""

    media_type: str
    body: bytes


class Exposition:
    """Renders the metrics. At most two texts are kept, one for each form."""

    def __init__(self, gather: Callable[[], Awaitable[CollectorRegistry]]) -> None:
        """`gather` brings the figures up to date, and returns where they are."""
        self._gather = gather
        self._one_at_a_time = trio.Lock()
        self._thread = trio.CapacityLimiter(1)
        self._kept: dict[str, tuple[float, Rendered]] = {}

    async def render(self, accept: str) -> Rendered:
        """Return the metrics, at most KEPT_SECONDS old, in the form that `accept` asks for.

        The caller's cancel scope is the deadline. A thread that was given up ends by itself; the
        next rendering waits for it.
        """
        # Only two values reach the library: a client's own would be parsed, and could be wrong.
        form = f"{_OPENMETRICS};version=1.0.0" if _OPENMETRICS in accept else _PLAIN
        async with self._one_at_a_time:
            made_at, kept = self._kept.get(form, (-KEPT_SECONDS, None))
            if kept is None or trio.current_time() - made_at >= KEPT_SECONDS:
                kept = await self._render_anew(form)
                self._kept[form] = trio.current_time(), kept
            return kept

    async def _render_anew(self, form: str) -> Rendered:
        registry = await self._gather()
        encode, media_type = choose_encoder(form)
        body = await trio.to_thread.run_sync(
            encode, registry, abandon_on_cancel=True, limiter=self._thread
        )
        return Rendered(media_type, body)
