"""Which submissions a writer may take beside another one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.claims import Choice, WorkspaceClaims, workspaces_of
from actors.lanes import LANES
from domain.model import (
    ConnectionFact,
    ConnectionFactKind,
    CursorAdvance,
    InvalidItem,
    Ownership,
    ProviderStatement,
    Reason,
    StatementKind,
    Submission,
)
from domain.resource import workspace_resource
from runtime.mailbox import Mailbox
from tests.actors.deferring import end_of_cycle
from tests.actors.harness import HARBOUR, STEADY, update
from tests.actors.instants import at

HARBOUR_RESOURCE = workspace_resource(HARBOUR)


def of(*workspaces: str) -> Submission:
    """Return a submission with an update of each workspace."""
    bus = update("bus-1", 0, soc_percent=10)
    return Submission(
        "http", "trace-1", updates=tuple(bus._replace(workspace_id=name) for name in workspaces)
    )


def chosen(choice: Choice, *queue: Submission) -> list[str]:
    """Return which of the queue are taken, by the names of their workspaces."""
    return ["+".join(sorted(workspaces_of(each))) for each in queue if choice(each)]


def test_every_part_of_a_submission_claims_its_workspace() -> None:
    parts = (
        of(HARBOUR),
        Submission("poll", "t", cursor=CursorAdvance(HARBOUR, STEADY, "1")),
        Submission("poll", "t", cycle=end_of_cycle()),
        Submission("poll", "t", facts=(ConnectionFact(HARBOUR, STEADY, _OPENED, at(0)),)),
        Submission("poll", "t", invalid=(InvalidItem(HARBOUR, "p", None, _REASON, "", b""),)),
        Submission("poll", "t", statements=(_STATEMENT,)),
        Submission("poll", "t", ownership=Ownership(HARBOUR_RESOURCE, "shard-1", 1, 1)),
    )
    assert [workspaces_of(part) for part in parts] == [{HARBOUR}] * len(parts)


_OPENED, _REASON = ConnectionFactKind.STREAM_OPENED, Reason.INVALID
_STATEMENT = ProviderStatement(HARBOUR, StatementKind.NAMED, ("bus-1",), at(0), at(1))


def test_a_workspace_in_hand_is_left_to_its_writer() -> None:
    claims = WorkspaceClaims(2)
    claims.claim(0, [of("a"), of("b", "c")])
    queue = of("a"), of("d"), of("c"), of("d", "c"), of("d"), of("e")
    assert chosen(claims.choose(1, shares=False), *queue) == ["d", "e"]
    assert chosen(claims.choose(0, shares=False), of("a"), of("c")) == ["a", "c"]
    claims.release(0)
    assert chosen(claims.choose(1, shares=False), of("a"), of("c")) == ["a", "c"]


def test_nothing_overtakes_a_submission_of_several_workspaces() -> None:
    choice = Choice(frozenset("a"), share=10)
    assert chosen(choice, of("a", "b"), of("b"), of("b", "c"), of("c"), of("d")) == ["d"]


def test_what_waits_elsewhere_holds_back_its_workspaces() -> None:
    choice = Choice(frozenset(), share=10)
    choice.pass_over(of("a"))
    assert chosen(choice, of("a"), of("b")) == ["b"]


def test_with_much_to_do_a_writer_takes_its_share_of_workspaces() -> None:
    claims = WorkspaceClaims(2)
    queue = [of(name) for name in "abcd"] * 2
    first = claims.choose(0, shares=False)
    assert len(chosen(first, *queue)) == 8
    claims.note_walk(first)
    mine = claims.choose(0, shares=True)
    assert chosen(mine, *queue) == ["a", "b", "a", "b"]
    claims.claim(0, [of("a", "b")])
    assert chosen(claims.choose(1, shares=True), *queue) == ["c", "d", "c", "d"]


def test_a_submission_of_many_workspaces_is_more_than_a_share() -> None:
    choice = Choice(frozenset(), share=1)
    assert chosen(choice, of("a", "b", "c"), of("d"), of("a")) == ["a+b+c", "a"]


WORKSPACES = st.sets(st.sampled_from("abcdef"), min_size=1, max_size=3)


@given(queue=st.lists(WORKSPACES, max_size=30), claimed=st.sets(st.sampled_from("abc")))
def test_no_choice_changes_the_order_within_a_workspace(
    queue: list[set[str]], claimed: set[str]
) -> None:
    choice, passed = Choice(frozenset(claimed), share=2), set[str]()
    for names in queue:
        if choice(of(*sorted(names))):
            assert names.isdisjoint(claimed | passed)
        else:
            passed |= names


@given(queue=st.lists(WORKSPACES, min_size=1, max_size=30))
def test_the_first_that_waits_is_always_taken_by_a_free_hand(
    queue: list[set[str]],
) -> None:
    assert Choice(frozenset(), share=1)(of(*sorted(queue[0])))


async def test_busy_streams_do_not_starve_a_post_over_workspaces() -> None:
    """Streams of twenty workspaces fill every unit; the post needs all twenty at once."""
    mailbox: Mailbox[Submission] = Mailbox(LANES)
    claims, names = WorkspaceClaims(2), [f"fleet-{number}" for number in range(20)]
    post = of(*names)
    for turn in range(600):
        mailbox.send_nowait("stream", of(names[turn % 20]), 10)
    mailbox.send_nowait("http", post, 20)
    sizes = []
    for walk in range(12):
        claims.release(walk % 2)
        choice = claims.choose(walk % 2, shares=True)
        batch = mailbox.take_nowait(1_000, choice)
        claims.note_walk(choice)
        claims.claim(walk % 2, batch)
        sizes.append(len(batch))
        if post in batch:
            break
        for _ in batch:
            mailbox.send_nowait("stream", of(names[len(sizes) % 20]), 10)
    assert post in batch
    assert sum(sizes) > 10 * len(sizes), sizes
