"""The unit as a dialogue, without a database: its statements, their order, and its answers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from domain.cycles import CycleEnd, CycleKey, CycleOutcome, CycleTrigger
from domain.model import (
    CanonicalUpdate,
    ConnectionFact,
    ConnectionFactKind,
    CursorAdvance,
    InvalidItem,
    Ownership,
    Reading,
    Reason,
    SessionRef,
    Submission,
)
from domain.resource import workspace_resource
from ports.ingest import SessionFenced, UnitPoisoned
from storage.unit.devices import VersionMismatch
from storage.unit.dialogue import UnitNumber, ingest_unit, quarantine_unit
from storage.unit.rows import ConnectionRow
from storage.unit.steps import Copy
from tests.statements import named
from tests.storage.device_rows import device_row, reread_row
from tests.storage.fixtures import PROVIDER, WORKSPACE, said, submission
from tests.storage.statement_columns import columns_taken, unnested

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
SESSION = SessionRef("shard-1", 7)
REFUSAL = ("write_device_states", "last_rejected_at", "last_rejection_reason")


def update(device_id: str | None = "bus-1", soc: float = 50.0, **rest: Any) -> CanonicalUpdate:
    readings = (Reading("soc_percent", soc, NOON),)
    return CanonicalUpdate(
        WORKSPACE, PROVIDER, device_id, None, None, readings, NOON, "trace-1"
    )._replace(**rest)


class Dialogue:
    """Plays the database, and keeps what was said.

    Answers each statement from `answers`, or with a plausible default.
    """

    def __init__(self, **answers: list[tuple[Any, ...]]) -> None:
        self.answers = {
            "fence": [(NOON,)],
            "lock_devices": [device_row()],
            "count_devices": [(NOON, 3, 2, 1)],
            **answers,
        }
        self.said: dict[str, tuple[Any, ...]] = {}
        self.copied: dict[str, list[dict[str, Any]]] = {}  # rows by the names of their columns

    def sent(self, statement: str, *columns: str) -> tuple[Any, ...]:
        """Return these columns of the rows that a statement was given."""
        if statement in self.copied:
            return tuple([row[column] for row in self.copied[statement]] for column in columns)
        given = dict(zip(columns_taken(statement), self.said[statement], strict=False))
        arrays = {name: arg for name, arg in given.items() if isinstance(arg, list)}
        whole = zip(*unnested(arrays.values()), strict=True)
        given |= zip(arrays, map(list, whole), strict=True)
        return tuple(given[column] for column in columns)

    def run(self, *submissions: Submission) -> list[list[str]]:
        """Run a unit, and return the results of each submission as words."""
        unit = ingest_unit(SESSION, UnitNumber(0, 3), submissions)
        rows: Any = None
        try:
            while True:
                statement = unit.send(rows)
                name, args = statement
                assert name not in self.said
                self.said[name] = args
                if isinstance(statement, Copy):
                    names, columns = args
                    rows = zip(*columns, strict=True)
                    self.copied[name] = [dict(zip(names, row, strict=True)) for row in rows]
                rows = self.answers[name] if name in self.answers else self._answer(name)
        except StopIteration as end:
            return [[said(result) for result in receipt.results] for receipt in end.value]

    def _answer(self, name: str) -> list[tuple[Any, ...]]:
        """Return the answer to a statement that wrote every row it was given."""
        if name == "append_rejections":
            return list(zip(*self.sent(name, "workspace_id", "digest"), strict=True))
        if not name.startswith("write_"):
            return []
        return [(max(len(arg) for arg in self.said[name] if isinstance(arg, list)), NOON)]


def test_an_accepted_update_takes_five_statements_in_order() -> None:
    dialogue = Dialogue()
    assert dialogue.run(submission(update())) == [["accepted"]]
    assert list(dialogue.said) == [
        "fence",
        "lock_devices",
        "write_device_states",
        "write_snapshots",
        "append_events",
    ]
    assert dialogue.said["fence"] == ("shard-1", 7, 0, 3)


def everything() -> Submission:
    key = CycleKey(WORKSPACE, NOON, CycleTrigger.SCHEDULE, 1)
    return submission(
        update(),
        update(None, external_id="unknown"),
        cursor=CursorAdvance(WORKSPACE, PROVIDER, "42"),
        facts=(ConnectionFact(WORKSPACE, PROVIDER, ConnectionFactKind.CALL_SUCCEEDED, NOON),),
        cycle=CycleEnd(key, "cycle-1", NOON, CycleOutcome.COMPLETED, {}),
        statements=(named(WORKSPACE, ("bus-1",), NOON),),
    )


def test_a_unit_with_everything_keeps_the_fixed_order() -> None:
    dialogue = Dialogue(lock_connections=[ConnectionRow(WORKSPACE, PROVIDER)])
    dialogue.run(everything())
    assert list(dialogue.said) == [
        "fence",
        "resolve_external_ids",
        "lock_devices",
        "write_device_states",
        "append_device_events",
        "write_snapshots",
        "append_events",
        "lock_connections",
        "write_connections",
        "append_connection_events",
        "count_devices",
        "end_cycles",
        "append_rejections",
    ]


def test_a_statement_gets_an_array_for_each_of_its_columns() -> None:
    dialogue = Dialogue(lock_connections=[ConnectionRow(WORKSPACE, PROVIDER)])
    dialogue.run(everything())
    said = {name: args for name, args in dialogue.said.items() if name not in dialogue.copied}
    sent = {
        name: len([arg for arg in args if isinstance(arg, list)]) for name, args in said.items()
    }
    of_the_session = {"shard_id", "epoch"}  # the only parameters that are no arrays
    taken = {name: columns_taken(name) for name in said}
    assert sent == {
        name: len([column for column in columns if column not in of_the_session])
        for name, columns in taken.items()
    }
    assert sent["write_device_states"] == 16


def test_a_submission_of_nothing_costs_the_fence_alone() -> None:
    dialogue = Dialogue()
    assert dialogue.run(submission()) == [[]]
    assert list(dialogue.said) == ["fence"]


def test_a_session_that_is_not_live_writes_nothing() -> None:
    dialogue = Dialogue(fence=[])
    with pytest.raises(SessionFenced):
        dialogue.run(submission(update()))
    assert list(dialogue.said) == ["fence"]


def test_devices_are_locked_in_key_order_and_once_each() -> None:
    dialogue = Dialogue(lock_devices=[device_row("bus-1"), device_row("bus-2")])
    dialogue.run(submission(update("bus-2"), update("bus-1")), submission(update("bus-2", 60.0)))
    assert dialogue.said["lock_devices"] == ([WORKSPACE], ["bus-1", "bus-2"], [])


def test_devices_of_statements_are_locked_without_documents() -> None:
    statement = named(WORKSPACE, ("bus-2", "bus-1"), NOON)
    dialogue = Dialogue(lock_devices=[device_row("bus-1"), device_row("bus-2")])
    dialogue.run(submission(update("bus-2"), statements=(statement,)))
    assert dialogue.said["lock_devices"] == ([WORKSPACE], ["bus-1", "bus-2"], [False, True])


def test_an_update_and_a_statement_make_one_row_version() -> None:
    dialogue = Dialogue()
    dialogue.run(submission(update(), statements=(named(WORKSPACE, ("bus-1",), NOON),)))
    assert dialogue.sent(
        "write_device_states", "device_id", "version", "statement", "statement_at"
    ) == (["bus-1"], [1], ["named"], [NOON])


def test_updates_of_a_device_make_a_snapshot_and_an_event_each() -> None:
    later = update(readings=(Reading("soc_percent", 51.0, NOON + timedelta(seconds=1)),))
    dialogue = Dialogue()
    assert dialogue.run(submission(update(), later)) == [["accepted", "accepted"]]
    assert dialogue.sent("write_snapshots", "old_version", "version", "document") == (
        [0],
        [2],
        ['{"soc_percent":[51.0,1777636801000000,-1000000,null,-1000000]}'],
    )
    assert dialogue.sent("append_events", "sequence") == ([1, 2],)


@pytest.mark.parametrize("owner", [("shard-1", 6), ("shard-2", 7)])
def test_updates_of_another_epoch_are_fenced_and_others_commit(
    owner: tuple[str, int],
) -> None:
    stale = submission(
        update(),
        ownership=Ownership(workspace_resource("harbour"), *owner, 1),
        cursor=CursorAdvance(WORKSPACE, PROVIDER, "42"),
    )
    dialogue = Dialogue()
    assert dialogue.run(stale, submission(update(soc=60.0))) == [["rejected:fenced"], ["accepted"]]
    assert "lock_connections" not in dialogue.said  # the cursor was not for it to move
    assert dialogue.sent("append_rejections", "reason") == (["fenced"],)


def test_duplicates_are_counted_and_stay_out_of_the_ledger() -> None:
    dialogue = Dialogue()
    assert dialogue.run(submission(update(), update())) == [["accepted", "duplicate"]]
    assert "append_rejections" not in dialogue.said


def test_the_ledger_has_a_row_for_each_device_and_reason() -> None:
    stranger = update(None, external_id="x-nobody")
    dialogue = Dialogue(lock_devices=[])
    dialogue.run(submission(stranger, stranger, update(None, external_id="x-other")))
    columns = ("external_id", "outcome", "reason", "detail", "occurrences")
    rows = zip(*dialogue.sent("append_rejections", *columns), strict=True)
    assert sorted(rows) == [
        ("x-nobody", "rejected", "unknown_device", None, 2),
        ("x-other", "rejected", "unknown_device", None, 1),
    ]
    ((sample, _),) = dialogue.sent("append_rejections", "sample")
    assert sample.startswith(b'{"workspace_id":"harbour"')


def test_a_row_written_while_the_unit_waited_is_read_again() -> None:
    document = '{"soc_percent": [90.0, "2026-05-01T13:00:00Z"]}'
    dialogue = Dialogue(
        lock_devices=[device_row(version=4, snapshot_version=3)],
        reread_devices=[reread_row(4, document)],
    )
    assert dialogue.run(submission(update())) == [["stale"]]


def test_a_snapshot_whose_version_differs_from_its_state_aborts() -> None:
    dialogue = Dialogue(
        lock_devices=[device_row(version=4, snapshot_version=3)],
        reread_devices=[reread_row(5, "{}")],
    )
    with pytest.raises(VersionMismatch, match=r"bus-1 are at \(5, 1\), its state at \(4, 1\)"):
        dialogue.run(submission(update()))


def test_items_of_another_epoch_are_recorded_and_mark_no_device() -> None:
    owner = Ownership(workspace_resource("harbour"), "shard-1", 6, 1)
    dialogue = Dialogue()
    dialogue.run(submission(ownership=owner, invalid=(bad_item(),)))
    assert list(dialogue.said) == ["fence", "append_rejections"]
    assert dialogue.said["append_rejections"][3] == ["bus-1"]


def test_a_version_that_moved_under_the_lock_aborts_the_unit() -> None:
    with pytest.raises(VersionMismatch, match="device_state"):
        Dialogue(write_device_states=[(0,)]).run(submission(update()))


def test_a_bug_in_the_rule_quarantines_that_update_and_no_other() -> None:
    broken = update("bus-1", readings=(None,))  # no reading that the rule can read
    dialogue = Dialogue()
    assert dialogue.run(submission(broken, update())) == [["quarantined:judge_error", "accepted"]]
    (reasons, (detail,)) = dialogue.sent("append_quarantine", "reason", "detail")
    assert reasons == ["judge_error"]
    assert "AttributeError" in detail


def test_a_replay_on_which_the_rule_crashes_leaves_no_second_row() -> None:
    dialogue = Dialogue()
    again = submission(update("bus-1", readings=(None,)), is_replay=True)
    assert dialogue.run(again) == [["quarantined:judge_error"]]
    assert "append_quarantine" not in dialogue.said


@pytest.mark.parametrize("name", ["bus\x00", "bus\ud800"])
def test_a_name_that_no_query_can_carry_is_an_unknown_device(
    name: str,
) -> None:
    dialogue = Dialogue(lock_devices=[device_row()])
    results = dialogue.run(submission(update(name), update(None, external_id=name), update()))
    assert results == [["rejected:unknown_device", "rejected:unknown_device", "accepted"]]
    assert dialogue.sent("lock_devices", "device_id") == (["bus-1"],)
    (kept,) = dialogue.sent("append_rejections", "device_id")
    assert all(text is None or ("\x00" not in text and text.encode()) for text in kept)


def test_a_readable_name_stands_in_the_ledger_as_it_was_sent() -> None:
    dialogue = Dialogue()
    dialogue.run(submission(update("Überlandbus 7, Zürich")))
    assert dialogue.sent("append_rejections", "device_id") == (["Überlandbus 7, Zürich"],)


@pytest.mark.parametrize("name", ["bus\u00a01", "bus\u200b1", "bus\n1"])
def test_a_name_that_cannot_be_seen_is_a_name_all_the_same(name: str) -> None:
    dialogue = Dialogue(resolve_external_ids=[(WORKSPACE, PROVIDER, name, "bus-1")])
    assert dialogue.run(submission(update(None, external_id=name)))[0] != [
        "rejected:unknown_device"
    ]
    assert dialogue.sent("resolve_external_ids", "external_id") == ([name],)


def test_a_malformed_frame_marks_the_device_that_sent_it() -> None:
    item = InvalidItem(
        WORKSPACE, PROVIDER, "x-bus-1", Reason.INVALID, "not JSON", b"{" * 9000, occurrences=3
    )
    dialogue = Dialogue(resolve_external_ids=[(WORKSPACE, PROVIDER, "x-bus-1", "bus-1")])
    dialogue.run(submission(invalid=(item,)))
    assert dialogue.sent(*REFUSAL) == ([NOON], ["invalid"])
    device_ids, external_ids, occurrences, (sample,) = dialogue.sent(
        "append_rejections", "device_id", "external_id", "occurrences", "sample"
    )
    assert (device_ids, external_ids, occurrences) == (["bus-1"], ["x-bus-1"], [3])
    assert len(sample) == 4096


def bad_item(**rest: Any) -> InvalidItem:
    return InvalidItem(
        WORKSPACE, PROVIDER, None, Reason.INVALID, "no value", b"{}", device_id="bus-1"
    )._replace(**rest)


def test_a_refused_item_marks_its_device_with_its_arrival() -> None:
    dialogue, received_at = Dialogue(), NOON - timedelta(seconds=3)
    dialogue.run(submission(invalid=(bad_item(received_at=received_at),)))
    assert dialogue.sent(*REFUSAL) == ([received_at], ["invalid"])
    assert dialogue.sent("append_rejections", "device_id") == (["bus-1"],)


def test_an_earlier_refusal_does_not_move_the_last_one_back() -> None:
    earlier = bad_item(received_at=NOON - timedelta(seconds=9), reason=Reason.DATA_ERROR)
    dialogue = Dialogue()
    dialogue.run(submission(invalid=(bad_item(received_at=NOON), earlier)))
    assert dialogue.sent(*REFUSAL) == ([NOON], ["invalid"])


def test_what_names_a_retired_device_marks_nothing() -> None:
    dialogue = Dialogue(lock_devices=[device_row(active=False)])
    dialogue.run(submission(invalid=(bad_item(),)))
    assert list(dialogue.said) == ["fence", "lock_devices", "append_rejections"]


def test_a_summary_that_json_cannot_hold_is_poison() -> None:
    key = CycleKey(WORKSPACE, NOON, CycleTrigger.SCHEDULE, 1)
    with pytest.raises(UnitPoisoned):
        Dialogue().run(
            submission(cycle=CycleEnd(key, "cycle-1", NOON, CycleOutcome.COMPLETED, {"n": 2**70}))
        )


def test_quarantine_keeps_each_update_as_a_row_under_the_fence() -> None:
    unit = quarantine_unit(
        SESSION,
        UnitNumber(1, 4),
        submission(update(), update("bus-2")),
        UnitPoisoned("22P05", "NUL"),
    )
    assert next(unit) == ("fence", ("shard-1", 7, 1, 4))
    name, args = unit.send([(NOON,)])
    arrays = dict(zip(columns_taken(name), args, strict=True))
    assert name == "append_quarantine"
    assert arrays["device_id"] == ["bus-1", "bus-2"]
    assert arrays["reason"] == ["data_error"] * 2
    with pytest.raises(StopIteration) as end:
        unit.send([])
    assert [said(result) for result in end.value.value[0].results] == ["quarantined:data_error"] * 2


def test_facts_that_are_poison_by_themselves_leave_a_row_too() -> None:
    facts = submission(cursor=CursorAdvance(WORKSPACE, PROVIDER, "\x00"))
    unit = quarantine_unit(SESSION, UnitNumber(0, 4), facts, UnitPoisoned("22021", "NUL"))
    next(unit)
    name, args = unit.send([(NOON,)])
    assert (name, dict(zip(columns_taken(name), args, strict=True))["workspace_id"]) == (
        "append_quarantine",
        [WORKSPACE],
    )
