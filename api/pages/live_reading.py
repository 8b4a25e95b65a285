"""Reads the devices of live pages into their rows: all of a workspace once, then what was written.

Owns from where the next reading goes on. Every reading also brings the counts of the database, by
the statements of the health report; a workspace whose rows do not give the same counts is read anew
(live_board.py). So a device that is gone is noticed, and so would be a row that was missed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from ports.live import LiveQuery

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from api.pages.live_rows import WorkspaceRows
    from domain.health_facts import HealthFacts
    from domain.health_state import State
    from ports.live import LiveReads

ROWS_OF_ONE_QUERY: Final = 2000


class BoardReading(NamedTuple):
    """What one reading found. `counts` are by workspace, of those with devices only."""

    evaluated_at: datetime
    counts: Mapping[str, Mapping[State, int]]
    left_to_legacy: frozenset[str]


class LiveReader:
    """Reads for one board. Its methods raise an EnvironmentFault while the database is away."""

    def __init__(self, reads: LiveReads) -> None:
        self._reads = reads
        self._as_of: int | None = None

    async def read_written(
        self, spaces: Mapping[str, WorkspaceRows], counted: frozenset[str] | None
    ) -> BoardReading:
        """Put what was written into `spaces`, which were read before, and count the devices.

        `counted`: the workspaces to count, those of `spaces` among them; None: all.
        """
        query = LiveQuery(frozenset(spaces), counted, self._as_of, limit=ROWS_OF_ONE_QUERY)
        first = answer = await self._reads.load_live(query)
        shared: set[tuple[str, str]] = set()
        while True:
            _put(answer.rows, spaces, shared)
            if len(answer.rows) < query.limit:
                break
            query = query._replace(after=_place(answer.rows[-1]), now=first.evaluated_at)
            answer = await self._reads.load_live(query)
        # Only now: after a failure everything since the reading before is read again.
        self._as_of = first.as_of
        return BoardReading(first.evaluated_at, first.counts, first.left_to_legacy)

    async def read_all(
        self, names: Iterable[str], counted: frozenset[str] | None, now: datetime
    ) -> dict[str, dict[str, HealthFacts]]:
        """Return all devices of these workspaces, by both ids."""
        wanted = frozenset(names)
        found: dict[str, dict[str, HealthFacts]] = {name: {} for name in wanted}
        query = LiveQuery(wanted, counted, now=now, limit=ROWS_OF_ONE_QUERY)
        while True:
            answer = await self._reads.load_live(query)
            for facts in answer.rows:
                found[facts.device.workspace_id][facts.device.device_id] = facts
            if len(answer.rows) < query.limit:
                return found
            query = query._replace(after=_place(answer.rows[-1]))


def _put(
    rows: Sequence[HealthFacts],
    spaces: Mapping[str, WorkspaceRows],
    shared: set[tuple[str, str]],
) -> None:
    """Put rows into their workspaces, and what devices of a connection share into all of these."""
    for facts in rows:
        workspace_id, provider_id = facts.device.workspace_id, facts.device.provider_id
        space = spaces[workspace_id]
        if (workspace_id, provider_id) not in shared:
            shared.add((workspace_id, provider_id))
            space.share(facts)
        space.put(facts)


def _place(facts: HealthFacts) -> tuple[str, str]:
    return facts.device.workspace_id, facts.device.device_id
