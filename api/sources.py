"""The sources of a list of health: core's stored facts, or what legacy systems say.

Each source gives pages of the same facts, so verdicts, CSV and outages do not know which it is. A
source is chosen once in a request, before anything is read from it: no answer about a workspace
mixes two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import trio

from api.legacy_fleet import AskedFleet
from api.read_owners import find_legacy_fleet, refuse_other_source, source_of
from domain.cutover import ReadOwner
from ports.reads import FleetQuery, HealthPage

if TYPE_CHECKING:
    from api.cursors import Cursor
    from api.legacy_fleet import JudgedFleet
    from api.services import ApiServices
    from domain.model import Workspace
    from ports.reads import FleetRow, HealthQuery


class PageSource(Protocol):
    """Gives pages of facts, at the instant of the query, or else at its own."""

    async def load_page(self, query: HealthQuery) -> HealthPage: ...


class CoreSource:
    """The facts that core has stored, of these workspaces; None means all."""

    served_by: Final = ReadOwner.CORE

    def __init__(self, services: ApiServices, workspaces: frozenset[str] | None) -> None:
        self._reads = services.reads
        self._workspaces = workspaces

    async def load_page(self, query: HealthQuery) -> HealthPage:
        return await self._reads.load_health(self._workspaces, query)


class LegacySource:
    """What the legacy system of one workspace says. It is asked once, for the first page."""

    served_by: Final = ReadOwner.LEGACY

    def __init__(self, services: ApiServices, fleet: FleetRow) -> None:
        self._fleet = AskedFleet(services, fleet)
        self._judged: JudgedFleet | None = None
        self._evaluated_at = fleet.read_at

    async def load_page(self, query: HealthQuery) -> HealthPage:
        """Raises LegacyUnreachable and LegacyUnfit.

        Always a checkpoint: a CSV has many pages, and only the first one waits for something.
        """
        await trio.lowlevel.checkpoint()
        if self._judged is None:
            answered = await self._fleet.ask(query.now, is_next_page=query.now is not None)
            self._evaluated_at = answered.evaluated_at
            self._judged = await self._fleet.judge(answered)
            if len(self._fleet.row.devices) >= query.limit:
                self._fleet.keep(answered)
        found = self._judged.find(query)
        facts = [one.facts for one in found]
        at = self._evaluated_at
        return HealthPage(at, self._judged.count(query), facts, frozenset(), counted_at=at)


async def open_source(
    services: ApiServices, workspace: Workspace, wanted: ReadOwner | None, cursor: Cursor | None
) -> CoreSource | LegacySource:
    """Return the source of one workspace.

    Raises Problem 409 if it is another than the cursor's, or the legacy system is asked for and not
    there.
    """
    fleet = await find_legacy_fleet(services, workspace, wanted, FleetQuery())
    source = (
        CoreSource(services, frozenset({workspace.workspace_id}))
        if fleet is None
        else LegacySource(services, fleet)
    )
    refuse_other_source(cursor, source_of(source.served_by))
    return source
