"""Committing around data that the database refuses: the rest is committed, in order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st

from actors.poison import BUDGET, commit_around_poison
from domain.cycles import CycleEnd, CycleKey, CycleOutcome, CycleTrigger
from domain.model import CursorAdvance, InvalidItem, Outcome, Reason, Receipt, Result, Submission
from ports.ingest import UnitPoisoned
from tests.actors.harness import HARBOUR, STEADY, owned_by, said, submission, update
from tests.actors.instants import NOON

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    import trio
    from trio.testing import MockClock

    from domain.model import CanonicalUpdate
    from storage.unit.steps import Statement
    from tests.actors.harness import Harness, Shard

T = TypeVar("T")

PLENTY = 100_000
OK, BAD = Result(Outcome.ACCEPTED), Result(Outcome.QUARANTINED, Reason.DATA_ERROR)


class Part(NamedTuple):
    """A submission as a test draws it: its updates, poison or not, and whether it has a cursor."""

    poisoned: tuple[bool, ...]
    has_cursor: bool


class Database:
    """A database that refuses every unit with poison in it.

    It keeps what it committed and what it was told to quarantine, in order.
    """

    def __init__(self, *, poisonous_cursors: bool = False) -> None:
        self.poisonous_cursors = poisonous_cursors
        self.transactions = 0
        self.committed: list[str | None] = []
        self.quarantined: list[str | None] = []
        self.cursors: list[str] = []
        self.parts: list[Submission] = []  # as they were committed
        self.judged_before_cursor: dict[str, set[str | None]] = {}

    async def commit(self, parts: Sequence[Submission]) -> Sequence[Receipt]:
        self.transactions += 1
        if any(is_poison(update) for part in parts for update in part.updates):
            raise UnitPoisoned("22P05", "poison")
        if self.poisonous_cursors and any(part.cursor for part in parts):
            raise UnitPoisoned("22021", "a cursor with a NUL")
        self.parts += parts
        for part in parts:
            self.committed += [update.device_id for update in part.updates]
            if part.cursor:
                self.cursors.append(part.cursor.cursor)
                self.judged_before_cursor[part.cursor.cursor] = {
                    *self.committed,
                    *self.quarantined,
                }
        return [Receipt(self.transactions, NOON, (OK,) * len(part.updates)) for part in parts]

    async def quarantine(self, part: Submission, error: UnitPoisoned) -> Receipt:
        self.transactions += 1
        self.quarantined += [update.device_id for update in part.updates]
        return Receipt(self.transactions, NOON, (BAD,) * len(part.updates))


def is_poison(update: CanonicalUpdate) -> bool:
    return (update.device_id or "").endswith("!")


def make(batch: Sequence[Part]) -> list[Submission]:
    made = []
    for position, part in enumerate(batch):
        names = [
            f"{position}.{number}{'!' * poisoned}" for number, poisoned in enumerate(part.poisoned)
        ]
        cursor = CursorAdvance(HARBOUR, STEADY, str(position)) if part.has_cursor else None
        made.append(submission(*(update(name, 0) for name in names), cursor=cursor)[0])
    return made


def commit_around(batch: Sequence[Submission], database: Database, **rest: Any) -> list[Receipt]:
    """Commit as the actor does: the whole batch first, then around the poison."""
    try:
        return list(run(database.commit(batch)))
    except UnitPoisoned as error:
        return list(run(commit_around_poison(batch, error, database, **rest)))


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in which nothing waits, and return its result."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        value: T = end.value
        return value
    raise AssertionError("it waited")


def names(batch: Sequence[Submission]) -> list[str | None]:
    return [update.device_id for part in batch for update in part.updates]


rarely = st.integers(0, 9).map(lambda number: number == 0)
flags = st.lists(st.booleans(), max_size=8) | st.lists(rarely, max_size=30)
parts = st.builds(Part, flags.map(tuple), st.booleans())
batches = st.lists(parts, min_size=1, max_size=8)


@given(batches)
@settings(max_examples=200)
def test_only_poison_is_quarantined_and_the_rest_keeps_its_order(
    batch: list[Part],
) -> None:
    made, database = make(batch), Database()
    receipts = commit_around(made, database, budget=PLENTY)
    bad = [name for name in names(made) if name and name.endswith("!")]
    assert database.committed == [name for name in names(made) if name not in bad]
    assert database.quarantined == bad
    assert [receipt.results for receipt in receipts] == [
        tuple(BAD if poisoned else OK for poisoned in part.poisoned) for part in batch
    ]


@given(batches)
def test_a_cursor_commits_once_and_after_all_that_it_covers(batch: list[Part]) -> None:
    """Otherwise the same poison would be fetched again for ever."""
    made, database = make(batch), Database()
    commit_around(made, database, budget=PLENTY)
    assert database.cursors == [
        str(position) for position, part in enumerate(batch) if part.has_cursor
    ]
    for cursor, judged in database.judged_before_cursor.items():
        assert set(names([made[int(cursor)]])) <= judged


@given(batches)
@settings(max_examples=200)
def test_the_search_loses_nothing_and_ends_within_its_budget(batch: list[Part]) -> None:
    """Past the budget a submission goes to quarantine whole, its good updates included."""
    made, database = make(batch), Database()
    receipts = commit_around(made, database)
    assert sorted(map(str, database.committed + database.quarantined)) == sorted(
        map(str, names(made))
    )
    assert database.committed == [name for name in names(made) if name in database.committed]
    clean = {
        name for part in made if not any(map(is_poison, part.updates)) for name in names([part])
    }
    assert clean <= set(database.committed)
    assert [len(receipt.results) for receipt in receipts] == [len(part.updates) for part in made]
    assert len(database.cursors) == sum(part.has_cursor for part in batch)


@given(st.integers(1, 500), st.integers(1, 40), st.booleans())
@settings(max_examples=50)
def test_a_batch_full_of_poison_costs_bounded_transactions(
    updates: int, submissions: int, has_cursor: bool
) -> None:
    database = Database()
    commit_around(make([Part((True,) * updates, has_cursor)] * submissions), database)
    assert database.transactions <= 2 * BUDGET + 6 * submissions


def test_a_cursor_that_is_poison_itself_costs_no_update() -> None:
    made, database = make([Part((False, False), True)]), Database(poisonous_cursors=True)
    (receipt,) = commit_around(made, database, budget=PLENTY)
    assert database.committed == names(made)
    assert receipt.results == (OK, OK)


def test_what_commits_with_the_data_comes_apart_whole() -> None:
    """A cycle's end, facts and invalid items travel together, behind the last update."""
    key = CycleKey(HARBOUR, NOON, CycleTrigger.SCHEDULE, 1)
    item = InvalidItem(HARBOUR, STEADY, None, Reason.INVALID, "malformed", b"x")
    (made,) = make([Part((True,), True)])
    made.cycle, made.invalid = CycleEnd(key, "cycle-1", NOON, CycleOutcome.COMPLETED, {}), (item,)
    database = Database()
    run(commit_around_poison([made], UnitPoisoned("22P05", ""), database))
    (rest,) = database.parts
    assert (rest.updates, rest.cursor, rest.cycle, rest.invalid) == (
        (),
        made.cursor,
        made.cycle,
        (item,),
    )


async def test_one_bad_update_is_isolated_and_all_get_receipts(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    harness.store.poison(lambda update: update.device_id == "bus-2")
    advance = CursorAdvance(HARBOUR, STEADY, "page-9")
    replies = [
        shard.send(update("bus-1", 1, soc_percent=1), update("bus-2", 1, soc_percent=1)),
        shard.send(
            update("bus-2", 2, soc_percent=2), cursor=advance, ownership=owned_by(shard.session)
        ),
        shard.send(update("bus-1", 2, soc_percent=2)),
    ]
    nursery.start_soon(shard.ingest.run)
    results = [said(await reply.wait()) for reply in replies]
    bad = "quarantined:data_error"
    assert results == [["accepted", bad], [bad], ["accepted"]]
    assert harness.quarantined() == ["bus-2", "bus-2"]
    assert await harness.sequences("bus-1") == [1, 2]
    fleet = await harness.store.load_fleet(HARBOUR)
    assert fleet is not None
    assert fleet.cursors == {STEADY: "page-9"}
    shard.check_identity()


async def test_poison_is_found_although_the_database_goes_away(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    units = 0

    async def make_trouble(statement: Statement) -> None:
        nonlocal units
        if statement.name != "fence":
            return
        units += 1
        if units % 3 == 0:
            harness.store.go_away(for_next=2)
        if units % 4 == 0:
            harness.store.lose_commit(after=units % 8 == 0)

    harness.store.poison(lambda update: update.readings[0].value == 13)
    harness.store.before_each_statement(make_trouble)
    replies = [shard.send(update("bus-1", n, soc_percent=n)) for n in range(20)]
    nursery.start_soon(shard.ingest.run)
    results = [said(await reply.wait()) for reply in replies]
    assert results == [["quarantined:data_error"] if n == 13 else ["accepted"] for n in range(20)]
    assert harness.store.statistics().engine.commits_lost > 0
    harness.store.come_back()
    assert await harness.sequences("bus-1") == list(range(1, 20))
