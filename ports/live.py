"""What live pages ask of the store: the devices of some workspaces, and then only what was written.

See api/pages/live_board.py, which asks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from domain.health_facts import HealthFacts
    from domain.health_state import State


class LiveQuery(NamedTuple):
    """The active devices of `rows_of`, page by page: those after `after`, (workspace, device).

    `counted`: the workspaces whose devices are counted by state, those of `rows_of` among them;
    None: all. `since` is the `as_of` of an earlier answer: then only devices of which something was
    written after it, and one device of each connection, for what devices share. Others of which
    nothing was written may be among them. `now=None`: the database's time.
    """

    rows_of: frozenset[str]
    counted: frozenset[str] | None
    since: int | None = None
    after: tuple[str, str] | None = None
    now: datetime | None = None
    limit: int = 250


class LiveAnswer(NamedTuple):
    """One page of facts, in the order of (workspace, device).

    `counts` are by workspace, and of those with devices only. `left_to_legacy`: the workspaces that
    were left out, because the legacy system shows their values. `as_of` is for `LiveQuery.since`.
    """

    evaluated_at: datetime
    as_of: int
    counts: Mapping[str, Mapping[State, int]]
    rows: Sequence[HealthFacts]
    left_to_legacy: frozenset[str]


class Mark(NamedTuple):
    """Texts that differ after a workspace was configured, and after news of its cycles.

    `cycles_at`: when the newest of that news was; None: there is no cycle yet.
    """

    configuration: str
    cycles: str
    cycles_at: datetime | None


class LiveReads(Protocol):
    """The queries behind live pages. Both raise an EnvironmentFault while the database is away."""

    async def load_live(self, query: LiveQuery) -> LiveAnswer:
        """Return a page of devices, from one snapshot of the database."""
        ...

    async def load_marks(self, workspaces: frozenset[str]) -> Mapping[str, Mark]:
        """Return the marks of these workspaces. One that does not exist is left out."""
        ...
