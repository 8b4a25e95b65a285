"""Rendezvous hashing: a join or a leave moves little, and every shard computes the same."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.rendezvous import desired_owner

KEYS = [f"workspace-{number}" for number in range(40)]
names = st.text(min_size=1, max_size=6)
memberships = st.sets(names, min_size=1, max_size=6)


def owners(members: set[str]) -> dict[str, str | None]:
    return {key: desired_owner(key, members) for key in KEYS}


@given(memberships, names)
@settings(deadline=None)
def test_a_join_moves_nothing_between_the_other_members(members: set[str], name: str) -> None:
    before, after = owners(members), owners(members | {name})
    assert all(after[key] in (before[key], name) for key in KEYS)


@given(memberships, st.data())
@settings(deadline=None)
def test_a_member_that_leaves_hands_out_its_own_and_nothing_else(
    members: set[str], data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(sorted(members)))
    before, after = owners(members), owners(members - {name})
    assert all(after[key] == before[key] for key in KEYS if before[key] != name)


@given(memberships)
@settings(deadline=None)
def test_the_order_of_members_does_not_matter(members: set[str]) -> None:
    assert [desired_owner(key, sorted(members)) for key in KEYS] == [
        desired_owner(key, sorted(members, reverse=True)) for key in KEYS
    ]


def test_without_members_there_is_no_desired_owner() -> None:
    assert desired_owner("workspace-1", ()) is None


def test_every_process_of_every_version_computes_the_same() -> None:
    """With another hash, shards of two versions would disagree for the length of a rollout."""
    members = ("ash", "beech", "cedar")
    assert [desired_owner(f"workspace-{number}", members) for number in range(8)] == [
        "ash",
        "cedar",
        "beech",
        "beech",
        "beech",
        "beech",
        "ash",
        "ash",
    ]


def test_names_that_run_together_are_kept_apart() -> None:
    """("a", "bc") and ("ab", "c") are different pairs, so their scores must differ."""
    first = [desired_owner(f"b{number}", ("a", "x")) == "a" for number in range(64)]
    second = [desired_owner(str(number), ("ab", "xb")) == "ab" for number in range(64)]
    assert first != second
