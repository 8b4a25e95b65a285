"""The worklist in numbers: how many devices by age, party, reason, connection and workspace.

With the filters of `/worklist`, so that a page can say what each of them would show.
"""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from functools import partial

from pydantic import Field
from quart import Response, request

from api.bodies import Instant, json_response, read_query
from api.csv_answers import MAX_CSV_ROWS, ROWS_PER_QUERY
from api.issues import WorklistQuery, workspaces_of
from api.keys import Scope
from api.legacy_survey import UNAVAILABLE_DESCRIPTION, UnavailableWorkspace
from api.operations import Operations
from api.services import ApiServices
from api.shapes import AnswerModel
from api.verdicts import JudgedDevice, JudgedPage, load_judged
from api.worklist_source import WorklistSource
from domain.ageing import AgeGroup, find_age_group
from domain.health_facts import age_seconds
from domain.health_reason import HealthReason, Party
from domain.health_state import State
from ports.reads import HealthQuery
from runtime.kept_answers import KeptAnswers

MAX_KEPT = 64  # summaries, for clients that take old ones


class WorklistGroup(AnswerModel):
    """Devices of one workspace."""

    workspace_id: str
    workspace_name: str
    devices: int


class WorklistSummary(AnswerModel):
    """How many devices the worklist has. `ages` leaves the filter `age` aside, all others do not.

    `is_complete` is false if there are so many devices that not all were counted.
    """

    evaluated_at: Instant
    devices: int
    is_complete: bool
    ages: dict[AgeGroup, int]
    states: dict[State, int]
    parties: dict[Party, int]
    reasons: dict[HealthReason, int]
    providers: dict[str, int] = Field(description="by provider_id, of all workspaces together")
    workspaces: list[WorklistGroup] = Field(description="most devices first")
    unavailable_workspaces: list[UnavailableWorkspace] = Field(description=UNAVAILABLE_DESCRIPTION)


class _WorklistTally:
    """Counts devices, those of one age group alone if that is asked for."""

    def __init__(self, age: AgeGroup | None) -> None:
        self._age = age
        self._ages: Counter[AgeGroup] = Counter()
        self._states: Counter[State] = Counter()
        self._parties: Counter[Party] = Counter()
        self._reasons: Counter[HealthReason] = Counter()
        self._providers: Counter[str] = Counter()
        self._workspaces: Counter[tuple[str, str]] = Counter()
        self.seen = 0

    def add(self, items: Iterable[JudgedDevice], now: datetime) -> None:
        for facts, verdict in items:
            self.seen += 1
            away = age_seconds(facts.away_since, now)
            age = find_age_group(away, is_heard=facts.last_update_received_at is not None)
            self._ages[age] += 1
            if self._age not in (None, age):
                continue
            self._states[verdict.state] += 1
            self._parties[verdict.party] += 1
            self._reasons[verdict.reason] += 1
            self._providers[facts.device.provider_id] += 1
            self._workspaces[facts.device.workspace_id, facts.workspace.name] += 1

    def present(self, page: JudgedPage, unavailable: list[UnavailableWorkspace]) -> WorklistSummary:
        groups = [
            WorklistGroup(workspace_id=workspace_id, workspace_name=name, devices=devices)
            for (workspace_id, name), devices in self._workspaces.most_common()
        ]
        return WorklistSummary(
            evaluated_at=page.evaluated_at,
            devices=self._states.total(),
            is_complete=page.last is None,
            ages={age: self._ages[age] for age in AgeGroup},
            states=dict(self._states.most_common()),
            parties=dict(self._parties.most_common()),
            reasons=dict(self._reasons.most_common()),
            providers=dict(self._providers.most_common()),
            workspaces=groups,
            unavailable_workspaces=unavailable,
        )


def declare_worklist_summary(operations: Operations, services: ApiServices) -> None:
    kept: KeptAnswers[WorklistSummary] = KeptAnswers(MAX_KEPT)

    @operations.declare(
        "GET",
        "/worklist/summary",
        scope=Scope.READ,
        query=WorklistQuery,
        response=WorklistSummary,
        tag="issues",
    )
    async def summarise_worklist() -> Response:
        """Count the devices of the worklist under its filters, 20,000 at most.

        Those that are away longest are counted first. `cursor`, `limit` and `format` count for
        nothing. With `counts_max_age` the answer may be one of so many seconds ago, as its
        `evaluated_at` says.
        """
        query = read_query(request, WorklistQuery)
        if not query.counts_max_age:
            return json_response(await summarise(query))
        asked = workspaces_of(query), query.states, query.digest
        make = partial(summarise, query)
        return json_response(await kept.find(asked, query.counts_max_age, make))

    async def summarise(query: WorklistQuery) -> WorklistSummary:
        most = 1 + MAX_CSV_ROWS + ROWS_PER_QUERY
        source = WorklistSource(services, workspaces_of(query), most=most, cursor=None)
        wanted = HealthQuery(
            states=query.states,
            order="silence",
            devices=query.devices._replace(age=None),
            limit=ROWS_PER_QUERY,
            with_counts=False,
        )
        return await _count(services, source, wanted, query)


async def _count(
    services: ApiServices, source: WorklistSource, wanted: HealthQuery, query: WorklistQuery
) -> WorklistSummary:
    tally, accepts = _WorklistTally(query.age), query.accepts
    for _ in range(MAX_CSV_ROWS // ROWS_PER_QUERY):
        page = await load_judged(services, source, wanted)
        accepted = (each for each in page.items if accepts is None or accepts(each.verdict))
        tally.add(accepted, page.evaluated_at)
        if page.last is None:
            break
        wanted = wanted._replace(after=page.last.position, now=page.evaluated_at)
    return tally.present(page, source.unavailable)
