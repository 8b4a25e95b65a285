"""The fleet in one look: each workspace with its states, the parties behind them, its objective.

Owns the order of the list: trouble first. What a state, a party, an outage and an objective are is
decided elsewhere: in domain/health.py, api/outages.py and domain/indicators.py.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Annotated, NamedTuple, cast

from pydantic import Field
from quart import Response, request

from api.auth import current_access
from api.bodies import Instant, json_response, read_query
from api.cursors import Cursor, PageQuery
from api.fleet_parties import FleetParties
from api.indicators import Objective, present_burn
from api.keys import Scope
from api.legacy_survey import LegacySurvey, UnavailableWorkspace
from api.operations import Operations
from api.outages import WorkspaceOutage
from api.paging import Paging, cut_page
from api.read_owners import SERVED_BY_DESCRIPTION
from api.services import ApiServices
from api.shapes import AnswerModel
from api.time_zones import TIME_ZONE_DESCRIPTION
from api.verdicts import complete_counts
from domain.cutover import ReadOwner
from domain.health_reason import Party
from domain.health_state import State
from domain.indicators import SLO_SHARE, find_share
from domain.model import Workspace
from ports.indicators import ObjectiveSums
from ports.reads import WorkspaceInUse

SPAN = timedelta(hours=24)
MAX_WORKSPACES = 200  # of a page

Counts = Mapping[State, int]


class WorkspaceInFleet(AnswerModel):
    """One workspace at `evaluated_at`. `objective` is of the 24 hours before."""

    workspace_id: str
    name: str
    active: bool
    time_zone: str = Field(description=TIME_ZONE_DESCRIPTION)
    served_by: ReadOwner = Field(description=SERVED_BY_DESCRIPTION)
    counts: dict[State, int] | None = Field(
        description="its active devices by state; null if the workspace is in "
        "`unavailable_workspaces`"
    )
    parties: dict[Party, int] | None = Field(
        description="its devices that are not healthy, by the party of their reason; null: so many "
        "devices of the page are not healthy that these were not judged"
    )
    outage: WorkspaceOutage | None = Field(
        description="set when no device is healthy, and a cause that all of them share holds"
    )
    objective: Objective


class FleetReport(AnswerModel):
    """One page of the fleet. `workspaces` and `counts` cover all pages.

    `counts` leaves out workspaces whose values a legacy system shows.
    """

    evaluated_at: Instant
    workspaces: int
    counts: dict[State, int]
    unavailable_workspaces: list[UnavailableWorkspace] = Field(
        description="workspaces without `counts`: their legacy systems show their values, and did "
        "not answer"
    )
    items: list[WorkspaceInFleet]
    next_cursor: str | None


class FleetPageQuery(PageQuery):
    limit: Annotated[
        int, Field(ge=1, le=MAX_WORKSPACES, description="most workspaces of a page")
    ] = MAX_WORKSPACES


class _Place(NamedTuple):
    """A workspace's place in the list: its group, then the share of late devices, then its id."""

    group: int
    minus_late_share: float
    workspace_id: str


def declare_fleet(operations: Operations, services: ApiServices) -> None:
    paging = Paging(services)

    @operations.declare(
        "GET",
        "/fleet",
        scope=Scope.READ,
        query=FleetPageQuery,
        response=FleetReport,
        tag="workspaces",
    )
    async def show_fleet() -> Response:
        """Show all workspaces that the key sees, those with trouble first.

        First those without a healthy device, then by the share of devices that are delayed, stale
        or never heard; then those that a legacy system shows, those without trouble, those without
        devices, and those that are switched off.
        """
        query = read_query(request, FleetPageQuery)
        cursor = paging.decode(query.cursor, "fleet")
        seen = await services.reads.list_in_use(current_access().workspaces)
        ours = [one.workspace_id for one in seen if one.read_owner is ReadOwner.CORE]
        evaluated_at, found = await services.reads.count_states(
            ours, None if cursor is None else cursor.evaluated_at
        )
        places = sorted(_place(one, found.get(one.workspace_id, {})) for one in seen)
        page, last = cut_page(_after(places, cursor, query.limit), query.limit)
        items, unavailable = await _describe(services, page, found, evaluated_at)
        return json_response(
            FleetReport(
                evaluated_at=evaluated_at,
                workspaces=len(seen),
                counts=_add_up(found.values()),
                unavailable_workspaces=unavailable,
                items=items,
                next_cursor=paging.encode("fleet", last, evaluated_at),
            )
        )


def _place(workspace: WorkspaceInUse, counts: Counts) -> _Place:
    total = sum(counts.values())
    healthy = counts.get(State.HEALTHY, 0)
    late = total - healthy - counts.get(State.AWAITING_FIRST_DATA, 0)
    share = late / total if total else 0.0
    if not workspace.active:
        group = 5
    elif workspace.read_owner is ReadOwner.LEGACY:
        group = 2
    elif not total:
        group = 4
    elif not healthy:
        group = 0
    else:
        group = 1 if late else 3
    return _Place(group, -share, workspace.workspace_id)


def _after(places: list[_Place], cursor: Cursor | None, limit: int) -> list[_Place]:
    """Return the places of the page that the cursor leads to, and one more if there is one."""
    if cursor is None:
        return places[: limit + 1]
    last = _Place(*cast("tuple[int, float, str]", cursor.after))
    return [place for place in places if place > last][: limit + 1]


async def _describe(
    services: ApiServices,
    page: Iterable[_Place],
    found: Mapping[str, Counts],
    evaluated_at: datetime,
) -> tuple[list[WorkspaceInFleet], list[UnavailableWorkspace]]:
    """Return the workspaces of the page, outages first, and those whose legacy system is away."""
    names = [place.workspace_id for place in page]
    rows = await services.registry.list_workspaces(
        workspaces=frozenset(names), after=None, limit=max(1, len(names))
    )
    by_id = {row.workspace_id: row for row in rows}
    parties = FleetParties(services, evaluated_at)
    await parties.read({name: found[name] for name in names if name in found})
    of_legacy = {row.workspace_id for row in rows if row.cutover.read_owner is ReadOwner.LEGACY}
    survey = LegacySurvey(services, parties.take_legacy)
    await survey.ask(of_legacy, evaluated_at)
    sums = await services.indicators.sum_objectives(names, evaluated_at - SPAN, evaluated_at)
    missing = {one.workspace_id for one in survey.unavailable}
    items = [
        _present(by_id[name], parties, sums[name], is_missing=name in missing)
        for name in names
        if name in by_id  # else it was archived meanwhile
    ]
    items.sort(key=lambda item: item.outage is None or not item.active)
    return items, survey.unavailable


def _present(
    workspace: Workspace, parties: FleetParties, sums: ObjectiveSums, *, is_missing: bool
) -> WorkspaceInFleet:
    name = workspace.workspace_id
    return WorkspaceInFleet(
        workspace_id=name,
        name=workspace.name,
        active=workspace.active,
        time_zone=workspace.time_zone,
        served_by=workspace.cutover.read_owner,
        counts=None if is_missing else complete_counts(parties.counts.get(name, {})),
        parties=None if is_missing else parties.parties_of(name),
        outage=parties.outage_of(name),
        objective=Objective(
            objective_share=SLO_SHARE,
            samples=sums.samples,
            fresh_share=find_share(sums.fresh, sums.active),
            burn_rates=[present_burn(window) for window in sums.burn],
        ),
    )


def _add_up(counts: Iterable[Counts]) -> dict[State, int]:
    return complete_counts({state: sum(each.get(state, 0) for each in counts) for state in State})
