"""Answers of legacy systems, kept for the next pages of a list, and turns for lists of many.

The next page of a list asks for the same as the page before. A fleet of 10,000 devices has a
hundred pages, and its legacy system would have to show all of its devices for each. So the answer
is kept for a minute, under the instant at which the list is judged. The first page always asks.

Bounded by the number of devices: of more, the answer that was kept first is dropped. Then, or on
another shard, the next page asks again. Its values are those of the moment, as core's are.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final, NamedTuple

import trio

from api.legacy_turns import LegacyTurns

if TYPE_CHECKING:
    from datetime import datetime

    from ports.legacy import LegacyConfiguration, LegacyValues

KEEP_SECONDS: Final = 60.0
MAX_KEPT_DEVICES: Final = 20_000  # of all answers; one has at most as many (legacy.mapping)


class _Kept(NamedTuple):
    until: float  # by trio's clock
    configuration: LegacyConfiguration
    values: LegacyValues

    @property
    def devices(self) -> int:
        return len(self.values.views) + len(self.values.by_external_id)


class LegacyAnswers:
    """The answers that this process keeps. `turns` are those of lists across workspaces."""

    def __init__(self) -> None:
        self.turns = LegacyTurns()
        self._kept: OrderedDict[tuple[str, datetime], _Kept] = OrderedDict()

    def find(
        self, workspace_id: str, evaluated_at: datetime, configuration: LegacyConfiguration
    ) -> LegacyValues | None:
        """Return what this configuration answered to the list of that instant, if it is kept."""
        kept = self._kept.get((workspace_id, evaluated_at))
        if kept is None or kept.until < trio.current_time() or kept.configuration != configuration:
            return None
        return kept.values

    def keep(
        self,
        workspace_id: str,
        evaluated_at: datetime,
        configuration: LegacyConfiguration,
        values: LegacyValues,
    ) -> None:
        """Keep the answer for the next pages of the list of that instant."""
        now = trio.current_time()
        kept = _Kept(now + KEEP_SECONDS, configuration, values)
        self._kept[workspace_id, evaluated_at] = kept
        self._kept.move_to_end((workspace_id, evaluated_at))
        devices = sum(each.devices for each in self._kept.values())
        while self._kept:
            oldest = next(iter(self._kept))
            if devices <= MAX_KEPT_DEVICES and self._kept[oldest].until >= now:
                return
            devices -= self._kept.pop(oldest).devices
