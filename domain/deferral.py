"""The order in which submissions may commit while some of their rows are locked. Pure.

This module owns the keys of a submission and the rule that divides a queue. A submission is never
split. If one row that it needs is locked, it waits together with everything that commits with it: a
cursor that commits before its data would lose that data in a crash. A later submission waits too if
it would overtake a waiting one:

- an update, a refused item or a statement waits for earlier data of the same device;
- a cursor or a connection fact waits for earlier cursors and facts of the same connection;
- a cursor also waits for earlier data of its connection, collected the same way, because it may
  cover that data;
- a cycle's end and an empty poll submission wait for earlier poll submissions of the same
  workspace.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from domain.model import CanonicalUpdate, InvalidItem, Submission

T = TypeVar("T")
Key = tuple[str, ...]  # the kind of the key, then the identifying parts

# The kinds of key that name a row. A device is named by its own id, or by the provider's id for it
# where only that one was given.
DEVICE, EXTERNAL, CONNECTION, CYCLE = "device", "external", "connection", "cycle"


class Claim(NamedTuple):
    """The keys of one submission."""

    rows: frozenset[Key]  # rows that its commit locks
    # it must not commit before an earlier submission that precedes one of these keys
    follows: frozenset[Key]
    precedes: frozenset[Key]


NO_CLAIM = Claim(frozenset(), frozenset(), frozenset())


def claim_of(submission: Submission) -> Claim:
    """Return the keys by which this submission is compared with others."""
    rows = set(_rows_beside_data(submission))
    follows = {key for key in rows if key[0] != CYCLE}
    precedes = {key for key in rows if key[0] == CONNECTION}
    for item in _items_of(submission):
        names = list(_names_of(item))
        rows.update(names[:1])  # the unit looks the device up by the first name
        follows.update(names)
        precedes.update(names)
        if len(names) == 1:
            # An item with one name may be of the same device as an item with only the other name.
            # Only the registry can tell, so within a connection such items keep their order.
            kind = names[0][0]
            connection = (item.workspace_id, item.provider_id)
            follows.add(("only", EXTERNAL if kind == DEVICE else DEVICE, *connection))
            precedes.add(("only", kind, *connection))
    precedes.update(_collected_data(submission))
    if cursor := submission.cursor:
        follows.add(("data", submission.origin, cursor.workspace_id, cursor.provider_id))
    if submission.origin == "poll" and submission.ownership is not None:
        polls = ("polls", submission.ownership.resource)
        precedes.add(polls)
        if submission.cycle is not None or submission.is_empty:
            follows.add(polls)
    return Claim(frozenset(rows), frozenset(follows), frozenset(precedes))


def split_by_locks(
    queue: Iterable[tuple[T, Claim]], locked: Collection[Key]
) -> tuple[list[T], list[T]]:
    """Return the items that may commit now and those that must wait, each in the queue's order."""
    rows = frozenset(locked)
    free, waiting = [], []
    preceding: set[Key] = set()
    for item, claim in queue:
        if claim.rows.isdisjoint(rows) and claim.follows.isdisjoint(preceding):
            free.append(item)
        else:
            waiting.append(item)
            preceding |= claim.precedes
    return free, waiting


def _rows_beside_data(submission: Submission) -> Iterator[Key]:
    """Yield the rows beside the updates: devices of statements, connections, the cycle."""
    for statement in submission.statements:
        for device_id in statement.device_ids:
            yield DEVICE, statement.workspace_id, device_id
    for fact in submission.facts:
        yield CONNECTION, fact.workspace_id, fact.provider_id
    if cursor := submission.cursor:
        yield CONNECTION, cursor.workspace_id, cursor.provider_id
    if cycle := submission.cycle:
        yield CYCLE, cycle.key.workspace_id, cycle.cycle_id


def _items_of(submission: Submission) -> list[CanonicalUpdate | InvalidItem]:
    return [*submission.updates, *submission.invalid]


def _names_of(item: CanonicalUpdate | InvalidItem) -> Iterator[Key]:
    """Yield every name that the item gives its device, the device's own id first."""
    if item.device_id is not None:
        yield DEVICE, item.workspace_id, item.device_id
    if item.external_id is not None:
        yield EXTERNAL, item.workspace_id, item.provider_id, item.external_id


def _collected_data(submission: Submission) -> Iterator[Key]:
    """Yield the connections of the data in a submission that we collected ourselves.

    Data that clients send is left out: no cursor covers it.
    """
    if submission.ownership is not None:
        for item in _items_of(submission):
            yield "data", submission.origin, item.workspace_id, item.provider_id
