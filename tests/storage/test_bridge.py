"""Complaints of the driver's loop: bugs are counted and logged, abandoned connections are not."""

from __future__ import annotations

import asyncio
import gc

import asyncpg
import pytest
import trio_asyncio  # type: ignore[import-untyped]

from storage.gateway import open_bridge


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
