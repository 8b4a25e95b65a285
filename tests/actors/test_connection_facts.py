"""What is stored of a connection: calls and stream apart, what was not asked, whose data came."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from actors.connections import Connector
from actors.poll_state import PollState
from actors.stream import SEED_BUDGET_SECONDS
from domain.model import FaultClass
from ports.providers import ProviderFault
from tests.actors.cycling import run_cycle, script
from tests.actors.harness import HARBOUR, LIVE, STEADY, polled, streamed
from tests.actors.instants import GATHERING, at
from tests.actors.polling import ScriptedPoller, page
from tests.actors.scripted import frame, outage, refused
from tests.actors.streaming import running

if TYPE_CHECKING:
    from trio.testing import MockClock

    from storage.unit.rows import ConnectionRow
    from tests.actors.harness import Harness, Shard
    from tests.actors.scripted import ScriptedStreamer


def stored(harness: Harness, provider_id: str = STEADY) -> ConnectionRow:
    row = harness.store.tables.connection_state.get((HARBOUR, provider_id))
    assert row is not None
    return row


# --- calls


@pytest.mark.parametrize(
    ("answer", "status"), [(page(), "succeeded"), (refused(), "failed")], ids=["good", "refused"]
)
async def test_a_call_that_ended_has_its_begin_and_its_end(
    harness: Harness,
    shard: Shard,
    nursery: trio.Nursery,
    answer: object,
    status: str,
    autojump_clock: MockClock,
) -> None:
    nursery.start_soon(shard.ingest.run)
    script(shard, steady=ScriptedPoller(12.0, answer))  # type: ignore[arg-type]
    await trio.sleep(5)
    await run_cycle(shard)
    row = stored(harness)
    assert (row.call_status, row.call_begun_at, row.call_ended_at) == (status, at(5), at(17))


async def test_while_the_first_call_after_a_gap_runs_none_has_ended(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """So health can tell that our gap has not ended although a cycle has begun."""
    nursery.start_soon(shard.ingest.run)
    script(shard, steady=ScriptedPoller(page(), 12.0, page()))
    state = PollState({})
    await run_cycle(shard, 0, state)
    await trio.sleep(1000)
    nursery.start_soon(run_cycle, shard, 1, state)
    await trio.sleep(11)
    assert stored(harness).call_ended_at == at(0)
    await trio.sleep(2)
    assert stored(harness).call_ended_at == at(1012 + 2 * GATHERING)


async def test_a_cycle_that_did_not_ask_says_so_until_a_call_ends(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)

    async def hang(reference: str) -> str:
        await trio.sleep_forever()

    connector = shard.connector
    shard.connector = Connector({"scripted": shard.provider}, hang)
    await harness.store.put_provider(replace(polled(), credential="file:steady"))
    await run_cycle(shard, fetch=30)
    assert stored(harness).not_asked_at == at(30)
    assert stored(harness, LIVE).not_asked_at is None
    shard.connector = connector
    await run_cycle(shard, 1)
    assert stored(harness).not_asked_at is None


async def test_a_provider_that_asked_for_time_is_not_called_unasked(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)
    wait = ProviderFault(FaultClass.QUOTA, "answered 429", retry_after=900.0)
    script(shard, steady=ScriptedPoller(wait))
    state = PollState({})
    for number in range(2):
        await run_cycle(shard, number, state)
    assert stored(harness).not_asked_at is None


async def test_an_unreadable_answer_makes_the_connection_unreadable(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)
    garbage = ProviderFault(FaultClass.PROTOCOL, "not JSON", unreadable=True)
    script(shard, steady=ScriptedPoller(2.0, garbage))
    await run_cycle(shard)
    row = stored(harness)
    assert (row.unreadable_at, row.readable_at, row.call_status) == (at(2), None, "failed")


# --- streams


async def test_a_socket_leaves_the_result_of_a_state_call_alone(
    harness: Harness, shard: Shard, streamer: ScriptedStreamer, autojump_clock: MockClock
) -> None:
    async with running(shard, seed=ScriptedPoller(refused())):
        await streamer.wait_connected()
        await trio.sleep(1)
        row = stored(harness, LIVE)
    assert (row.call_status, row.fault, row.stream_status) == ("failed", "credentials", "open")


async def test_a_state_call_that_is_not_answered_in_time_failed(
    harness: Harness, shard: Shard, streamer: ScriptedStreamer, autojump_clock: MockClock
) -> None:
    async with running(shard, seed=ScriptedPoller(1000.0)):
        await streamer.wait_connected()
        await trio.sleep(SEED_BUDGET_SECONDS + 1)
        row = stored(harness, LIVE)
    assert (row.call_status, row.fault) == ("failed", "outage")


async def test_the_trouble_of_a_stream_ends_after_a_minute_with_data(
    harness: Harness, shard: Shard, streamer: ScriptedStreamer, autojump_clock: MockClock
) -> None:
    streamer.refusals = [outage()]
    async with running(shard):
        socket = await streamer.wait_connected()
        opened_at = trio.current_time()
        down_since = stored(harness, LIVE).stream_down_since
        assert down_since is not None
        await trio.sleep(90)
        assert stored(harness, LIVE).stream_down_since == down_since  # open, but without data
        socket.say(frame("ferry-1", 90, soc_percent=50.0))
        await trio.sleep(3)
        row = stored(harness, LIVE)
    assert trio.current_time() - opened_at < 100
    assert (row.stream_down_since, row.stream_fault) == (None, None)


async def test_reconnects_do_not_end_the_trouble_of_a_stream(
    harness: Harness, shard: Shard, streamer: ScriptedStreamer, autojump_clock: MockClock
) -> None:
    async with running(shard):
        (await streamer.wait_connected()).drop()
        await trio.testing.wait_all_tasks_blocked()
        down_since = stored(harness, LIVE).stream_down_since
        for times in range(2, 5):
            socket = await streamer.wait_connected(times)
            socket.say(frame("ferry-1", times, soc_percent=times))
            await trio.sleep(30)
            socket.drop()
        await streamer.wait_connected(5)
        assert stored(harness, LIVE).stream_down_since == down_since


async def test_a_stream_that_we_stop_is_no_trouble_of_the_provider(
    harness: Harness, shard: Shard, streamer: ScriptedStreamer, autojump_clock: MockClock
) -> None:
    actor = shard.stream(await shard.view())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(shard.ingest.run)
        async with trio.open_nursery() as actors:
            actors.start_soon(actor.run)
            await streamer.wait_connected()
            await trio.sleep(1)
            actors.cancel_scope.cancel()
        await actor.wait_flushed()
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    row = stored(harness, LIVE)
    assert (row.stream_status, row.stream_down_since) == ("closed", None)


async def test_data_of_two_devices_is_noted_now_and_then(
    harness: Harness, shard: Shard, streamer: ScriptedStreamer, autojump_clock: MockClock
) -> None:
    await harness.store.put_provider(streamed(settings={"no_state": True}))
    written = []
    async with running(shard):
        socket = await streamer.wait_connected()
        for second in range(60):
            socket.say(
                frame("ferry-1", second, soc_percent=second),
                frame("ferry-2", second, soc_percent=second),
            )
            await trio.sleep(1)
            written.append(stored(harness, LIVE).data_at)
        row = stored(harness, LIVE)
    assert 5 <= len(set(written)) <= 8
    assert row.data_at is not None
    assert row.other_data_at is not None
    assert (row.data_at - row.other_data_at).total_seconds() <= 1
