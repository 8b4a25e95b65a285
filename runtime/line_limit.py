"""A limit for log lines that anybody can cause: one line of each kind a minute.

The next line of the kind that is written says how many were left out. A line is limited if it
carries `without_key`. That is bound to the log context of a request until its key is known, and the
server adds it to lines about events outside requests. Every other line passes.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable

    from structlog.typing import EventDict, WrappedLogger

WITHOUT_KEY = "without_key"
KIND = "line_kind"  # replaces the event's name if that is text composed by a library
EVERY_SECONDS = 60.0
MAX_KINDS = 200
_OTHERS = "others"  # shared by all kinds beyond MAX_KINDS


class LineLimit:
    """A structlog processor. `suppressed` counts the lines left out since the start."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.suppressed = 0
        self._monotonic = monotonic  # not the loop's clock, because threads log too
        self._quiet_until: dict[str, float] = {}
        self._pending: dict[str, int] = {}

    def __call__(self, _: WrappedLogger, __: str, event: EventDict) -> EventDict:
        kind = str(event.pop(KIND, event.get("event")))
        if event.get(WITHOUT_KEY):
            kind = self._known(kind)
            if not self._passes(kind):
                self.suppressed += 1
                self._pending[kind] = self._pending.get(kind, 0) + 1
                raise structlog.DropEvent
        pending = self._pending.pop(kind, 0)
        if pending:
            event["suppressed"] = pending
        return event

    def _known(self, kind: str) -> str:
        return kind if kind in self._quiet_until or len(self._quiet_until) < MAX_KINDS else _OTHERS

    def _passes(self, kind: str) -> bool:
        now = self._monotonic()
        if now < self._quiet_until.get(kind, -math.inf):
            return False
        self._quiet_until[kind] = now + EVERY_SECONDS
        return True
