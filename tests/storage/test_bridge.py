"""The driver's loop: which complaints count, and which callbacks run in one turn of trio."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import inspect
from functools import partial
from typing import TYPE_CHECKING

import asyncpg
import pytest
import trio
import trio_asyncio  # type: ignore[import-untyped]

from storage.bridge import CALLBACKS_AT_ONCE
from storage.gateway import open_bridge

if TYPE_CHECKING:
    from collections.abc import Callable

CALLBACKS = 10 * CALLBACKS_AT_ONCE


async def abandon(error: Exception) -> None:
    """Leave a failed future behind, as the driver does when connecting is given up."""
    future = asyncio.get_running_loop().create_future()
    future.set_exception(error)
    del future
    gc.collect()


@pytest.mark.parametrize(
    ("error", "errors"),
    [
        pytest.param(
            ConnectionError("unexpected connection_lost() call"),
            0,
            id="a connection that was given up",
        ),
        pytest.param(
            asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"),
            0,
            id="a COPY into a session that the server has just ended",
        ),
        pytest.param(LookupError("no such thing"), 1, id="a bug"),
    ],
)
async def test_only_bugs_count_among_what_nobody_waits_for(error: Exception, errors: int) -> None:
    async with open_bridge() as bridge:
        await trio_asyncio.aio_as_trio(abandon)(error)
        assert bridge.statistics().loop_errors == errors


async def record_turns(schedule: Callable[[Callable[[], object]], None]) -> list[int]:
    """Return in which turn of trio each callback ran that `schedule` asks the driver's loop for."""
    turns, ran_in = [0], list[int]()

    async def count_turns() -> None:
        while True:
            await trio.lowlevel.checkpoint()
            turns[0] += 1

    async with open_bridge(), trio.open_nursery() as nursery:
        nursery.start_soon(count_turns)
        schedule(lambda: ran_in.append(turns[0]))
        with trio.fail_after(10):
            while len(ran_in) < CALLBACKS:
                await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    return ran_in


async def test_callbacks_that_are_ready_run_together() -> None:
    def schedule_all(note: Callable[[], object]) -> None:
        for _ in range(CALLBACKS):
            asyncio.get_event_loop().call_soon(note)

    turns = await record_turns(schedule_all)
    assert len(set(turns)) <= CALLBACKS // CALLBACKS_AT_ONCE + 1


async def test_callbacks_that_call_for_more_let_other_tasks_run() -> None:
    def schedule_next(note: Callable[[], object], left: int = CALLBACKS) -> None:
        note()
        if left > 1:
            asyncio.get_event_loop().call_soon(partial(schedule_next, note, left - 1))

    turns = await record_turns(schedule_next)
    # The counter's turn may come before or behind the loop's.
    assert max(turns.count(turn) for turn in set(turns)) <= 2 * CALLBACKS_AT_ONCE


def test_the_loop_is_still_what_the_bridge_was_written_against() -> None:
    piece = trio_asyncio.TrioEventLoop._main_loop_one
    found = hashlib.sha256(inspect.getsource(piece).encode()).hexdigest()[:16]
    assert found == "cbe727d658663f07", (
        "trio-asyncio's _main_loop_one changed. Read it beside storage/bridge.py: each call must "
        "run one callback, and with `no_wait` raise trio.WouldBlock if none is ready. "
        f"Then pin the new source as {found!r}."
    )
