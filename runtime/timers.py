"""Waiting for an instant of a clock that may jump.

This module owns only the wait. The caller chooses the instant and knows its purpose.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from runtime.clock import SharedClock


async def sleep_until(
    clock: SharedClock, instant: datetime, *, unless: Callable[[], Awaitable[object]]
) -> bool:
    """Wait until the clock reaches the instant, or until `unless()` returns.

    Returns True if the instant was reached, False if `unless()` returned earlier. `unless()` is
    cancelled when the instant is reached, and called again if the clock says then that it is too
    early. A step of the clock, or a suspend of the machine, which monotonic sleeps do not notice,
    counts from the clock's next observation on. An instant that has passed is reached at once.
    There is no deadline but the clock itself. Raises what the clock or `unless` raises.
    """
    while clock.now() < instant:
        with clock.deadline(instant):
            await unless()
            return False
    return True


async def sleep_to_beat(seconds: float) -> None:
    """Wait until the next whole multiple of so many seconds on trio's clock.

    Tasks that do so wake at the same instant, at most that many seconds later. Returns at once if
    the caller's deadline would come first.
    """
    beat_at = (trio.current_time() // seconds + 1) * seconds
    if beat_at < trio.current_effective_deadline():
        await trio.sleep_until(beat_at)
