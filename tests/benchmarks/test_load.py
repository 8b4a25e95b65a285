"""The update benchmark's load and its model."""

from __future__ import annotations

from benchmarks.load import BEGAN_MS, Event, Load, expect

LOAD = Load(updates=2_000, devices=100)


def test_every_update_has_one_outcome_and_every_kind_occurs() -> None:
    outcomes = expect(LOAD).outcomes
    assert sum(outcomes.values()) == LOAD.updates
    assert outcomes.keys() == {"accepted", "duplicate", "stale", "conflict"}
    assert outcomes["accepted"] > 0.9 * LOAD.updates


def test_sequences_count_accepted_updates_of_each_device() -> None:
    expected = expect(LOAD)
    for history in expected.events.values():
        assert [event.sequence for event in history] == list(range(1, len(history) + 1))
    assert sum(map(len, expected.events.values())) == expected.outcomes["accepted"]


def test_a_partial_update_leaves_only_what_advanced() -> None:
    sizes = {len(event.readings) for history in expect(LOAD).events.values() for event in history}
    assert sizes == {3, 5}


def test_the_first_update_of_a_device_holds_all_its_readings() -> None:
    load = Load(updates=3, devices=1)
    first = load.make()[0]
    readings = {name: (value, at) for name, value, at in first.readings}
    assert expect(load).events["bus_00000"][0] == Event(1, readings)
    assert {at for _, at in readings.values()} == {BEGAN_MS}


def test_what_comes_after_the_end_would_be_news() -> None:
    documents = expect(LOAD).documents
    for update in LOAD.after_the_end():
        assert all(at > documents[update.device_id][name][1] for name, _, at in update.readings)
