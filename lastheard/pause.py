"""The reminder that this process collects nothing, since it was started with `--paused`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

REMINDER_SECONDS: Final = 60.0
_REMEDY: Final = (
    "nothing is polled or streamed by this shard, and clients may send: start it without --paused "
    "and LASTHEARD_PAUSED to collect"
)


async def remind_of_pause(log: FilteringBoundLogger) -> None:
    """Log the pause now and once a minute. Ends only by cancellation."""
    while True:
        log.warning("collecting_paused", remedy=_REMEDY)
        await trio.sleep(REMINDER_SECONDS)
