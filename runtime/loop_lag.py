"""A task that shows whether the event loop keeps up: it sleeps, and reports how late it was woken.

Anything that computes for long without a pause delays it, and every other task as much.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NoReturn

import trio

if TYPE_CHECKING:
    from runtime.measures import Observe

PAUSE_SECONDS: Final = 0.1  # ten times a second costs about a thousandth of a core


async def report_loop_lag(observe: Observe) -> NoReturn:
    """Report the lag ten times a second, in seconds. Ends only by cancellation."""
    while True:
        due_at = trio.current_time() + PAUSE_SECONDS
        await trio.sleep_until(due_at)
        observe(max(0.0, trio.current_time() - due_at))
