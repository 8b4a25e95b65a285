"""What a stream says of itself at the default level: one record a minute, and refused traces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from actors.stream_activity import Activity, StreamActivity
from domain.model import Outcome, Reason, Receipt, Result, Submission
from tests.actors.harness import HARBOUR, update
from tests.actors.instants import NOON
from tests.actors.scripted import frame
from tests.actors.streaming import running

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from trio.testing import MockClock

    from tests.actors.harness import Shard
    from tests.actors.scripted import ScriptedStreamer

    Events = list[MutableMapping[str, Any]]

ACCEPTED = Result(Outcome.ACCEPTED)
UNKNOWN = Result(Outcome.REJECTED, Reason.UNKNOWN_DEVICE)


def submission(trace_id: str, updates: int = 1) -> Submission:
    return Submission(
        "stream", trace_id, tuple(update("bus-1", n, soc_percent=1) for n in range(updates))
    )


def test_a_minute_is_told_once_with_its_counts() -> None:
    activity = StreamActivity()
    assert activity.take_due(100.0, 0) is None
    for number in range(4):
        activity.note_submission(submission(f"trace-{number}", updates=2))
        activity.note_receipt(Receipt(1, NOON, (ACCEPTED, UNKNOWN)))
    assert activity.take_due(159.9, 50) is None
    assert activity.take_due(160.0, 50) == Activity(
        seconds=60.0,
        frames=50,
        handed_over=8,
        accepted=4,
        refused={"unknown_device": 4},
        trace_ids=["trace-1", "trace-2", "trace-3"],
    )


def test_a_minute_without_activity_is_not_told() -> None:
    activity = StreamActivity()
    activity.take_due(0.0, 7)
    assert activity.take_due(60.0, 8) is not None
    assert activity.take_due(120.0, 8) is None
    activity.note_receipt(Receipt(1, NOON, (ACCEPTED,)))  # of the minute before
    assert activity.take_due(180.0, 8) is not None


def test_a_submission_without_a_verdict_counts_as_nothing() -> None:
    activity = StreamActivity()
    activity.take_due(0.0, 0)
    activity.note_submission(submission("trace-1"))
    activity.note_receipt(None)
    told = activity.take_due(60.0, 1)
    assert told is not None
    assert (told.handed_over, told.accepted, told.refused) == (1, 0, {})


async def test_a_busy_stream_says_one_line_a_minute(
    shard: Shard, streamer: ScriptedStreamer, events: Events, autojump_clock: MockClock
) -> None:
    async with running(shard):
        socket = await streamer.wait_connected()
        for second in range(130):
            socket.say(frame("ferry-1", second, soc_percent=50.0 + second % 2))
            await trio.sleep(1)
    told = [event for event in events if event["event"] == "stream_activity"]
    assert len(told) == 2
    assert all(55 <= line["frames"] <= 65 for line in told)
    assert all(20 < line["handed_over"] <= line["frames"] + 1 for line in told)
    assert all(abs(line["accepted"] - line["handed_over"]) <= 2 for line in told)
    assert all(len(line["trace_ids"]) == 3 for line in told)
    names = [event["event"] for event in events if event["log_level"] == "info"]
    # Beside the two records: the connection, and the call that was made when it was opened.
    assert len(names) <= 2 + 3, names


async def test_the_first_refused_update_is_told_by_its_trace(
    shard: Shard, streamer: ScriptedStreamer, events: Events, autojump_clock: MockClock
) -> None:
    async with running(shard):
        socket = await streamer.wait_connected()
        for second in range(30):
            socket.say(frame("stranger", second, soc_percent=50.0))
            await trio.sleep(1)
        store = shard.harness.store
        (refusal,) = await store.list_rejections(HARBOUR, before=None, reason=None, limit=9)
    told = [
        event
        for event in events
        if event["event"] == "telematics_update_rejected" and event["log_level"] == "info"
    ]
    assert [line["trace_id"] for line in told] == [refusal.trace_id]
    assert told[0]["reasons"] == {"unknown_device": 1}
