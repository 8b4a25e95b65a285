"""Hints from other shards over LISTEN and NOTIFY: look now instead of in the next round.

Owns reconnecting, and the bounded box of notices that wait. Notices are never data: one may be
lost, doubled or late. The bare "" means that anything may have happened, so its receiver looks at
everything.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Final

import trio

from runtime.backoff import Backoff
from runtime.faults import EnvironmentFault
from runtime.flag import Flag
from runtime.logs import EdgeLog, get_logger

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from runtime.logs import EdgeStatistics
    from storage.gateway import Database

CHANNEL: Final = "lastheard"
MAX_PENDING: Final = 1000
FIRST_PAUSE_SECONDS: Final = 0.2
LONGEST_PAUSE_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class BoxStatistics:
    """Notices of one box."""

    heard: int  # total
    pending: int  # now
    overflows: int  # how often the bare notice replaced all others


@dataclass(frozen=True, slots=True)
class NoticesStatistics:
    """One listener for notices."""

    connections: int  # total; how often it began to listen
    box: BoxStatistics
    edge: EdgeStatistics  # of the connection


class NoticeBox:
    """Notices that were heard and not yet handed on, each once.

    Overflow policy: if more than `max_pending` different notices wait, the one notice "" replaces
    them all.
    """

    def __init__(self, max_pending: int = MAX_PENDING) -> None:
        self._max_pending = max_pending
        self._pending: dict[str, None] = {}  # a set that keeps its order
        self._arrived = Flag()
        self._heard = 0
        self._overflows = 0

    def put(self, notice: str) -> None:
        """Add a notice. Never blocks and never raises, because the driver's callback calls it."""
        self._heard += 1
        self._pending[notice] = None
        if len(self._pending) > self._max_pending:
            self._overflows += 1
            self._pending = {"": None}
        self._arrived.set()

    async def take(self) -> list[str]:
        """Return all waiting notices, oldest first, as soon as there is one.

        No deadline: a quiet channel is normal.
        """
        await self._arrived.wait()
        self._arrived.clear()
        taken, self._pending = list(self._pending), {}
        return taken

    async def tell(self, on_notice: Callable[[str], None]) -> NoReturn:
        """Call `on_notice` with every notice, until cancelled."""
        while True:
            for notice in await self.take():
                on_notice(notice)

    def statistics(self) -> BoxStatistics:
        return BoxStatistics(self._heard, len(self._pending), self._overflows)


class PostgresNotices:
    """ports.notices.Notices. Each `listen` has one connection of its own."""

    def __init__(
        self, database: Database, random: Random | None = None, *, check_seconds: float = 10.0
    ) -> None:
        """Set up; connects only in `listen`.

        `check_seconds`: how often to check that a quiet connection lives and that its server may
        write.
        """
        self._database = database
        self._check_seconds = check_seconds
        self._box = NoticeBox()
        self._backoff = Backoff(
            random or Random(),  # noqa: S311 - jitter, not secrets
            base_seconds=FIRST_PAUSE_SECONDS,
            cap_seconds=LONGEST_PAUSE_SECONDS,
        )
        self._edge = EdgeLog(get_logger("notices"), "notices")
        self._connections = 0

    async def listen(self, on_notice: Callable[[str], None]) -> NoReturn:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._box.tell, on_notice)
            while True:
                try:
                    await self._database.listen(
                        CHANNEL, self._note, check_seconds=self._check_seconds
                    )
                except EnvironmentFault as fault:
                    self._edge.failed(fault)
                    await trio.sleep(self._backoff.next_delay(fault.retry_after))

    def _note(self, notice: str) -> None:
        """Take note of a notice. Runs inside asyncio.

        The gateway's own "" says that a connection listens from now on.
        """
        if notice == "":
            self._connections += 1
            self._backoff.reset()
            self._edge.recovered()
        self._box.put(notice)

    def statistics(self) -> NoticesStatistics:
        return NoticesStatistics(self._connections, self._box.statistics(), self._edge.statistics())
