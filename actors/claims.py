"""Which workspaces the units in flight have, and what another writer may take beside them.

Owns the rule that keeps units of two writers apart: a workspace is in the hands of one writer at a
time, from the moment its submissions are taken until their batch leaves that hand. So the order
within a workspace is the order in which its submissions are taken. Reads no clock and does no I/O.

**Shares.** If more waits than one unit holds, a unit takes one writer's part of the workspaces that
wait: about a third, for three writers. Otherwise it would take some of every workspace and leave
the other writers nothing. A submission that is passed over stays in front, so its workspaces are
the next ones that are taken.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from domain.resource import workspace_of
from runtime.flag import Flag

if TYPE_CHECKING:
    from collections.abc import Iterable

    from domain.model import Submission


class WorkspaceClaims:
    """The workspaces in each writer's hand."""

    def __init__(self, writers: int) -> None:
        self._claims: list[frozenset[str]] = [frozenset()] * writers
        self._share = 1  # of the workspaces that the last walk met
        self._released = Flag()

    def choose(self, writer: int, *, shares: bool) -> Choice:
        """Return what this writer may take now. `shares`: leave something to the other writers."""
        others = (claim for other, claim in enumerate(self._claims) if other != writer)
        return Choice(frozenset().union(*others), self._share if shares else math.inf)

    def note_walk(self, choice: Choice) -> None:
        """Note how many workspaces a walk has met: a share is one writer's part of them."""
        self._share = math.ceil(choice.met / len(self._claims))

    def claim(self, writer: int, batch: Iterable[Submission]) -> None:
        """Note what a writer has in hand."""
        self._claims[writer] = frozenset().union(*map(workspaces_of, batch))

    def release(self, writer: int) -> None:
        """Note that the writer's hand is empty."""
        self._claims[writer] = frozenset()
        self._released.wake()

    async def wait_released(self) -> None:
        """Wait until a writer's hand is empty. The caller's cancel scope is the deadline."""
        await self._released.wait()


class Choice:
    """One walk along the submissions that wait: it is asked about each of them, in order.

    A submission that is passed over holds back the later ones of its workspaces.
    """

    def __init__(self, claimed: frozenset[str], share: float) -> None:
        """`claimed`: workspaces in other hands. `share`: how many workspaces to take at most."""
        self._held_back = set(claimed)
        self._share = share
        self._chosen: set[str] = set()

    def __call__(self, submission: Submission) -> bool:
        """Return whether the submission may be taken."""
        names = workspaces_of(submission)
        if names.isdisjoint(self._held_back) and self._has_room_for(names):
            self._chosen |= names
            return True
        self._held_back |= names
        return False

    def pass_over(self, submission: Submission) -> None:
        """Hold back the workspaces of a submission that waits elsewhere, before all others."""
        self._held_back |= workspaces_of(submission)

    def _has_room_for(self, names: frozenset[str]) -> bool:
        return names <= self._chosen or not self._chosen or len(self._chosen | names) <= self._share

    @property
    def met(self) -> int:
        """The number of workspaces that are taken, passed over, or in other hands."""
        return len(self._chosen | self._held_back)


def workspaces_of(submission: Submission) -> frozenset[str]:
    """Return the workspaces whose rows the submission's unit may write, and its owner's.

    So an empty submission of an owner comes behind everything that its workspace has sent before.
    """
    names = {item.workspace_id for item in submission.updates}
    if submission.ownership is not None:
        names.add(workspace_of(submission.ownership.resource))
    names.update(item.workspace_id for item in submission.invalid)
    names.update(fact.workspace_id for fact in submission.facts)
    names.update(statement.workspace_id for statement in submission.statements)
    beside = (submission.cursor, submission.cycle and submission.cycle.key)
    return frozenset(names | {item.workspace_id for item in beside if item is not None})
