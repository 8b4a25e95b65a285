"""The checker of histories finds each kind of damage to a good history, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.processes.history import (
    Acknowledged,
    DeviceRow,
    Event,
    Generation,
    Logged,
    find_faults,
    find_miscounted,
    find_unlogged,
    find_unstored,
)

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def event(
    sequence: int, trace_id: str, *, epoch: int = 1, seconds: float | None = None, soc: float = 0.0
) -> Event:
    moment = at(sequence if seconds is None else seconds)
    return Event(
        "oldtown", "bus_1", sequence, at(sequence), epoch, trace_id, {"soc_percent": (soc, moment)}
    )


def row(state: int, snapshot: int, soc: float, seconds: float) -> DeviceRow:
    return DeviceRow("oldtown", "bus_1", state, snapshot, {"soc_percent": (soc, at(seconds))})


GOOD = [event(1, "a", soc=80.0), event(2, "b", soc=79.0), event(3, "b", soc=78.0)]
GOOD_ROW = row(3, 3, 78.0, 3)


def test_a_good_history_has_no_faults() -> None:
    silent = DeviceRow("oldtown", "bus_2", 0, 0, {})
    assert find_faults(reversed(GOOD), [GOOD_ROW, silent]) == []


def test_a_lost_update_is_a_gap_and_a_wrong_count() -> None:
    assert find_faults([GOOD[0], GOOD[2]], [GOOD_ROW]) == [
        "oldtown/bus_1: sequences are 1, 3, not 1 to 2",
        "oldtown/bus_1: state 3, snapshot 3, events 2",
    ]


def test_the_newest_update_lost_shows_in_the_snapshot_too() -> None:
    assert find_faults(GOOD[:2], [GOOD_ROW]) == [
        "oldtown/bus_1: state 3, snapshot 3, events 2",
        "oldtown/bus_1: the snapshot is not the fold of its events in ['soc_percent']",
    ]


def test_a_sequence_that_stands_twice_is_found() -> None:
    assert find_faults([*GOOD[:2], GOOD[1], GOOD[2]], [GOOD_ROW]) == [
        "oldtown/bus_1: sequences are 1, 2, 2, 3, not 1 to 4",
        "oldtown/bus_1: state 3, snapshot 3, events 4",
        "oldtown/bus_1: sequence 2 holds a soc_percent that was not newer",
    ]


def test_an_update_accepted_twice_is_found_though_numbers_fit() -> None:
    again = GOOD[2]._replace(sequence=4, recorded_at=at(4))
    assert find_faults([*GOOD, again], [row(4, 4, 78.0, 3)]) == [
        "oldtown/bus_1: sequence 4 holds a soc_percent that was not newer"
    ]


def test_a_snapshot_with_another_value_is_found() -> None:
    assert find_faults(GOOD, [row(3, 3, 77.0, 3)]) == [
        "oldtown/bus_1: the snapshot is not the fold of its events in ['soc_percent']"
    ]


def test_a_snapshot_that_lags_behind_its_state_is_found() -> None:
    assert find_faults(GOOD, [row(3, 2, 78.0, 3)]) == [
        "oldtown/bus_1: state 3, snapshot 2, events 3"
    ]


def test_a_new_assignment_begins_without_a_history() -> None:
    """Its first reading may be one that the assignment before it had already."""
    again = GOOD[2]._replace(sequence=4, recorded_at=at(4), assignment=2)
    assert find_faults([*GOOD, again], [row(4, 4, 78.0, 3)._replace(assignment=2)]) == []
    empty = DeviceRow("oldtown", "bus_1", 3, 3, {}, assignment=2)
    assert find_faults(GOOD, [empty]) == []
    assert find_faults(GOOD, [GOOD_ROW._replace(assignment=2)]) == [
        "oldtown/bus_1: the snapshot is not the fold of its events in ['soc_percent']"
    ]


def test_an_assignment_that_goes_back_is_found() -> None:
    back = event(4, "c", soc=77.0)
    history = [GOOD[0], *(each._replace(assignment=2) for each in GOOD[1:]), back]
    assert find_faults(history, [row(4, 4, 77.0, 4)]) == [
        "oldtown/bus_1: assignment 1 at 4 after 2"
    ]


def test_the_second_value_at_one_time_is_no_event() -> None:
    tie = event(4, "c", seconds=3, soc=50.0)
    assert find_faults([*GOOD, tie], [row(4, 4, 78.0, 3)]) == [
        "oldtown/bus_1: sequence 4 holds a soc_percent that was not newer"
    ]


def test_a_dead_epoch_that_went_on_writing_is_found() -> None:
    events = [GOOD[0], GOOD[1]._replace(epoch=2), GOOD[2]]
    assert find_faults(events, [GOOD_ROW]) == [
        "oldtown/bus_1: epoch 1 wrote sequence 3 after epoch 2"
    ]


def test_events_of_a_device_that_is_not_there_are_found() -> None:
    assert find_faults(GOOD, []) == ["('oldtown', 'bus_1'): events of no device"]


def test_an_acknowledged_update_must_be_stored_once_and_as_told() -> None:
    told = Acknowledged("oldtown", "bus_1", 2, "b")
    assert find_unstored([told], GOOD) == []
    assert find_unstored([told], [GOOD[0], GOOD[2]]) == [
        f"acknowledged, but stored 0 times: {told}"
    ]
    assert find_unstored([told], [*GOOD, GOOD[1]]) == [f"acknowledged, but stored 2 times: {told}"]
    assert find_unstored([told._replace(version=1)], GOOD) != []


def test_a_trace_must_have_a_number_of_events_that_is_possible() -> None:
    assert find_miscounted({"a": {1}, "b": {0, 2}, "never": {0, 5}}, GOOD) == []
    assert find_miscounted({"b": {0, 3}}, GOOD) == ["trace b has 2 events, not [0, 3]"]


def test_the_log_and_the_store_must_have_the_same_units() -> None:
    logged = [Logged("a", 1, at(0.5)), Logged("b", 2, at(1.5))]
    assert find_unlogged([Generation(1, logged, killed=False)], GOOD) == []
    assert find_unlogged([Generation(1, logged, killed=False)], GOOD[:2]) == [
        "epoch 1 trace b: logged 2, stored 1"
    ]
    assert find_unlogged([Generation(1, logged[1:], killed=False)], GOOD) == [
        "epoch 1 trace a: logged 0, stored 1"
    ]


def test_only_last_units_of_a_killed_process_may_lack_their_log() -> None:
    logged = [Logged("a", 1, at(0.5)), Logged("b", 1, at(11.5))]
    assert find_unlogged([Generation(1, logged, killed=True)], GOOD) == []
    assert find_unlogged([Generation(1, logged[1:], killed=True)], GOOD) == [
        "epoch 1 trace a: logged 0, stored 1"
    ]
    assert find_unlogged([Generation(1, logged, killed=True)], GOOD[:1]) == [
        "epoch 1 trace b: logged 1, stored 0"
    ]
