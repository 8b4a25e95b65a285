"""Hints that stored configuration or a lease changed: between shards, and within one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


class Notices(Protocol):
    """Hints from other shards (NOTIFY). Never data.

    The receiver of a hint looks at once. Without a hint it looks soon enough.
    """

    async def listen(self, on_notice: Callable[[str], None]) -> None:
        """Call `on_notice` with each notice until cancelled.

        After a lost connection it connects again, and then calls `on_notice` with "". Notices are
        `leases` and `workspace:<workspace_id>`. `on_notice` must not block or raise.
        """


class Nudges(Protocol):
    """Tells this shard's actors that stored configuration changed.

    It is a hint: they look every few seconds without it, too.
    """

    def registry_changed(self) -> None: ...
