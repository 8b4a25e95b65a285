"""Random histories of registry answers: nobody is retired wrongly, whatever the answers say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.legacy_sync import RegistryAnswer, SyncOutcome
from domain.registry import DeviceDraft
from tests.domain.synced_fleet import SyncedFleet

if TYPE_CHECKING:
    from collections.abc import Sequence

drafts = st.builds(
    DeviceDraft,
    st.sampled_from(("d-1", "d-2", "d-3", "d-4", "d-5", "d-6")),
    st.sampled_from(("steady", "maker", "nobody")),
    st.sampled_from(("u-1", "U-1 ", "u-2", "u-3", "d-1", "d-2", "no id")),
    st.sampled_from(("B 1", "B 2", "B 3")),
    st.just("Bus"),
)
answers = st.lists(
    st.builds(
        RegistryAnswer,
        st.lists(drafts, max_size=8, unique_by=lambda draft: draft.device_id),
        is_complete=st.booleans() | st.just(True),
    ),
    min_size=2,
    max_size=12,
)
# Answers about one fleet of 40, each of which leaves out some of it.
absences = st.lists(
    st.tuples(
        st.sets(st.integers(0, 39), max_size=6)
        | st.just(set(range(40)))
        | st.just(set(range(0, 40, 2))),
        st.booleans() | st.just(True),
        st.sampled_from((False, False, False, True)),
    ),
    min_size=2,
    max_size=15,
)


@settings(max_examples=100, deadline=None)
@given(answers, st.booleans())
def test_every_answer_leaves_a_sound_registry(
    history: Sequence[RegistryAnswer], has_our_ids: bool
) -> None:
    fleet = SyncedFleet()
    for answer in history:
        given_ids = answer._replace(has_our_ids=has_our_ids)
        plan = fleet.sync(given_ids)
        refused = {one.device_id for one in fleet.settled.refused}
        counted = sum(fleet.counts.values()) - fleet.counts["retired"] - fleet.counts["held_back"]
        if has_our_ids:
            assert fleet.disagreeing(answer) == refused
            assert counted == len(answer.drafts)
        assert counted <= len(answer.drafts)  # without our ids, two of them may be the same
        assert not plan.retiring & set(fleet.active())


@settings(max_examples=100, deadline=None)
@given(answers)
def test_an_answer_that_is_repeated_changes_nothing_more(history: Sequence[RegistryAnswer]) -> None:
    fleet = SyncedFleet()
    for answer in history:
        fleet.sync(answer)
    for _ in range(5):  # until all are retired that it leaves out, and their units are in use again
        fleet.sync(history[-1])
    before = dict(fleet.devices)
    fleet.sync(history[-1])
    assert fleet.devices == before


@settings(max_examples=100, deadline=None)
@given(absences)
def test_only_two_believed_answers_in_a_row_retire(
    history: Sequence[tuple[set[int], bool, bool]],
) -> None:
    fleet, whole = SyncedFleet(), [number_draft(number) for number in range(40)]
    fleet.sync(RegistryAnswer(whole))
    former: set[str] = set()  # left out by the newest complete answer, and not named since
    former_is_doubted = False
    for absent, is_complete, forced in history:
        before = set(fleet.active())
        there = [draft for number, draft in enumerate(whole) if number not in absent]
        plan = fleet.sync(RegistryAnswer(there, is_complete=is_complete), forced=forced)
        left = before - {draft.device_id for draft in there}
        is_doubted = len(left) > max(2, len(before) // 10) or left == before != set()
        if not is_complete:
            assert plan.retiring == set()
            former &= left
            continue
        expected = former & left
        if not forced and (is_doubted or former_is_doubted):
            expected = set()
        assert plan.retiring == expected
        assert (plan.outcome is SyncOutcome.DOUBTED) == (is_doubted and not forced)
        former, former_is_doubted = left - expected, is_doubted and not forced
        assert set(fleet.active()) == before - expected | {draft.device_id for draft in there}
        assert {fleet.devices[draft.device_id].assignment for draft in whole} == {1}


def number_draft(number: int) -> DeviceDraft:
    return DeviceDraft(f"bus-{number}", "steady", f"x-{number}", f"B {number}", f"Bus {number}")
