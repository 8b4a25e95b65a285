"""The scenarios of live pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ports.live import LiveQuery
from tests.isolation.fleets import OURS
from tests.isolation.scenario import drives

if TYPE_CHECKING:
    from tests.isolation.fleets import Harness


@drives("list_threshold_classes", "page_health", "list_marks")
async def follow_our_devices(harness: Harness) -> Any:
    """Ask as live pages do. `as_of` counts everybody's transactions, so it is left out."""
    live, ours = harness.stores.live, frozenset([OURS])
    first = await live.load_live(LiveQuery(ours, ours))
    later = LiveQuery(ours, ours, first.as_of, now=first.evaluated_at)
    every = await live.load_live(LiveQuery(ours, None, now=first.evaluated_at))
    return (
        first._replace(as_of=0),
        (await live.load_live(later))._replace(as_of=0),
        (every.rows, every.counts[OURS]),
        await live.load_marks(ours),
    )
