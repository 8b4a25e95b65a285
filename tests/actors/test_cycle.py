"""One poll cycle: its outcome and its facts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import trio

from actors.connections import Connector
from actors.cycle import MAX_DETAIL_CHARACTERS
from actors.poll_state import PollState
from domain.cycles import CycleOutcome
from domain.model import FaultClass
from domain.resource import workspace_resource
from ports.providers import ProviderFault
from tests.actors.cycling import fill_poll_lane, make_cycle, run_cycle, script
from tests.actors.harness import HARBOUR, LIVE, STEADY, polled, streamed
from tests.actors.instants import GATHERING, at
from tests.actors.polling import ScriptedPoller, page
from tests.actors.scripted import outage, refused, sample

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from trio.testing import MockClock

    from tests.actors.harness import Harness, Shard

    Events = list[MutableMapping[str, Any]]


async def test_a_slow_secret_is_not_blamed_on_the_provider(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)

    async def hang(reference: str) -> str:
        await trio.sleep_forever()

    shard.connector = Connector({"scripted": shard.provider}, hang)
    await harness.store.put_provider(replace(polled(), credential="file:steady"))
    assert await run_cycle(shard, fetch=30) is CycleOutcome.TIMED_OUT
    (row,) = await harness.cycles()
    assert row.summary["connections"] == {STEADY: "not finished within 30 s", LIVE: "ok"}


async def test_a_cycle_that_every_connection_answered_is_completed(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)
    news = page(
        sample("bus-1", 0, soc_percent=10), sample("nobody", 0, soc_percent=1), records=3, ignored=1
    )
    script(shard, steady=ScriptedPoller(2.0, news))
    assert await run_cycle(shard) is CycleOutcome.COMPLETED
    (row,) = await harness.cycles()
    assert (row.outcome, row.started_at) == (CycleOutcome.COMPLETED, at(0))
    assert row.ended_at == at(2 + GATHERING)  # the data waited for that of other workspaces
    summary = dict(row.summary)
    assert summary.pop("collected").keys() == {STEADY, LIVE}
    assert summary == {
        "connections": {STEADY: "ok", LIVE: "ok"},
        "records": 3,
        "updates": 2,
        "outcomes": {"accepted": 1, "rejected": 1},
        "unconfirmed": 0,
        "malformed": 0,
        "superseded": 0,
        "unknown_dropped": 0,
        "device_errors": 0,
        "refused_signals": {},
    }


@pytest.mark.parametrize(
    ("steady", "live", "outcome"),
    [
        (ScriptedPoller(), ScriptedPoller(refused()), CycleOutcome.PARTIAL),
        (ScriptedPoller(*[outage()] * 3), ScriptedPoller(refused()), CycleOutcome.FAILED),
        (ScriptedPoller(*[outage()] * 2), ScriptedPoller(), CycleOutcome.COMPLETED),
        (ScriptedPoller(1000.0), ScriptedPoller(), CycleOutcome.TIMED_OUT),
    ],
    ids=["partial", "failed", "completed after an outage", "timed out"],
)
async def test_the_outcome_says_how_many_connections_answered(
    harness: Harness,
    shard: Shard,
    nursery: trio.Nursery,
    steady: ScriptedPoller,
    live: ScriptedPoller,
    outcome: CycleOutcome,
    autojump_clock: MockClock,
) -> None:
    nursery.start_soon(shard.ingest.run)
    script(shard, steady=steady, live=live)
    assert await run_cycle(shard) is outcome
    assert [row.outcome for row in await harness.cycles()] == [outcome]


async def test_a_workspace_with_nothing_to_poll_is_skipped(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)
    await harness.store.put_provider(polled(active=False))
    await harness.store.put_provider(streamed(settings={"no_state": True}))
    assert await run_cycle(shard) is CycleOutcome.SKIPPED
    (row,) = await harness.cycles()
    assert (row.summary["connections"], row.summary["switched_off"]) == ({}, [STEADY])


async def test_each_failure_is_a_fact_of_its_own_class(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)
    quota = ProviderFault(FaultClass.QUOTA, "429")
    script(shard, steady=ScriptedPoller(quota), live=ScriptedPoller(refused()))
    await run_cycle(shard)
    assert sorted(harness.edges()) == [
        (LIVE, "call_failed", "credentials"),
        (STEADY, "call_failed", "quota"),
    ]


async def test_the_text_of_a_failure_is_bounded(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)
    script(shard, steady=ScriptedPoller(ProviderFault(FaultClass.QUOTA, "x" * 10_000)))
    await run_cycle(shard)
    (detail,) = [
        event.detail
        for _, event in harness.store.tables.connection_events.items()
        if event.kind == "call_failed"
    ]
    (row,) = await harness.cycles()
    assert detail == "x" * MAX_DETAIL_CHARACTERS
    assert len(row.summary["connections"][STEADY]) == MAX_DETAIL_CHARACTERS


async def test_a_malformed_answer_is_counted_and_logged_once(
    harness: Harness, shard: Shard, nursery: trio.Nursery, events: Events, autojump_clock: MockClock
) -> None:
    """Each answer is counted in the ledger; the log tells only the begin and the end."""
    nursery.start_soon(shard.ingest.run)
    fault = ProviderFault(FaultClass.PROTOCOL, "the answer is not JSON", unreadable=True)
    script(shard, steady=ScriptedPoller(fault, fault, page()))
    state = PollState({})
    for number in range(3):
        await run_cycle(shard, number, state)
    await trio.sleep(61)  # the second answer is counted up within a minute
    rows = await harness.store.list_rejections(HARBOUR, before=None, reason=None, limit=9)
    assert [(row.provider_id, row.detail, row.occurrences) for row in rows] == [
        (STEADY, "malformed answer: the answer is not JSON", 2)
    ]
    assert {row.sample for row in rows} == {None}  # its body is not kept
    assert [row.summary["malformed"] for row in await harness.cycles()] == [1, 1, 0]
    edges = [event for event in events if str(event["event"]).startswith("provider_call_")]
    assert [(event["event"], event["provider_id"]) for event in edges] == [
        ("provider_call_failed", STEADY),
        ("provider_call_recovered", STEADY),
    ]


async def test_a_misconfigured_connection_fails_alone(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)
    await harness.store.put_provider(polled(settings={"broken": True}))
    assert await run_cycle(shard) is CycleOutcome.PARTIAL
    assert (STEADY, "call_failed", "configuration") in harness.edges()


async def test_the_deadline_keeps_arrived_data_and_blames_the_silent(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)
    first = page(sample("bus-1", 0, soc_percent=10), next_page="two", cursor="c-1")
    script(shard, steady=ScriptedPoller(first, 1000.0))
    assert await run_cycle(shard) is CycleOutcome.TIMED_OUT
    assert trio.current_time() == pytest.approx(240 + GATHERING)
    assert await harness.values("bus-1") == {"soc_percent": 10}
    assert (STEADY, "call_failed", "outage") in harness.edges()
    assert (await harness.cycles())[0].summary["connections"] == {
        STEADY: "no complete answer within 240 s",
        LIVE: "ok",
    }


async def test_a_deadline_missed_by_our_own_ingest_blames_no_provider(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """The lane is full, and the provider had answered."""
    cycle = await make_cycle(shard)
    fill_poll_lane(shard)
    script(shard, steady=ScriptedPoller(page(sample("bus-1", 0, soc_percent=10))))
    nursery.start_soon(cycle.run, 100.0, 10.0)
    await trio.sleep(150)
    nursery.start_soon(shard.ingest.run)
    await trio.sleep(30)
    assert [row.outcome for row in await harness.cycles()] == [CycleOutcome.TIMED_OUT]
    assert [kind for _, kind, _ in harness.edges() if kind == "call_failed"] == []


async def test_pages_that_come_until_the_deadline_are_no_outage(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """There was more than fits into a cycle. The provider answers."""
    nursery.start_soon(shard.ingest.run)
    pages = [page(sample("bus-1", n, soc_percent=n), next_page=f"page-{n}") for n in range(1, 10)]
    script(shard, steady=ScriptedPoller(*[part for one in pages for part in (45.0, one)]))
    assert await run_cycle(shard) is CycleOutcome.TIMED_OUT
    succeeded = [(LIVE, "call_succeeded", None), (STEADY, "call_succeeded", None)]
    assert sorted(harness.edges()) == succeeded


async def test_a_call_that_waited_for_its_turn_is_our_own(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Our own limits held it back, so the provider was never asked."""
    nursery.start_soon(shard.ingest.run)
    poller = ScriptedPoller(1000.0)
    poller.is_queued = True
    script(shard, steady=poller)
    assert await run_cycle(shard) is CycleOutcome.TIMED_OUT
    row = harness.store.tables.connection_state.get((HARBOUR, STEADY))
    assert row is not None
    assert (row.call_status, row.not_asked_at) == (None, at(240))


async def test_a_short_cycle_of_ours_blames_nobody(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """The first one after our own outage has little time left in its slot."""
    nursery.start_soon(shard.ingest.run)
    script(shard, steady=ScriptedPoller(1000.0))
    assert await run_cycle(shard, fetch=29) is CycleOutcome.TIMED_OUT
    assert [kind for _, kind, _ in harness.edges()] == ["call_succeeded"]


async def test_retry_after_holds_over_several_cycles(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)
    poller = ScriptedPoller(outage(retry_after=700.0))
    script(shard, steady=poller)
    state = PollState({})
    outcomes = []
    for number in range(4):
        await trio.sleep(max(0.0, number * 300 - trio.current_time()))
        outcomes.append(await run_cycle(shard, number, state))
    assert [call.at for call in poller.calls] == [0, 900]
    assert outcomes == [CycleOutcome.PARTIAL] * 3 + [CycleOutcome.COMPLETED]
    rows = await harness.cycles()
    assert rows[1].summary["connections"][STEADY] == "waiting 400 s: the provider asked for it"


async def test_a_cancelled_cycle_is_abandoned_and_keeps_its_data(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)
    script(
        shard,
        steady=ScriptedPoller(page(sample("bus-1", 0, soc_percent=10), next_page="two"), 500.0),
    )
    cycle = await make_cycle(shard)
    with trio.move_on_after(10):
        await cycle.run(240, 30)
    await shard.ingest.wait_until_judged(workspace_resource(HARBOUR))
    (row,) = await harness.cycles()
    assert (row.outcome, row.ended_at) == (CycleOutcome.ABANDONED, at(10))
    assert await harness.values("bus-1") == {"soc_percent": 10}
    assert [kind for _, kind, _ in harness.edges() if kind == "call_failed"] == []


async def test_a_bug_abandons_the_cycle_and_is_raised(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)
    poller = ScriptedPoller()
    poller.script.append(ZeroDivisionError("a bug"))
    script(shard, steady=poller)
    cycle = await make_cycle(shard)
    with pytest.raises(ExceptionGroup) as raised:
        await cycle.run(240, 30)
    assert raised.group_contains(ZeroDivisionError)
    await shard.ingest.wait_until_judged(workspace_resource(HARBOUR))
    assert [row.outcome for row in await harness.cycles()] == [CycleOutcome.ABANDONED]


async def test_an_end_that_finds_no_room_waits_for_it(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Without its row the cycle would look unfinished for ever."""
    script(shard, steady=ScriptedPoller(), live=ScriptedPoller())
    cycle = await make_cycle(shard)
    fill_poll_lane(shard)
    nursery.start_soon(cycle.run, 10.0, 10.0)
    await trio.sleep(100)
    nursery.start_soon(shard.ingest.run)
    await trio.sleep(1)
    assert [row.outcome for row in await harness.cycles()] == [CycleOutcome.TIMED_OUT]


async def test_one_trace_id_follows_a_cycle_from_start_to_outcome(
    shard: Shard, nursery: trio.Nursery, events: Events, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)
    await shard.harness.store.put_provider(streamed(settings={"no_state": True}))
    script(
        shard,
        steady=ScriptedPoller(
            page(sample("bus-1", 0, soc_percent=10), sample("nobody", 0, soc_percent=1))
        ),
    )
    await run_cycle(shard)
    steps = [event for event in events if event.get("trace_id") == "trace-c"]
    assert [step["event"] for step in steps] == [
        "workspace_poll_cycle_triggered",
        "telematics_provider_message_received",
        "telematics_ingress_payload_prepared",
        "telematics_update_accepted",
        "telematics_update_rejected",
        "workspace_poll_ingest_completed",
    ]
    assert steps[4]["reasons"] == {"unknown_device": 1}
    assert steps[5]["outcome"] == "completed"
