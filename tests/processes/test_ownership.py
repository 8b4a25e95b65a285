"""The checker of ownership finds each kind of damage to a good history, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.processes.ownership import (
    Connection,
    CycleRow,
    OwnedEvent,
    Window,
    find_double_cycles,
    find_overlaps,
    find_usurpations,
)

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def event(
    sequence: int, token: int, *, shard: str = "ash", epoch: int = 1, device: str = "bus_1"
) -> OwnedEvent:
    return OwnedEvent(
        "oldtown", device, sequence, at(sequence), shard, epoch, "workspace:oldtown", token
    )


# ash has the workspace, birch takes it over, ash gets it back in its next epoch.
GOOD = [event(1, 1), event(2, 1), event(3, 2, shard="birch"), event(4, 3, epoch=2)]


def test_a_workspace_that_moves_has_a_good_history() -> None:
    over_http = OwnedEvent("oldtown", "bus_1", 9, at(0), "cedar", 1, None, None)
    assert find_usurpations([*reversed(GOOD), over_http]) == []


def test_an_old_token_after_a_newer_one_on_its_device_is_found() -> None:
    damaged = [*GOOD, event(5, 2, shard="birch")]
    assert find_usurpations(damaged) == [
        "workspace:oldtown: bus_1 sequence 5 has token 2 after token 3 at 4",
        f"workspace:oldtown: token 2 wrote at {at(5)}, its successor had begun at {at(4)}",
    ]


def test_an_old_token_after_a_newer_one_elsewhere_is_found() -> None:
    damaged = [*GOOD, event(3, 1, device="bus_2")]
    assert find_usurpations(damaged) == [
        f"workspace:oldtown: token 1 wrote at {at(3)}, its successor had begun at {at(3)}"
    ]


def test_a_token_that_two_sessions_used_is_found() -> None:
    damaged = [*GOOD, event(5, 3, epoch=3)]
    assert find_usurpations(damaged) == [
        "workspace:oldtown: token 3 was used by [('ash', 2), ('ash', 3)]"
    ]


def test_an_event_with_half_an_ownership_is_found() -> None:
    assert find_usurpations([GOOD[0]._replace(token=None)]) == [
        "oldtown/bus_1 1: a token without a resource"
    ]


def cycle(
    attempt: int, outcome: str, begins: float, ends: float | None, trigger: str = "schedule"
) -> CycleRow:
    return CycleRow(
        "oldtown", NOON, trigger, attempt, outcome, at(begins), None if ends is None else at(ends)
    )


HANDED_OVER = [cycle(1, "abandoned", 0, 2), cycle(2, "completed", 3, 4)]


def test_an_abandoned_cycle_with_a_second_attempt_is_good() -> None:
    demanded = cycle(1, "completed", 1, 3, "manual")
    missed = CycleRow("oldtown", NOON, "schedule", 3, "missed", None, None)
    assert find_double_cycles([*HANDED_OVER, demanded, missed]) == []


def test_a_slot_that_was_completed_twice_is_found() -> None:
    assert find_double_cycles([*HANDED_OVER, cycle(1, "completed", 5, 6, "late")]) == [
        f"oldtown slot {NOON}: 2 attempts completed"
    ]


def test_two_attempts_at_one_time_are_found() -> None:
    assert find_double_cycles([cycle(1, "abandoned", 0, 3.5), HANDED_OVER[1]]) == [
        f"oldtown slot {NOON}: "
        "attempts schedule 1 (abandoned) and schedule 2 (completed) ran at one time"
    ]
    assert len(find_double_cycles([cycle(1, "running", 0, None), HANDED_OVER[1]])) == 1


CONNECTIONS = [
    Connection("oldtown", 0, 10),
    Connection("oldtown", 10.2, None),
    Connection("harbour", 5, None),
]


def test_streams_one_after_the_other_are_good() -> None:
    assert find_overlaps(CONNECTIONS, slack_seconds=0.1) == []


def test_two_streams_of_one_tenant_at_a_time_are_found() -> None:
    doubled = [*CONNECTIONS, Connection("harbour", 8, 9.5)]
    assert find_overlaps(doubled, slack_seconds=0.1) == [
        "harbour: two streams for 1.50 s from 8.00 on"
    ]
    assert find_overlaps(doubled, slack_seconds=2) == []


def test_only_a_pause_that_covers_the_whole_overlap_excuses_it() -> None:
    doubled = [*CONNECTIONS, Connection("harbour", 8, 9.5)]
    assert find_overlaps(doubled, slack_seconds=0.1, paused=[Window(7, 10)]) == []
    assert len(find_overlaps(doubled, slack_seconds=0.1, paused=[Window(7, 9), Window(9, 10)])) == 1
    assert (
        len(find_overlaps([*CONNECTIONS, Connection("harbour", 8, None)], slack_seconds=0.1)) == 1
    )
