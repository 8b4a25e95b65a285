"""Groups of resources that share keys, and so belong to one owner."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.assignment import group_by_shared


def test_a_resource_that_shares_nothing_is_a_group_alone() -> None:
    assert group_by_shared({"a": ["k1"], "b": [], "c": ["k2"]}) == {
        "a": "resource:a",
        "b": "resource:b",
        "c": "resource:c",
    }


def test_resources_that_share_through_others_are_one_group() -> None:
    groups = group_by_shared({"a": ["k1"], "b": ["k1", "k2"], "c": ["k2"], "d": ["k3"]})
    assert groups == {"a": "key:k1", "b": "key:k1", "c": "key:k1", "d": "resource:d"}


keys_of_resources = st.dictionaries(
    st.sampled_from([f"r{number}" for number in range(8)]),
    st.frozensets(st.sampled_from("klmnop"), max_size=3),
)


@given(keys_of_resources)
@settings(deadline=None)
def test_the_order_in_which_resources_are_named_does_not_matter(
    keys_of: dict[str, frozenset[str]],
) -> None:
    assert group_by_shared(dict(reversed(keys_of.items()))) == group_by_shared(keys_of)


@given(keys_of_resources)
@settings(deadline=None)
def test_a_group_is_exactly_what_a_chain_of_keys_joins(
    keys_of: dict[str, frozenset[str]],
) -> None:
    groups = group_by_shared(keys_of)
    for name in keys_of:
        reached, seen = {name}, set(keys_of[name])
        while more := {
            other for other in keys_of if other not in reached and keys_of[other] & seen
        }:
            reached |= more
            seen.update(*(keys_of[other] for other in more))
        assert {other for other in keys_of if groups[other] == groups[name]} == reached


@given(keys_of_resources, st.frozensets(st.sampled_from("0klmnop"), max_size=3))
@settings(deadline=None)
def test_a_group_keeps_its_name_when_a_resource_joins_or_leaves(
    keys_of: dict[str, frozenset[str]], keys: frozenset[str]
) -> None:
    """Also if private keys of the newcomer come first by name.

    A newcomer that makes another key shared may change a name.
    """
    before, after = group_by_shared(keys_of), group_by_shared({**keys_of, "newcomer": keys})
    shared = {key for key in keys if sum(key in others for others in keys_of.values()) > 1}
    if (
        keys - shared & set().union(*keys_of.values())
        or len({before[n] for n in keys_of if keys_of[n] & shared}) > 1
    ):
        return
    assert {name: after[name] for name in keys_of} == before
