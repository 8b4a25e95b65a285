"""The facts that commit with updates, refusals, and the sessions that may commit."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import pytest

from domain.health_facts import ConnectionRecord
from domain.model import (
    ConnectionFact,
    ConnectionFactKind,
    CursorAdvance,
    FaultClass,
    InvalidItem,
    Outcome,
    Ownership,
    Reason,
    Result,
    SessionRef,
)
from ports.ingest import SessionFenced, UnitPoisoned
from storage.unit.rows import ConnectionRow
from tests.statements import named
from tests.storage.contract.cast import HARBOUR, HARBOUR_LEASE, said, slot, submission

if TYPE_CHECKING:
    from datetime import datetime

    from tests.storage.contract.cast import World

SUCCEEDED, FAILED = ConnectionFactKind.CALL_SUCCEEDED, ConnectionFactKind.CALL_FAILED
OPENED, CLOSED = ConnectionFactKind.STREAM_OPENED, ConnectionFactKind.STREAM_CLOSED


def fact(kind: ConnectionFactKind, at: datetime, fault: FaultClass | None = None) -> ConnectionFact:
    return ConnectionFact(HARBOUR, "steady", kind, at, fault, fault and f"{fault} it is")


async def link(world: World) -> ConnectionRecord:
    """Return what is stored of the connection `steady`."""
    (row,) = await world.inside.ask("lock_connections", [HARBOUR], ["steady"])
    facts: dict[str, Any] = ConnectionRow._make(row)._asdict()
    fault = None if facts["fault"] is None else FaultClass(facts["fault"])
    names = [field.name for field in fields(ConnectionRecord)]
    record: dict[str, Any] = {name: facts[name] for name in names}
    return ConnectionRecord(**{**record, "fault": fault})


# --- Beside the updates


async def test_a_cursor_moves_with_the_data_it_covers(world: World) -> None:
    news = world.update("bus-1", world.ago(minutes=3), soc_percent=50.0)
    await world.commit(submission(news, cursor=CursorAdvance(HARBOUR, "steady", "page-7")))
    await world.commit(submission(cursor=CursorAdvance(HARBOUR, "nobody", "page-8")))
    fleet = await world.stores.sessions.load_fleet(HARBOUR)
    assert fleet is not None
    assert fleet.cursors == {"steady": "page-7"}


async def test_a_cycle_ends_with_its_data(world: World) -> None:
    start = await world.start(slot())
    ended_at = await world.end(start, devices=4)
    cycle = await world.cycle(start.cycle_id)
    assert cycle is not None
    assert (cycle.outcome, cycle.ended_at, cycle.summary) == ("completed", ended_at, {"devices": 4})


async def test_a_cycle_that_a_successor_abandoned_stays_abandoned(world: World) -> None:
    start = await world.start(slot())
    successor = await world.begin("shard-2")
    assert len(await world.stores.cycles.abandon_orphans(successor, HARBOUR)) == 1
    await world.end(start)
    assert await world.outcomes() == ["abandoned"]


async def test_a_cycle_is_ended_only_by_the_session_that_runs_it(world: World) -> None:
    await world.end(await world.start(slot(), await world.begin("shard-2")))
    assert await world.outcomes() == ["running"]


async def test_connection_facts_leave_rows_on_their_edges_only(world: World) -> None:
    at = world.now
    outage, quota = FaultClass.OUTAGE, FaultClass.QUOTA
    kinds = [
        (SUCCEEDED, None),
        (SUCCEEDED, None),
        (FAILED, outage),
        (FAILED, outage),
        (FAILED, quota),
    ]
    await world.commit(submission(facts=tuple(fact(kind, at, fault) for kind, fault in kinds)))
    await world.commit(
        submission(facts=(fact(FAILED, at, quota), fact(SUCCEEDED, at), fact(OPENED, at)))
    )
    await world.commit(submission(facts=(fact(OPENED, at), fact(CLOSED, at), fact(CLOSED, at))))
    assert await world.inside.edges() == [
        ("steady", "call_succeeded", None),
        ("steady", "call_failed", "outage"),
        ("steady", "call_failed", "quota"),
        ("steady", "call_succeeded", None),
        ("steady", "stream_opened", None),
        ("steady", "stream_closed", None),
    ]


async def test_a_connection_stores_since_when_and_how_it_fails(
    world: World,
) -> None:
    first, last = world.ago(minutes=5), world.ago(minutes=4)
    failures = (fact(FAILED, first, FaultClass.OUTAGE), fact(FAILED, last, FaultClass.QUOTA))
    await world.commit(submission(facts=failures))
    failing = ConnectionRecord(
        call_status="failed",
        call_begun_at=last,
        call_ended_at=last,
        last_failure_at=last,
        failing_since=first,
        fault=FaultClass.QUOTA,
        fault_detail="quota it is",
    )
    assert await link(world) == failing
    opened, answered = world.ago(minutes=3), world.ago(minutes=2)
    await world.commit(submission(facts=(fact(OPENED, opened), fact(SUCCEEDED, answered))))
    recovered = replace(
        failing,
        call_status="succeeded",
        call_begun_at=answered,
        call_ended_at=answered,
        last_success_at=answered,
        failing_since=None,
        stream_status="open",
        stream_changed_at=opened,
    )
    assert await link(world) == recovered


async def test_facts_of_an_unknown_connection_are_ignored(world: World) -> None:
    stranger = fact(FAILED, world.now)._replace(provider_id="nobody")
    await world.commit(submission(facts=(stranger,)))
    assert await world.inside.edges() == []


async def test_a_statement_moves_forward_only_and_brings_no_news(world: World) -> None:
    later, earlier = world.ago(minutes=1), world.ago(minutes=2)
    for at in (later, earlier):
        await world.commit(submission(statements=(named(HARBOUR, ("bus-1", "bus-77"), at),)))
    facts = await world.device_row("bus-1")
    assert (facts.statement_at, facts.version, facts.last_update_received_at) == (
        later,
        0,
        None,
    )


# --- The ledger


async def test_refusals_of_a_unit_have_one_row_per_device_and_reason(world: World) -> None:
    at = world.ago(minutes=3)
    lie = world.update("tram-1", at, vehicle_id="v-other", soc_percent=50.0)
    await world.commit(submission(lie, lie), submission(lie, lie._replace(device_id="tram-7")))
    rows = await world.stores.reads.list_rejections(HARBOUR, before=None, reason=None, limit=10)
    told = {
        (row.device_id, row.provider_id, row.outcome, row.reason, row.occurrences) for row in rows
    }
    assert told == {
        ("tram-1", "liar", "rejected", "identity_conflict", 3),
        ("tram-7", "liar", "rejected", "unknown_device", 1),
    }
    assert all(b"soc_percent" in (row.sample or b"") and row.trace_id == "trace-1" for row in rows)


async def test_duplicates_are_not_worth_a_row(world: World) -> None:
    update = world.update("bus-1", world.ago(minutes=3), soc_percent=50.0)
    assert await world.send(update, update) == ["accepted", "duplicate"]
    assert (
        await world.stores.reads.list_rejections(HARBOUR, before=None, reason=None, limit=10) == []
    )


async def test_a_malformed_item_is_in_the_ledger_and_its_devices_facts(
    world: World,
) -> None:
    item = InvalidItem(
        HARBOUR, "liar", "x-tram-1", Reason.INVALID, "no time in it", b"\x00\xff" * 4000, 3
    )
    await world.commit(submission(invalid=(item,)))
    (row,) = await world.stores.reads.list_rejections(
        HARBOUR, before=None, reason="invalid", limit=10
    )
    assert (row.external_id, row.occurrences, row.detail, row.sample) == (
        "x-tram-1",
        3,
        "no time in it",
        item.sample[:4096],
    )
    tram = await world.device_row("tram-1")
    assert tram.last_rejection_reason == "invalid"


async def test_a_bad_item_is_no_newer_than_a_good_one_beside_it(world: World) -> None:
    at = world.ago(minutes=3)
    bad = InvalidItem(
        HARBOUR, "steady", None, Reason.INVALID, "no", b"{}", device_id="bus-1", received_at=at
    )
    await world.commit(submission(world.update("bus-1", at, soc_percent=50.0), invalid=(bad,)))
    (row,) = await world.stores.reads.list_rejections(
        HARBOUR, before=None, reason="invalid", limit=10
    )
    assert row.device_id == "bus-1"
    bus = await world.device_row("bus-1")
    assert (bus.last_update_received_at, bus.last_rejected_at, bus.last_rejection_reason) == (
        at,
        at,
        "invalid",
    )


@pytest.mark.parametrize("external_id", ["x bus\u00a07", "x-bus\u200b7"])
async def test_an_external_id_with_what_cannot_be_seen_is_found(
    world: World, external_id: str
) -> None:
    await world.stores.registry.put_devices(
        HARBOUR, [world.draft("bus-7", external_id=external_id)]
    )
    at = world.ago(minutes=3)
    update = world.update("bus-7", at, soc_percent=50.0, device_id=None, external_id=external_id)
    assert await world.send(update) == ["accepted"]


# --- Who may commit


async def test_a_session_that_is_over_commits_nothing(world: World) -> None:
    former = world.session
    await world.begin("shard-1")
    update = world.update("bus-1", world.ago(minutes=3), soc_percent=50.0)
    with pytest.raises(SessionFenced):
        await world.commit(submission(update), session=former)
    with pytest.raises(SessionFenced):
        await world.stores.ingest.quarantine(
            former, 2, submission(update), UnitPoisoned("22021", "NUL")
        )
    with pytest.raises(SessionFenced):
        await world.commit(submission(update), session=SessionRef("shard-77", 1))
    assert (await world.snapshot("bus-1")).version == 0
    assert await world.inside.quarantined() == []


async def test_a_session_that_ended_itself_commits_nothing_more(world: World) -> None:
    await world.stores.sessions.end_session(world.session)
    with pytest.raises(SessionFenced):
        await world.send(world.update("bus-1", world.ago(minutes=3), soc_percent=50.0))
    assert (
        await world.stores.ingest.load_last_unit(world.session) == 0
    )  # the ended session's row still tells it


async def test_data_of_another_epoch_is_fenced_and_the_rest_commits(
    world: World,
) -> None:
    at = world.ago(minutes=3)
    old = Ownership(HARBOUR_LEASE, "shard-1", world.session.epoch - 1, token=1)
    theirs = submission(
        world.update("bus-1", at, soc_percent=50.0),
        ownership=old,
        cursor=CursorAdvance(HARBOUR, "steady", "page-7"),
    )
    foreign = replace(theirs, ownership=old._replace(shard_id="shard-2", epoch=world.session.epoch))
    receipts = await world.commit(
        theirs, foreign, submission(world.update("bus-2", at, soc_percent=50.0))
    )
    results = [[said(result) for result in receipt.results] for receipt in receipts]
    assert results == [["rejected:fenced"], ["rejected:fenced"], ["accepted"]]
    assert [receipt.facts_written for receipt in receipts] == [False, False, True]
    fleet = await world.stores.sessions.load_fleet(HARBOUR)
    assert fleet is not None
    assert fleet.cursors == {}


async def test_each_writer_has_its_own_last_unit_and_its_fence(world: World) -> None:
    ingest, session = world.stores.ingest, world.session
    for writer, number in ((0, 1), (1, 2), (0, 3)):
        (receipt,) = await ingest.commit_unit(session, number, [submission()], None, writer)
        assert receipt.unit == number
    assert [await ingest.load_last_unit(session, writer) for writer in (0, 1, 2)] == [3, 2, 0]
    successor = await world.begin("shard-1")
    for writer in (0, 1):
        with pytest.raises(SessionFenced):
            await ingest.commit_unit(session, 4, [submission()], None, writer)
        assert await ingest.load_last_unit(session, writer) is None
        assert await ingest.load_last_unit(successor, writer) == 0


async def test_a_live_session_knows_its_last_unit(world: World) -> None:
    assert await world.stores.ingest.load_last_unit(world.session) == 0
    await world.commit(submission())
    await world.commit(submission())
    assert await world.stores.ingest.load_last_unit(world.session) == 2
    successor = await world.begin("shard-1")
    assert await world.stores.ingest.load_last_unit(world.session) is None
    assert await world.stores.ingest.load_last_unit(successor) == 0


# --- Poison


async def test_a_unit_with_poison_in_it_writes_nothing_at_all(world: World) -> None:
    good = world.update("bus-1", world.ago(minutes=3), soc_percent=50.0)
    bad = world.update("bus-2", world.ago(minutes=3), soc_percent=50.0, trace_id="a\x00b")
    with pytest.raises(UnitPoisoned) as raised:
        await world.commit(
            submission(good, cursor=CursorAdvance(HARBOUR, "steady", "page-7")), submission(bad)
        )
    assert raised.value.sqlstate == "22021"
    assert (await world.snapshot("bus-1")).version == 0
    assert await world.sequences("bus-1") == []
    assert await world.stores.ingest.load_last_unit(world.session) == 0


@pytest.mark.parametrize(
    ("cursor", "detail", "occurrences", "sqlstate"),
    [
        ("a\x00b", "fine", 1, "22021"),
        ("a\ud800b", "fine", 1, "22000"),
        ("fine", "fine", 0, "23514"),
        ("fine", "a\x00b", 1, None),  # refused samples are made storable
    ],
)
async def test_what_the_database_cannot_hold_is_poison(
    world: World, cursor: str, detail: str, occurrences: int, sqlstate: str | None
) -> None:
    item = InvalidItem(HARBOUR, "liar", None, Reason.INVALID, detail, b"", occurrences)
    suspicious = submission(cursor=CursorAdvance(HARBOUR, "liar", cursor), invalid=(item,))
    if sqlstate is None:
        assert len(await world.commit(suspicious)) == 1
        return
    with pytest.raises(UnitPoisoned) as raised:
        await world.commit(suspicious)
    assert raised.value.sqlstate == sqlstate


async def test_a_nul_inside_a_cycles_summary_is_poison(world: World) -> None:
    start = await world.start(slot())
    with pytest.raises(UnitPoisoned) as raised:
        await world.end(start, error="a\x00b")
    assert raised.value.sqlstate == "22P05"
    await world.end(start, error="a\\u0000b")
    assert await world.outcomes() == ["completed"]


async def test_an_update_that_crashes_the_rule_is_quarantined_alone(world: World) -> None:
    good = world.update("bus-1", world.ago(minutes=3), soc_percent=50.0)
    broken = good._replace(readings=(("not", "a reading"),))  # type: ignore[arg-type]
    assert await world.send(broken, good) == ["quarantined:judge_error", "accepted"]
    ((device_id, reason, sample),) = await world.inside.quarantined()
    assert (device_id, reason) == ("bus-1", "judge_error")
    assert b"not" in sample


async def test_quarantine_keeps_the_updates_and_takes_the_units_number(world: World) -> None:
    bad = world.update("bus-2", world.ago(minutes=3), soc_percent=50.0, trace_id="a\x00b")
    error = UnitPoisoned("22021", "a NUL")
    (receipt,) = await world.stores.ingest.quarantine(world.session, 5, submission(bad, bad), error)
    quarantined = Result(Outcome.QUARANTINED, Reason.DATA_ERROR, detail="22021")
    assert (receipt.unit, receipt.results, receipt.facts_written) == (
        5,
        (quarantined, quarantined),
        False,
    )
    rows = await world.inside.quarantined()
    assert [(device_id, reason) for device_id, reason, _ in rows] == [("bus-2", "data_error")] * 2
    assert all(b"soc_percent" in sample for *_, sample in rows)
    assert await world.stores.ingest.load_last_unit(world.session) == 5
    assert (await world.snapshot("bus-2")).version == 0


async def test_facts_that_the_database_refuses_leave_a_quarantine_row(world: World) -> None:
    facts = submission(cursor=CursorAdvance(HARBOUR, "liar", "a\x00b"))
    (receipt,) = await world.stores.ingest.quarantine(
        world.session, 1, facts, UnitPoisoned("22021", "a NUL")
    )
    assert receipt.results == ()
    ((device_id, reason, sample),) = await world.inside.quarantined()
    assert (device_id, reason) == (None, "data_error")
    assert b"CursorAdvance" in sample
