"""Assignment, carried out by a model of a cluster (tests/runtime/cluster.py)."""

from __future__ import annotations

import math
from collections import Counter
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from runtime.assignment import (
    Assignment,
    Rounds,
    RoundsStatistics,
    SeenResource,
    decide_assignment,
    group_by_shared,
    max_voluntary_moves,
)
from runtime.rendezvous import desired_owner
from tests.runtime.cluster import ROUND, ROUNDS_PER_TTL, TTL, Cluster, stable_cluster

if TYPE_CHECKING:
    from collections.abc import Callable

MEMBERS = ("ash", "beech", "cedar", "dogwood")
FLEETS = tuple(f"workspace-{number}" for number in range(24))


def free(*names: str, seconds: float = 0.0) -> list[SeenResource[str]]:
    return [SeenResource(name, name, None, seconds) for name in names]


def named_for(member: str, count: int = 1) -> list[str]:
    """Names that this one of ash and beech should own."""
    names = (f"r{number}" for number in range(5 * count + 50))
    return [name for name in names if desired_owner(name, ("ash", "beech")) == member][:count]


# --- one look


def test_a_free_resource_is_claimed_by_its_desired_owner_alone() -> None:
    resources = free(*FLEETS)
    claims = [decide_assignment(me, MEMBERS, resources, ttl_seconds=TTL).claim for me in MEMBERS]
    assert sorted(name for claim in claims for name in claim) == sorted(FLEETS)
    assert len(set(claims)) == len(MEMBERS)


@pytest.mark.parametrize(("seconds", "claimed"), [(TTL, False), (TTL + 0.1, True)])
def test_any_member_may_adopt_what_is_free_for_longer_than_a_ttl(
    seconds: float, claimed: bool
) -> None:
    (name,) = named_for("beech")
    decided = decide_assignment(
        "ash", ("ash", "beech"), free(name, seconds=seconds), ttl_seconds=TTL
    )
    assert decided == (
        Assignment((name,), (), {name: "beech"}) if claimed else Assignment((), (), {})
    )


def test_a_resource_that_another_owns_is_never_claimed() -> None:
    (name,) = named_for("ash")
    owned = [SeenResource(name, name, "beech", 1000.0)]
    assert decide_assignment("ash", ("ash", "beech"), owned, ttl_seconds=TTL) == Assignment(
        (), (), {}
    )


def test_a_draining_member_hands_everything_over_and_claims_none() -> None:
    resources = [
        SeenResource("a", "a", "ash"),
        SeenResource("b", "b", "ash"),
        SeenResource("c", "c", "beech"),
        *free("d"),
    ]
    decided = decide_assignment("ash", ("beech",), resources, ttl_seconds=TTL, draining=True)
    assert decided == Assignment((), ("a", "b"))


def test_a_member_that_is_not_live_does_nothing() -> None:
    resources = [SeenResource("a", "a", "ash"), *free("b", seconds=99.0)]
    assert decide_assignment("ash", ("beech",), resources, ttl_seconds=TTL) == Assignment((), ())


@pytest.mark.parametrize(("owned", "moves"), [(0, 1), (1, 1), (39, 1), (40, 2), (1000, 50)])
def test_voluntary_moves_are_a_twentieth_and_at_least_one(owned: int, moves: int) -> None:
    assert max_voluntary_moves(owned) == moves
    misplaced = [SeenResource(name, name, "ash") for name in named_for("beech", owned)]
    decided = decide_assignment("ash", ("ash", "beech"), misplaced, ttl_seconds=TTL)
    assert len(decided.hand_over) == min(moves, owned)


def test_nothing_is_handed_over_to_a_member_that_claims_late() -> None:
    first, second = named_for("beech", 2)
    late = [SeenResource(first, first, "ash"), *free(second, seconds=TTL / 3 + 0.1)]
    assert decide_assignment("ash", ("ash", "beech"), late, ttl_seconds=TTL).hand_over == ()
    in_time = [SeenResource(first, first, "ash"), *free(second, seconds=TTL / 3)]
    assert decide_assignment("ash", ("ash", "beech"), in_time, ttl_seconds=TTL).hand_over == (
        first,
    )


# --- what one member remembers


def test_a_member_that_boots_claims_only_its_own_share() -> None:
    """Both are up and one looks first. In the database everything has been free for long."""
    hours = dict.fromkeys(FLEETS, 7200.0)
    rounds: Rounds[str] = Rounds("ash", TTL)
    decided = rounds.decide(0.0, ("ash", "beech"), (), hours, {})
    assert decided.adopt == {}
    assert 0 < len(decided.claim) < len(FLEETS)


def test_an_adopted_resource_is_kept_and_after_a_while_offered() -> None:
    (name,) = [
        name for name in FLEETS if desired_owner(f"resource:{name}", ("ash", "beech")) == "beech"
    ][:1]
    rounds: Rounds[str] = Rounds("ash", TTL)
    both = ("ash", "beech")
    assert rounds.decide(0.0, both, (), {name: 0.0}, {}).claim == ()
    assert rounds.decide(TTL + 1, both, (), {name: TTL + 1}, {}).adopt == {name: "beech"}
    assert rounds.decide(TTL + 3, both, (name,), {}, {}).hand_over == ()
    assert rounds.statistics() == RoundsStatistics(seen_free=0, adopted=(name,))
    assert rounds.decide(TTL + 1 + 20 * TTL, both, (name,), {}, {}).hand_over == (name,)


def test_an_adoption_says_nothing_about_other_members() -> None:
    rounds: Rounds[str] = Rounds("ash", TTL)
    (name,) = named_for("beech")
    groups = {name: name}
    rounds.decide(0.0, ("ash", "beech"), (), {name: 0.0}, groups)
    assert rounds.decide(TTL + 1, ("ash", "beech"), (), {name: TTL + 1}, groups).adopt == {
        name: "beech"
    }
    newcomer = next(
        other
        for other in (f"elm-{n}" for n in range(99))
        if desired_owner(name, ("ash", other)) == other
    )
    assert rounds.decide(TTL + 3, ("ash", newcomer), (name,), {}, groups).hand_over == (name,)


# --- rounds of a cluster


@pytest.mark.parametrize("leave", [Cluster.kill, Cluster.drain])
def test_a_leavers_share_has_owners_within_a_ttl_and_two_rounds(
    leave: Callable[[Cluster, str], None],
) -> None:
    cluster = stable_cluster(MEMBERS, FLEETS)
    leave(cluster, "beech")
    for _ in range(ROUNDS_PER_TTL + 2):
        cluster.step()
    assert set(cluster.owners().values()) == set(MEMBERS) - {"beech"}
    assert cluster.voluntary == []


def test_a_planned_stop_costs_one_round_and_not_a_ttl() -> None:
    cluster = stable_cluster(MEMBERS, FLEETS)
    cluster.drain("beech")
    cluster.step()
    assert cluster.misplaced() == set()


@given(st.sets(st.sampled_from(MEMBERS), min_size=1), st.sets(st.sampled_from(MEMBERS), min_size=1))
@settings(deadline=None, max_examples=40)
def test_a_change_of_membership_moves_no_more_than_it_must(
    before: set[str], after: set[str]
) -> None:
    cluster = stable_cluster(sorted(before), FLEETS)
    was = cluster.desired()
    for name in after - before:
        cluster.join(name)
    for name in before - after:
        cluster.drain(name)
    cluster.run_until_stable()
    changed = {name for name, owner in cluster.desired().items() if owner != was[name]}
    assert len(cluster.voluntary) == len(set(cluster.voluntary))
    assert set(cluster.voluntary) <= changed


@pytest.mark.parametrize("absent_rounds", [1, 3, ROUNDS_PER_TTL - 2])
def test_a_member_back_from_a_crash_within_a_ttl_moves_nothing(absent_rounds: int) -> None:
    cluster = stable_cluster(MEMBERS, FLEETS)
    for _ in range(5):
        owners = cluster.owners()
        cluster.kill("beech")
        for _ in range(absent_rounds):
            cluster.step()
        cluster.join("beech")
        cluster.step()
        assert cluster.owners() == owners
    assert cluster.voluntary == []


def test_a_flapping_member_moves_little() -> None:
    """A leave costs what it had by then; a round between gives it one lease a member at most."""
    cluster = stable_cluster(MEMBERS, FLEETS)
    cluster.drain("beech")
    cluster.step()
    flaps, rounds_up = 10, 2
    for _ in range(flaps):
        cluster.join("beech")
        for _ in range(rounds_up):
            cluster.step()
        cluster.drain("beech")
        cluster.step()
    assert len(cluster.voluntary) <= flaps * rounds_up * (len(MEMBERS) - 1)


@pytest.mark.parametrize("count", [40, 400])
def test_a_member_that_cannot_claim_leaves_no_orphan(count: int) -> None:
    """Nothing stays free for longer than a TTL and two rounds.

    In sum that is little, because the others stop handing over.
    """
    cluster = stable_cluster(("ash", "beech"), [f"r{number}" for number in range(count)])
    cluster.join("cedar", mute=True)
    free_rounds = 0
    rounds = 150  # 300 seconds
    for _ in range(rounds):
        cluster.step()
        waiting = [
            cluster.now - cluster.free_since[name]
            for name, owner in cluster.owners().items()
            if owner is None
        ]
        assert max(waiting, default=0.0) <= TTL + 2 * ROUND
        free_rounds += len(waiting)
    assert free_rounds / (rounds * count) < 0.02


def test_a_member_that_can_claim_again_gets_its_share() -> None:
    cluster = stable_cluster(("ash", "beech"), FLEETS)
    cluster.join("cedar", mute=True)
    for _ in range(30):
        cluster.step()
    assert "cedar" not in cluster.owners().values()
    cluster.up["cedar"].mute = False
    cluster.run_until_stable()
    assert "cedar" in cluster.owners().values()


def test_equal_members_own_nearly_equal_shares() -> None:
    """Shares lie within four standard deviations of a random choice."""
    resources = [f"resource:workspace-{number}" for number in range(4_000)]
    for count in (2, 5, 10):
        members = [f"shard-{number}" for number in range(count)]
        owned = Counter(desired_owner(name, members) for name in resources)
        fair, spread = len(resources) / count, math.sqrt(len(resources) / count * (1 - 1 / count))
        assert all(abs(owned[member] - fair) < 4 * spread for member in members)


def test_resources_that_share_a_key_end_up_together() -> None:
    keys = {f"r{number}": {f"account-{number % 5}"} for number in range(20)}
    groups = group_by_shared(keys)
    cluster = stable_cluster(("ash", "beech"), sorted(keys), groups)
    cluster.join("cedar")
    cluster.run_until_stable()
    owners = cluster.owners()
    assert all(
        len({owners[name] for name in keys if groups[name] == group}) == 1
        for group in groups.values()
    )
    assert len(set(owners.values())) > 1


def keep_quiet(cluster: Cluster, *, at_once: bool = False) -> None:
    """After a change everything is owned within a TTL and two rounds, by a member that is up."""
    for _ in range(ROUNDS_PER_TTL + 2):
        cluster.step(at_once=at_once)
    assert cluster.orphans() == set()
    assert set(cluster.owners().values()) - {None} <= cluster.up.keys()


class ChangingCluster(RuleBasedStateMachine):
    """Anything happens to any member at any time; the model checks that nothing has two owners."""

    def __init__(self) -> None:
        super().__init__()
        self.cluster = Cluster(FLEETS[:12], dict.fromkeys(FLEETS[:3], "shared"))

    @rule(name=st.sampled_from(MEMBERS))
    def join(self, name: str) -> None:
        """Also while the former process is there: a second one with its name, or a quick reboot."""
        self.cluster.join(name)

    @precondition(lambda self: self.cluster.up)
    @rule(data=st.data())
    def kill(self, data: st.DataObject) -> None:
        self.cluster.kill(data.draw(st.sampled_from(sorted(self.cluster.up))))

    @precondition(lambda self: self.cluster.up)
    @rule(data=st.data())
    def drain(self, data: st.DataObject) -> None:
        self.cluster.drain(data.draw(st.sampled_from(sorted(self.cluster.up))))

    @rule(random=st.randoms(use_true_random=False), at_once=st.booleans(), times=st.integers(1, 4))
    def step(self, random: Random, at_once: bool, times: int) -> None:
        for _ in range(times):
            self.cluster.step(shuffle=random.shuffle, at_once=at_once)

    @precondition(lambda self: self.cluster.up)
    @rule(at_once=st.booleans())
    def keep_quiet(self, at_once: bool) -> None:
        """And soon everything stands where it should."""
        keep_quiet(self.cluster, at_once=at_once)
        misplaced = self.cluster.misplaced()
        self.cluster.voluntary.clear()
        self.cluster.run_until_stable()
        assert len(self.cluster.voluntary) == len(set(self.cluster.voluntary))
        assert set(self.cluster.voluntary) <= misplaced


TestChangingCluster = ChangingCluster.TestCase
TestChangingCluster.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_thousands_of_changes_end_with_desired_owners() -> None:
    random = Random(20260501)
    cluster = stable_cluster(MEMBERS, FLEETS)
    for _ in range(4_000):
        name = random.choice(MEMBERS)
        if name not in cluster.up:
            cluster.join(name)
        else:
            random.choice((cluster.kill, cluster.drain, cluster.join))(name)
        for _ in range(random.choice((0, 0, 1, 2))):
            cluster.step(shuffle=random.shuffle, at_once=random.random() < 0.5)
        if cluster.up and random.random() < 0.1:
            keep_quiet(cluster, at_once=random.random() < 0.5)
    for name in MEMBERS[:2]:
        cluster.join(name)
    keep_quiet(cluster)
    cluster.run_until_stable()
