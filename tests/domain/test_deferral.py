"""Submissions that wait for locked rows: those that need one, and those that would overtake.

A submission would overtake if one that came before it waits and their order matters.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.cycles import CycleEnd, CycleKey, CycleOutcome, CycleTrigger
from domain.deferral import CONNECTION, CYCLE, DEVICE, EXTERNAL, claim_of, split_by_locks
from domain.model import (
    CanonicalUpdate,
    ConnectionFact,
    ConnectionFactKind,
    CursorAdvance,
    InvalidItem,
    Ownership,
    Reason,
    Submission,
)
from domain.resource import workspace_resource
from tests.statements import named

if TYPE_CHECKING:
    from collections.abc import Sequence

    from domain.deferral import Key
    from domain.model import ProviderStatement

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
W, P = "harbour", "steady"
KEY = CycleKey(W, NOON, CycleTrigger.SCHEDULE, 1)


def of(
    device_id: str | None, external_id: str | None = None, workspace_id: str = W, provider: str = P
) -> Any:
    return CanonicalUpdate(workspace_id, provider, device_id, external_id, None, (), NOON, "")


def bad(device_id: str | None, external_id: str | None = None) -> InvalidItem:
    return InvalidItem(W, P, external_id, Reason.INVALID, "", b"", device_id=device_id)


def sent(
    *updates: CanonicalUpdate, owned: str | None = None, origin: Any = "stream", **rest: Any
) -> Submission:
    ownership = Ownership(workspace_resource(owned), "shard-1", 1, 1) if owned else None
    return Submission(origin, "trace-1", updates, ownership, **rest)


def polled(*updates: CanonicalUpdate, **rest: Any) -> Submission:
    return sent(*updates, owned=W, origin="poll", **rest)


def cursor(provider: str = P) -> CursorAdvance:
    return CursorAdvance(W, provider, "next")


def fact(provider: str = P) -> ConnectionFact:
    return ConnectionFact(W, provider, ConnectionFactKind.CALL_SUCCEEDED, NOON)


def end(cycle: str = "cycle-1") -> CycleEnd:
    return CycleEnd(KEY, cycle, NOON, CycleOutcome.COMPLETED, {})


def about(*device_ids: str) -> tuple[ProviderStatement, ...]:
    return (named(W, device_ids, NOON),)


def part(queue: Sequence[Submission], *locked: Key) -> tuple[list[Submission], list[Submission]]:
    return split_by_locks([(submission, claim_of(submission)) for submission in queue], locked)


# --- Which rows a submission needs ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("submission", "rows"),
    [
        (sent(), set()),
        (
            sent(of("bus-1"), of("bus-1", "x-1"), of(None, "x-2")),
            {(DEVICE, W, "bus-1"), (EXTERNAL, W, P, "x-2")},
        ),
        (sent(of(None)), set()),
        (
            sent(invalid=(bad("bus-1"), bad(None, "x-2"), bad(None))),
            {(DEVICE, W, "bus-1"), (EXTERNAL, W, P, "x-2")},
        ),
        (
            sent(statements=about("bus-1", "bus-2")),
            {(DEVICE, W, "bus-1"), (DEVICE, W, "bus-2")},
        ),
        (
            sent(cursor=cursor(), facts=(fact("other"),)),
            {(CONNECTION, W, P), (CONNECTION, W, "other")},
        ),
        (polled(cycle=end()), {(CYCLE, W, "cycle-1")}),
    ],
)
def test_a_submission_needs_the_rows_that_its_unit_locks(
    submission: Submission, rows: set[Key]
) -> None:
    assert claim_of(submission).rows == rows
    for row in rows:
        assert part([submission], row) == ([], [submission])
    elsewhere = [(*row[:1], "island", *row[2:]) for row in rows]
    assert part([submission], *elsewhere) == ([submission], [])


# --- Which must not overtake which ----------------------------------------------------------------

LOCK = (DEVICE, W, "locked")
STUCK = of("locked", "x-locked")


@pytest.mark.parametrize(
    ("first", "second", "waits"),
    [
        (sent(STUCK, of("bus-1")), sent(of("bus-1")), True),
        (sent(STUCK, of("bus-1")), sent(of("bus-2")), False),
        (sent(STUCK, of("bus-1")), sent(of("bus-1", workspace_id="island")), False),
        (sent(STUCK, of("bus-1", "x-1")), sent(of(None, "x-1")), True),
        (sent(STUCK, of(None, "x-1")), sent(of("bus-1", "x-1")), True),
        # Only the registry could tell whether these two are one device.
        (sent(STUCK, of("bus-1")), sent(of(None, "x-2")), True),
        (sent(STUCK, of(None, "x-1")), sent(of("bus-2")), True),
        (sent(STUCK, of(None, "x-1")), sent(of("bus-2", provider="other")), False),
        (sent(STUCK, of(None, "x-1")), sent(of("bus-2", "x-2")), False),
        (sent(STUCK, invalid=(bad("bus-1"),)), sent(of("bus-1")), True),
        (sent(STUCK, of("bus-1")), sent(statements=about("bus-1")), True),
        # A statement moves forward only, whatever comes first.
        (sent(STUCK, statements=about("bus-1")), sent(of("bus-1")), False),
        (sent(STUCK, cursor=cursor()), sent(cursor=cursor()), True),
        (sent(STUCK, cursor=cursor()), sent(cursor=cursor("other")), False),
        (sent(STUCK, facts=(fact(),)), sent(facts=(fact(),)), True),
        (sent(STUCK, facts=(fact(),)), sent(cursor=cursor()), True),
        (polled(STUCK), polled(of("bus-1"), cursor=cursor()), True),
        (polled(STUCK), polled(of("bus-1", provider="other"), cursor=cursor("other")), False),
        (polled(STUCK), polled(of("bus-1")), False),
        # No cursor covers what a client sent, nor what came over the socket meanwhile.
        (sent(STUCK, origin="http"), polled(cursor=cursor()), False),
        (sent(STUCK, owned=W), polled(cursor=cursor()), False),
        (polled(STUCK), polled(cycle=end()), True),
        (polled(STUCK), polled(), True),
        (polled(STUCK), sent(owned="island", origin="poll", cycle=end()), False),
        (sent(STUCK, owned=W), polled(cycle=end()), False),
        (polled(STUCK, cycle=end("cycle-1")), polled(cycle=end("cycle-2")), True),
    ],
)
def test_a_later_submission_waits_if_it_would_overtake(
    first: Submission, second: Submission, waits: bool
) -> None:
    assert part([first, second], LOCK) == (
        [] if waits else [second],
        [first, second] if waits else [first],
    )
    if claim_of(second).rows.isdisjoint({LOCK}):
        assert part([second, first], LOCK) == (
            [second],
            [first],
        )  # the other way round nothing is overtaken


def test_who_waits_for_one_that_waits_holds_up_others_in_turn() -> None:
    chain = [sent(of(str(number)), of(str(number + 1))) for number in range(5)]
    aside = sent(of("aside"))
    assert part([*chain, aside], (DEVICE, W, "0")) == ([aside], chain)


# --- Whatever the queue ---------------------------------------------------------------------------

names = st.sampled_from(("a", "b", "c", "d"))
both = st.builds(lambda name: of(name, f"x-{name}"), names)
by_device = st.builds(of, names)
by_external = st.builds(lambda name: of(None, f"x-{name}"), names)
providers = st.sampled_from((P, "other"))
submissions = st.builds(
    lambda updates, moves, tells, ends, confirms, is_polled: (polled if is_polled else sent)(
        *updates,
        cursor=moves and cursor(moves),
        facts=(fact(tells),) if tells else (),
        cycle=end() if ends and is_polled else None,
        statements=about(*confirms) if confirms else (),
    ),
    st.lists(both | by_device | by_external, max_size=3),
    st.none() | providers,
    st.none() | providers,
    st.booleans(),
    st.lists(names, max_size=2),
    st.booleans(),
)
locks = st.sets(
    st.builds(lambda name: (DEVICE, W, name), names)
    | st.builds(lambda name: (EXTERNAL, W, P, f"x-{name}"), names)
    | st.builds(lambda provider: (CONNECTION, W, provider), providers)
    | st.just((CYCLE, W, "cycle-1")),
    max_size=3,
)


def devices(submission: Submission) -> set[str]:
    """By what both of a device's names have in common here."""
    return {(update.device_id or update.external_id or "")[-1] for update in submission.updates}


def must_keep_order(first: Submission, second: Submission) -> bool:
    """The rule again, by what would go wrong, and with the names of one device known."""
    if devices(first) & devices(second):
        return True  # an older value after a newer one
    of_first = {item.provider_id for item in (first.cursor, *first.facts) if item}
    if any(item.provider_id in of_first for item in (second.cursor, *second.facts) if item):
        return True  # a cursor or a connection's state moved back
    if first.origin == second.origin == "poll":
        if second.cursor and any(
            update.provider_id == second.cursor.provider_id for update in first.updates
        ):
            return True  # a cursor before its data
        return second.cycle is not None  # a cycle completed before its parts
    return False


@given(st.lists(submissions, max_size=12), locks)
@settings(max_examples=500)
def test_whatever_the_queue_nothing_is_lost_doubled_or_overtaken(
    queue: list[Submission], locked: set[Key]
) -> None:
    free, waiting = part(queue, *locked)
    assert sorted([*map(id, free), *map(id, waiting)]) == sorted(map(id, queue))
    place = {id(submission): number for number, submission in enumerate(queue)}
    for half in (free, waiting):
        assert [place[id(one)] for one in half] == sorted(place[id(one)] for one in half)
    for one in free:
        assert claim_of(one).rows.isdisjoint(locked)
        for other in waiting:
            assert place[id(other)] > place[id(one)] or not must_keep_order(other, one)


@given(st.lists(submissions, max_size=12), locks)
def test_nothing_waits_without_a_locked_row_behind_it(
    queue: list[Submission], locked: set[Key]
) -> None:
    """Once the rows are free, nothing waits.

    A submission that does not wait for the first one is free without it.
    """
    _, waiting = part(queue, *locked)
    assert part(waiting) == (waiting, [])
    if waiting:
        assert not claim_of(waiting[0]).rows.isdisjoint(locked)
    for number, one in enumerate(waiting):
        claim = claim_of(one)
        before = [claim_of(other) for other in waiting[:number]]
        assert not claim.rows.isdisjoint(locked) or any(
            claim.follows & other.precedes for other in before
        )
