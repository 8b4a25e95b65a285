"""One round of the shard, as a table: each row is a situation and the plan that follows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from actors.rounds import Pace, RoundPlan, Seen, decide_round, seconds_until_next
from domain.resource import workspace_resource
from ports.leases import Look
from runtime.assignment import Assignment

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from domain.resource import Resource

A, B = workspace_resource("alder"), workspace_resource("birch")
NOW, NEVER = 100.0, float("-inf")
PACE = Pace(beat_seconds=5.0, round_seconds=2.0)
EMPTY_LOOK = Look(frozenset(("me", "other")), {}, {}, {}, expired=False, next_expiry_seconds=None)
NO_PLAN = RoundPlan(
    declare_dead=False, hand_over={}, stop=frozenset(), claim=(), take_up={}, next_moves_at=NEVER
)


@dataclass(frozen=True)
class Situation:
    """How a row differs from a shard that owns nothing and finds nothing."""

    mine: Mapping[Resource, int]
    retired: Mapping[Resource, int]
    expired: bool
    wants: Assignment[Resource]
    seen: Mapping[str, Any]

    def decide(self) -> RoundPlan:
        look = EMPTY_LOOK._replace(mine=self.mine, retired=self.retired, expired=self.expired)
        quiet = Seen(
            look=look,
            running=frozenset(),
            leaving=frozenset(),
            left=frozenset(),
            draining=False,
            trusted_seconds=60.0,
            now=NOW,
            next_moves_at=NEVER,
        )
        return decide_round(replace(quiet, **self.seen), self.wants, PACE)


def when(
    *,
    mine: Mapping[Resource, int] | None = None,
    retired: Mapping[Resource, int] | None = None,
    expired: bool = False,
    claim: tuple[Resource, ...] = (),
    hand_over: tuple[Resource, ...] = (),
    running: Collection[Resource] = (),
    leaving: Collection[Resource] = (),
    left: Collection[Resource] = (),
    **seen: Any,
) -> Situation:
    """`claim` and `hand_over` are what the assignment wants, the rest is what was seen."""
    sets = {
        "running": frozenset(running),
        "leaving": frozenset(leaving),
        "left": frozenset(left),
    }
    return Situation(mine or {}, retired or {}, expired, Assignment(claim, hand_over), sets | seen)


TABLE: Mapping[str, tuple[Situation, Mapping[str, Any]]] = {
    "nothing owned and nothing free": (when(), {}),
    # --- claim
    "a free workspace that is wanted": (when(claim=(A, B)), {"claim": (A, B)}),
    "a wanted workspace whose hand-over has not ended": (
        when(claim=(A, B), leaving={A}),
        {"claim": (B,)},
    ),
    "a wanted workspace whose hand-over has ended": (
        when(claim=(A,), left={A}),
        {"claim": (A,)},
    ),
    # --- take up
    "a lease of ours whose workspace runs": (when(mine={A: 3}, running={A}), {}),
    "a lease of ours whose workspace does not run": (
        when(mine={B: 4, A: 3}),
        {"take_up": {A: 3, B: 4}},
    ),
    "a lease of ours that is being handed over": (when(mine={A: 3}, leaving={A}), {}),
    "a lease that was handed over since the look": (when(mine={A: 3}, left={A}), {}),
    "a lease of ours while draining": (when(mine={A: 3}, draining=True), {}),
    # --- hand over
    "a workspace that another shard should own": (
        when(mine={A: 3, B: 4}, running={A, B}, hand_over=(A,)),
        {"hand_over": {A: 3}, "next_moves_at": NOW + 2},
    ),
    "such a workspace that does not run yet": (
        when(mine={A: 3}, hand_over=(A,)),
        {"hand_over": {A: 3}, "next_moves_at": NOW + 2},
    ),
    "such a workspace, less than a round after the last move": (
        when(mine={A: 3}, running={A}, hand_over=(A,), next_moves_at=NOW + 0.1),
        {"next_moves_at": NOW + 0.1, "moves_later": True},
    ),
    "such a workspace that does not run, less than a round after": (
        when(mine={A: 3}, hand_over=(A,), next_moves_at=NOW + 0.1),
        {"take_up": {A: 3}, "next_moves_at": NOW + 0.1, "moves_later": True},
    ),
    "such a workspace, a round after the last move": (
        when(mine={A: 3}, running={A}, hand_over=(A,), next_moves_at=NOW),
        {"hand_over": {A: 3}, "next_moves_at": NOW + 2},
    ),
    "such a workspace that is being handed over": (
        when(mine={A: 3}, leaving={A}, hand_over=(A,)),
        {"next_moves_at": NOW + 2},
    ),
    "such a workspace that was handed over since the look": (
        when(mine={A: 3}, left={A}, hand_over=(A,)),
        {"next_moves_at": NOW + 2},
    ),
    "everything while draining, whenever the last move was": (
        when(
            mine={A: 3, B: 4},
            running={A, B},
            hand_over=(A, B),
            next_moves_at=NOW + 1,
            draining=True,
        ),
        {"hand_over": {A: 3, B: 4}, "next_moves_at": NOW + 1},
    ),
    "an inactive workspace, whenever the last move was": (
        when(retired={A: 3}, running={A}, next_moves_at=NOW + 1),
        {"hand_over": {A: 3}, "next_moves_at": NOW + 1},
    ),
    "an inactive workspace that is being handed over": (when(retired={A: 3}, leaving={A}), {}),
    "an inactive workspace that was handed over since the look": (
        when(retired={A: 3}, left={A}),
        {},
    ),
    # --- stop
    "a workspace that runs without a lease of ours": (
        when(mine={B: 4}, running={A, B}),
        {"stop": frozenset({A})},
    ),
    "such a workspace that is free and wanted": (
        when(running={A}, claim=(A,)),
        {"stop": frozenset({A}), "claim": (A,)},
    ),
    # --- declare dead
    "an expired session": (when(expired=True), {"declare_dead": True}),
    "an expired session, trusted for the time between two renewals": (
        when(expired=True, trusted_seconds=5.0),
        {"declare_dead": True},
    ),
    "an expired session, trusted for less": (when(expired=True, trusted_seconds=4.9), {}),
    "an expired session while draining": (when(expired=True, draining=True), {}),
}


@pytest.mark.parametrize(("situation", "changes"), TABLE.values(), ids=TABLE)
def test_a_round_follows_from_what_was_seen(
    situation: Situation, changes: Mapping[str, Any]
) -> None:
    assert situation.decide() == replace(NO_PLAN, **changes)


@pytest.mark.parametrize(
    ("next_expiry_seconds", "pause"), [(None, 2.0), (9.0, 2.0), (1.5, 1.5), (0.01, 0.05)]
)
def test_the_next_round_comes_with_the_earliest_expiry(
    next_expiry_seconds: float | None, pause: float
) -> None:
    look = EMPTY_LOOK._replace(next_expiry_seconds=next_expiry_seconds)
    assert seconds_until_next(look, PACE) == pause
