"""A polled provider that plays a script."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from ports.providers import Page

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ports.providers import Sample


def page(*samples: Sample, **rest: Any) -> Page:
    answered = frozenset(sample.external_id for sample in samples)
    return Page(samples, **{"answered": answered, "records": len(samples), **rest})


class Call:
    """One request that a poller got."""

    def __init__(self, external_ids: Sequence[str], cursor: str | None, page: str | None) -> None:
        self.at = trio.current_time()
        self.external_ids = list(external_ids)
        self.cursor = cursor
        self.page = page


class ScriptedPoller:
    """ports.providers.Poller. Each fetch plays the next entry of `script`.

    An entry is a page, a fault to raise, or seconds to wait before the entry after it. After the
    last one, the answer names every device and has no news. `is_queued`: calls wait for their turn
    instead of being sent.
    """

    is_queued = False

    def __init__(self, *script: Page | Exception | float) -> None:
        self.script: list[Page | Exception | float] = list(script)
        self.calls: list[Call] = []

    async def fetch(
        self, external_ids: Sequence[str], cursor: str | None, page: str | None
    ) -> Page:
        self.calls.append(Call(external_ids, cursor, page))
        await trio.lowlevel.checkpoint()
        while self.script:
            entry = self.script.pop(0)
            if isinstance(entry, Exception):
                raise entry
            if isinstance(entry, Page):
                return entry
            await trio.sleep(entry)
        return Page((), frozenset(external_ids))
