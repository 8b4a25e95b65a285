"""The source of the worklist: core's facts, and beside them what legacy systems say.

Each workspace has one of the two sources in an answer: that of its flag when the devices of core
were read. The devices of both come in one order.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from itertools import islice
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

from api.legacy_fleet import position_after
from api.legacy_survey import LegacySurvey
from api.read_owners import refuse_other_source, source_changed
from api.verdicts import position_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from api.cursors import Cursor
    from api.legacy_fleet import FoundDevice, JudgedFleet
    from api.legacy_survey import UnavailableWorkspace
    from api.services import ApiServices
    from domain.health_facts import HealthFacts
    from domain.health_state import State
    from ports.reads import HealthPage, HealthQuery, WorklistPosition


class WorklistSource:
    """The devices of several workspaces; None means all. For one request.

    `most` is how many devices the whole answer may show. Of the legacy systems' devices no more
    are held. `cursor` is that of the request.
    """

    def __init__(
        self,
        services: ApiServices,
        workspaces: frozenset[str] | None,
        *,
        most: int,
        cursor: Cursor | None,
    ) -> None:
        self._services = services
        self._workspaces = workspaces
        self._most = most
        self._cursor = cursor
        self._left_to_legacy: frozenset[str] | None = None
        self._found: list[FoundDevice] = []
        self._counts: Counter[State] = Counter()
        self.unavailable: list[UnavailableWorkspace] = []

    @property
    def source(self) -> str:
        """Return what cursors say of the list: a hash of the workspaces that core does not serve.

        Empty if it serves all. Known after the first page.
        """
        names = sorted(self._left_to_legacy or ())
        return hashlib.sha256(" ".join(names).encode()).hexdigest()[:16] if names else ""

    async def load_page(self, query: HealthQuery) -> HealthPage:
        """Raises Problem 409 if the source of a workspace changed since the cursor was made."""
        query = query._replace(by_read_owner=True)
        core = await self._services.reads.load_health(self._workspaces, query)
        if self._left_to_legacy is None:
            self._left_to_legacy = core.left_to_legacy
            refuse_other_source(self._cursor, self.source)
            await self._ask_legacy(core, query)
        elif self._left_to_legacy != core.left_to_legacy:
            raise source_changed()  # between two pages of one CSV
        if not self._left_to_legacy:
            return core
        counts = {state: core.counts.get(state, 0) + self._counts[state] for state in core.counts}
        return core._replace(counts=counts, rows=self._merge(core.rows, query))

    async def _ask_legacy(self, core: HealthPage, query: HealthQuery) -> None:
        wanted = query._replace(limit=self._most)

        def take(_: str, judged: JudgedFleet) -> None:
            self._counts.update(judged.count(query))
            self._found += judged.find(wanted)
            self._found.sort(key=lambda one: one.position)
            del self._found[self._most :]

        is_next_page = self._cursor is not None
        survey = LegacySurvey(self._services, take, keeps=True, is_next_page=is_next_page)
        await survey.ask(core.left_to_legacy, core.evaluated_at)
        self.unavailable = survey.unavailable

    def _merge(self, rows: Sequence[HealthFacts], query: HealthQuery) -> list[HealthFacts]:
        """Return the first devices of both sources, in the order of the list."""
        after = position_after(query)
        found = [one for one in self._found if after is None or one.position > after]
        ours = [_Row(position_of(facts), facts, None) for facts in rows]
        theirs = [_Row(one.position, None, one) for one in found[: query.limit]]
        first = islice(heapq.merge(ours, theirs, key=itemgetter(0)), query.limit)
        return [row.to_facts() for row in first]


class _Row(NamedTuple):
    """A device of either source. The facts of a legacy system's device are made if it is shown."""

    position: WorklistPosition
    ours: HealthFacts | None
    theirs: FoundDevice | None

    def to_facts(self) -> HealthFacts:
        if self.ours is not None:
            return self.ours
        assert self.theirs is not None  # noqa: S101 - a row is of one of the two
        return self.theirs.facts
