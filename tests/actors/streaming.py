"""A stream actor at work, and what is looked at in every test of it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import trio

from tests.actors.harness import LIVE
from tests.actors.polling import ScriptedPoller

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from actors.stream import StreamActor
    from tests.actors.harness import Shard
    from tests.actors.scripted import ScriptedStreamer


@asynccontextmanager
async def running(
    shard: Shard, *, seed: ScriptedPoller | None = None, **rest: Any
) -> AsyncIterator[StreamActor]:
    """A stream of the harbour and the ingest actor behind it; stopped at the end of the block."""
    shard.provider.pollers[LIVE] = seed or ScriptedPoller()
    actor = shard.stream(await shard.view(), **rest)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(shard.ingest.run)
        nursery.start_soon(actor.run)
        yield actor
        nursery.cancel_scope.cancel()


def gaps(streamer: ScriptedStreamer) -> list[float]:
    return [later - earlier for earlier, later in pairwise(streamer.attempts)]


def check_frames(actor: StreamActor) -> None:
    frames = actor.statistics().frames
    assert frames.received == frames.merged + frames.ignored + frames.malformed + frames.pending
