"""What the flags of a cutover do to poll cycles and streams."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio

from actors.runner import WorkspaceRunner
from domain.asking import LEGACY_COLLECTS
from domain.cutover import Cutover, PollOwner, ProviderMode, ReadOwner
from domain.cycles import CycleOutcome
from domain.resource import workspace_resource
from ports.cutovers import new_draft
from tests.actors.cycling import make_cycle, run_cycle, script
from tests.actors.harness import FERRIES, HARBOUR, LIVE, STEADY, polled, streamed, until
from tests.actors.polling import ScriptedPoller, page
from tests.actors.scripted import frame, sample
from tests.legacy.scripted import CONFIGURATION

if TYPE_CHECKING:
    from trio.testing import MockClock

    from ports.sessions import Fleet
    from tests.actors.harness import Harness, Shard

LEGACY = Cutover(poll_owner=PollOwner.LEGACY, read_owner=ReadOwner.LEGACY)
SHADOW = Cutover(poll_owner=PollOwner.BOTH_SHADOW, read_owner=ReadOwner.LEGACY)


async def set_flags(harness: Harness, flags: Cutover) -> None:
    draft = new_draft(flags)._replace(legacy=CONFIGURATION)
    await harness.store.put_cutover(HARBOUR, draft=draft)


async def load(harness: Harness) -> Fleet:
    fleet = await harness.store.load_fleet(HARBOUR)
    assert fleet is not None
    return fleet


async def test_a_cycle_is_skipped_while_the_legacy_system_collects(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)
    steady, live = ScriptedPoller(), ScriptedPoller()
    script(shard, steady=steady, live=live)
    await set_flags(harness, LEGACY)
    assert await run_cycle(shard) is CycleOutcome.SKIPPED
    assert (steady.calls, live.calls, harness.edges()) == ([], [], [])
    (row,) = await harness.cycles()
    assert (row.outcome, row.summary["skipped"]) == (CycleOutcome.SKIPPED, LEGACY_COLLECTS)
    assert {"switched_off", "left_out"}.isdisjoint(row.summary)


async def test_in_shadow_a_cycle_collects(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)
    await set_flags(harness, SHADOW)
    assert await run_cycle(shard) is CycleOutcome.COMPLETED
    (row,) = await harness.cycles()
    assert {"skipped", "left_out"}.isdisjoint(row.summary)


@pytest.mark.parametrize(
    ("mode", "asked", "left_out"),
    [
        (
            ProviderMode.LEGACY_PROVIDER,
            {STEADY},
            {LIVE: "the connection is simulated, and provider_mode is legacy_provider"},
        ),
        (
            ProviderMode.DEPOT_SIM,
            {LIVE},
            {STEADY: "the connection is real, and provider_mode is depot_sim"},
        ),
        (ProviderMode.MIXED, {STEADY, LIVE}, None),
    ],
)
async def test_the_provider_mode_picks_the_connections_of_a_cycle(
    harness: Harness,
    shard: Shard,
    nursery: trio.Nursery,
    mode: ProviderMode,
    asked: set[str],
    left_out: dict[str, str] | None,
    autojump_clock: MockClock,
) -> None:
    nursery.start_soon(shard.ingest.run)
    await harness.store.put_provider(streamed(simulated=True))
    await set_flags(harness, Cutover(provider_mode=mode))
    assert await run_cycle(shard) is CycleOutcome.COMPLETED
    (row,) = await harness.cycles()
    assert row.summary["connections"] == dict.fromkeys(sorted(asked, reverse=True), "ok")
    assert row.summary.get("left_out") == left_out


async def test_a_cycle_in_flight_ends_under_the_flags_it_began_with(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)
    steady = ScriptedPoller(10.0, page(sample("bus-1", 0, soc_percent=10)))
    script(shard, steady=steady)
    cycle = await make_cycle(shard)
    outcomes: list[CycleOutcome] = []

    async def run() -> None:
        outcomes.append(await cycle.run(240, 30))

    async with trio.open_nursery() as running:
        running.start_soon(run)
        await until(lambda: bool(steady.calls))
        await set_flags(harness, LEGACY)
        cycle._view.replace(await load(harness))
    await shard.ingest.wait_until_judged(workspace_resource(HARBOUR))
    assert outcomes == [CycleOutcome.COMPLETED]
    assert await harness.values("bus-1") == {"soc_percent": 10}
    (row,) = await harness.cycles()
    assert row.summary["connections"] == {STEADY: "ok", LIVE: "ok"}
    assert "skipped" not in row.summary
    assert await run_cycle(shard, 1) is CycleOutcome.SKIPPED


async def test_a_cut_cycle_says_whom_it_did_not_ask_whatever_flags_say(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Its facts are those of its own connections, though none is asked by now."""
    nursery.start_soon(shard.ingest.run)
    steady = ScriptedPoller(1000.0)
    steady.is_queued = True
    script(shard, steady=steady)
    cycle = await make_cycle(shard)
    async with trio.open_nursery() as running:
        running.start_soon(cycle.run, 30, 30)
        await until(lambda: bool(steady.calls))
        await set_flags(harness, LEGACY)
        cycle._view.replace(await load(harness))
    await shard.ingest.wait_until_judged(workspace_resource(HARBOUR))
    assert (STEADY, "cycle_not_asked", None) in harness.edges()


# --- Streams


async def test_streams_close_for_the_legacy_system_and_open_again(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)
    runner = WorkspaceRunner(harness.store, shard.tools, window_seconds=1.0)
    async with runner.open():
        await runner.start(shard.session, 1, await load(harness))
        await until(lambda: LIVE in shard.provider.streamers)
        streamer = shard.provider.streamers[LIVE]
        await streamer.wait_connected()
        streamer.sockets[0].say(frame(FERRIES[0], 2, speed_kmh=20))
        await until(lambda: streamer.sockets[0].received == 1)
        await set_flags(harness, LEGACY)
        await runner.follow(await load(harness))
        assert runner.statistics().workspaces[HARBOUR].streams == {}
        await shard.ingest.wait_until_judged(workspace_resource(HARBOUR))
        assert await harness.values(FERRIES[0]) == {"speed_kmh": 20}  # what it held is stored
        assert harness.edges()[-1] == (LIVE, "stream_closed", None)
        await trio.sleep(600)
        assert len(streamer.attempts) == 1
        await set_flags(harness, SHADOW)
        await runner.follow(await load(harness))
        await until(lambda: len(shard.provider.streamers[LIVE].attempts) > 1)
        assert set(runner.statistics().workspaces[HARBOUR].streams) == {LIVE}
        nursery.cancel_scope.cancel()


async def test_the_provider_mode_closes_streams_that_it_leaves_out(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)
    runner = WorkspaceRunner(harness.store, shard.tools, window_seconds=1.0)
    async with runner.open():
        await runner.start(shard.session, 1, await load(harness))
        for mode, streams in ((ProviderMode.DEPOT_SIM, set()), (ProviderMode.MIXED, {LIVE})):
            await set_flags(harness, Cutover(provider_mode=mode))
            await runner.follow(await load(harness))
            assert set(runner.statistics().workspaces[HARBOUR].streams) == streams
        nursery.cancel_scope.cancel()


async def test_a_change_of_other_flags_leaves_an_open_stream_alone(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)
    runner = WorkspaceRunner(harness.store, shard.tools, window_seconds=1.0)
    async with runner.open():
        await runner.start(shard.session, 1, await load(harness))
        await until(lambda: LIVE in shard.provider.streamers)
        streamer = shard.provider.streamers[LIVE]
        await streamer.wait_connected()
        for flags in (SHADOW, replace(SHADOW, read_owner=ReadOwner.CORE), Cutover()):
            await set_flags(harness, flags)
            await runner.follow(await load(harness))
        await trio.sleep(5)
        assert len(streamer.attempts) == 1
        nursery.cancel_scope.cancel()


async def test_only_what_is_asked_is_looked_at_for_silence(
    harness: Harness, shard: Shard, autojump_clock: MockClock
) -> None:
    assert set((await shard.view()).stale_limits()) == {STEADY, LIVE}
    await set_flags(harness, LEGACY)
    view = await shard.view()
    assert view.stale_limits() == {}
    assert view.fleet.connections == (streamed(), polled())
    assert [one.active for one in view.connections] == [False, False]
