"""The asyncio loop that carries the database driver: its errors in callbacks, and its turns.

Owns what `storage.gateway.open_bridge` installs in the loop. The error handler must never raise.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import trio

from runtime.logs import get_logger
from storage.driver_errors import ConnectionEnded

if TYPE_CHECKING:
    import asyncio

NOBODY_WAITS: Final = "exception was never retrieved"  # asyncio's words for an abandoned future
# A connection that is lost. asyncpg's COPY leaves a future behind if the server has ended the
# session just before; the call itself raises an error of its own.
GONE: Final = (OSError, ConnectionEnded)

CALLBACKS_AT_ONCE: Final = 64  # the rest waits for trio's next turn, as its other tasks do


def run_callbacks_together(loop: Any) -> None:
    """Let a loop of trio-asyncio run all callbacks that are ready in one turn of trio.

    It would run one in each turn. A call to the database needs about five in a row, and a turn is
    as long as all other tasks of the process take together: ten milliseconds beside busy streams.
    The library has no public way to do it (docs/decisions/0063-callbacks-in-one-turn.md).
    """
    run_one = loop._main_loop_one

    async def run_ready(no_wait: bool = False) -> None:
        await run_one(no_wait)
        with suppress(trio.WouldBlock):
            for _ in range(CALLBACKS_AT_ONCE - 1):
                await run_one(no_wait=True)

    loop._main_loop_one = run_ready


@dataclass(frozen=True, slots=True)
class BridgeStatistics:
    """Errors in callbacks since the bridge was opened."""

    loop_errors: int
    last_loop_error: str | None


class Bridge:
    """The errors in callbacks of the asyncio loop on trio: their count, and the last one."""

    def __init__(self) -> None:
        self._errors = 0
        self._last_error: str | None = None

    def note_error(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Log and count an error.

        Installed because trio-asyncio's own handler raises into the loop's nursery, which ends the
        whole service.
        """
        error = context.get("exception")
        if isinstance(error, GONE) and NOBODY_WAITS in str(context.get("message")):
            return  # its connection was given up, and that was reported then
        self._errors += 1
        self._last_error = repr(error) if error is not None else str(context.get("message"))
        get_logger("database").error(
            "database_loop_error", error=self._last_error, message=context.get("message")
        )

    def statistics(self) -> BridgeStatistics:
        return BridgeStatistics(self._errors, self._last_error)
