"""Waiting for an instant of a clock that may jump.

Owns nothing but the wait: which instant, and what it is for, is the caller's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

RECHECK_SECONDS = 60.0


async def sleep_until(
    now: Callable[[], datetime],
    instant: datetime,
    *,
    unless: Callable[[], Awaitable[object]],
    recheck_seconds: float = RECHECK_SECONDS,
) -> bool:
    """Wait until `now()` reaches the instant: True. False as soon as `unless()` returns, which is cancelled otherwise.

    Sleeps in pieces of at most `recheck_seconds`: a step of the clock, or a suspend of the machine, which no monotonic
    sleep notices, makes this late by at most one piece. An instant that has passed is reached at once. Has no deadline
    of its own; it ends when its clock says so. Raises what the clock or `unless` raises.
    """
    while (left := (instant - now()).total_seconds()) > 0:
        with trio.move_on_after(min(left, recheck_seconds)):
            await unless()
            return False
    return True
