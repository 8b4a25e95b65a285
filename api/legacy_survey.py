"""Asks the legacy systems of many workspaces for one answer, a few at a time.

Owns the deadline of all of them together, and what is said of those that did not answer. A list of
many workspaces goes on without such a one and names it; it never shows core's values instead.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

import trio

from api.legacy_fleet import AskedFleet
from api.legacy_turns import MAX_LIST_LOADS
from api.problem_types import LEGACY_UNFIT, LEGACY_UNREACHABLE, SOURCE_CHANGED
from api.shapes import AnswerModel
from ports.legacy import LegacyUnfit, LegacyUnreachable
from ports.reads import FleetQuery
from runtime.faults import EnvironmentFault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime

    from api.legacy_fleet import JudgedFleet
    from api.services import ApiServices

# For all legacy systems of one answer together; the whole request has 30 s (api/frame.py).
SURVEY_SECONDS: Final = 8.0
UNAVAILABLE_DESCRIPTION: Final = (
    "workspaces that are missing in `items` and `counts`: their legacy systems show their values, "
    "and did not answer"
)


class UnavailableReason(StrEnum):
    """The reasons for which a list leaves a workspace out: each is a problem type as well."""

    LEGACY_UNREACHABLE = LEGACY_UNREACHABLE.slug
    LEGACY_UNFIT = LEGACY_UNFIT.slug
    SOURCE_CHANGED = SOURCE_CHANGED.slug


class UnavailableWorkspace(AnswerModel):
    """A workspace that a list leaves out, and why."""

    workspace_id: str
    reason: UnavailableReason
    detail: str


class LegacySurvey:
    """The legacy systems of some workspaces, each of which is asked once.

    `take` gets each fleet when its answer has been judged. After `ask`, `unavailable` has the rest.
    `keeps`: the answers are kept for the next page of the list. `is_next_page`: those that were
    kept are taken.
    """

    def __init__(
        self,
        services: ApiServices,
        take: Callable[[str, JudgedFleet], None],
        *,
        keeps: bool = False,
        is_next_page: bool = False,
    ) -> None:
        self._services = services
        self._turns = services.legacy_answers.turns
        self._take = take
        self._keeps = keeps
        self._is_next_page = is_next_page
        self._missing: dict[str, UnavailableWorkspace] = {}
        self._fault: EnvironmentFault | None = None

    @property
    def unavailable(self) -> list[UnavailableWorkspace]:
        return [self._missing[name] for name in sorted(self._missing)]

    async def ask(self, workspaces: Iterable[str], now: datetime) -> None:
        """Judge each workspace at `now`. Returns within SURVEY_SECONDS.

        Raises the fault of the database, if it is away.
        """
        names = self._turns.sort(set(workspaces))
        for name in names:
            detail = f"The legacy systems of this list were not all asked in {SURVEY_SECONDS:g} s."
            self._miss(name, UnavailableReason.LEGACY_UNREACHABLE, detail)
        left = iter(names)
        with trio.move_on_after(SURVEY_SECONDS):
            async with trio.open_nursery() as nursery:
                for _ in range(min(MAX_LIST_LOADS, len(names))):
                    nursery.start_soon(self._work, left, now)
        if self._fault is not None:
            raise self._fault

    async def _work(self, left: Iterator[str], now: datetime) -> None:
        """Ask one workspace after the other, until none is left or the database is away."""
        for name in left:
            async with self._turns.turn(name):
                await self._ask_one(name, now)
            if self._fault is not None:
                return

    async def _ask_one(self, name: str, now: datetime) -> None:
        try:
            judged = await self._judge(name, now)
        except LegacyUnreachable as fault:
            self._miss(name, UnavailableReason.LEGACY_UNREACHABLE, str(fault))
        except LegacyUnfit as fault:
            self._miss(name, UnavailableReason.LEGACY_UNFIT, str(fault))
        except EnvironmentFault as fault:  # in the nursery it would come out in a group
            self._fault = fault
        else:
            if judged is not None:
                del self._missing[name]
                self._take(name, judged)

    async def _judge(self, name: str, now: datetime) -> JudgedFleet | None:
        """Return the fleet; None if it has no legacy system any more."""
        row = await self._services.reads.load_fleet(name, FleetQuery())
        if row is None or row.legacy is None:
            self._miss(
                name, UnavailableReason.SOURCE_CHANGED, "Core has begun to serve it. Ask again."
            )
            return None
        fleet = AskedFleet(self._services, row)
        with self._turns.asking(name, row.legacy):
            answered = await fleet.ask(now, is_next_page=self._is_next_page)
        judged = await fleet.judge(answered)
        if self._keeps:
            fleet.keep(answered)
        return judged

    def _miss(self, name: str, reason: UnavailableReason, detail: str) -> None:
        self._missing[name] = UnavailableWorkspace(workspace_id=name, reason=reason, detail=detail)
