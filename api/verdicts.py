"""Verdicts as they are shown: facts from the store, judged at one instant, with their evidence.

Owns the shapes that health, issues and the worklist share, and the reading of their pages. The rule
itself is in domain.health; this file decides no state and no reason.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple, cast

from pydantic import Field

from api.bodies import Instant
from api.csv_answers import MAX_CSV_ROWS, ROWS_PER_QUERY
from api.cursors import Cursor
from api.device_filters import DeviceFilterQuery
from api.evidence import EvidenceDict
from api.paging import Paging, cut_page
from api.read_owners import SERVED_BY_DESCRIPTION
from api.services import ApiServices
from api.shapes import AnswerModel
from api.sources import PageSource
from api.spreadsheet import Cell
from domain.cutover import ReadOwner
from domain.health import Judge, Verdict
from domain.health_facts import HealthFacts
from domain.health_reason import HealthReason, Party
from domain.health_state import State
from domain.thresholds import Thresholds
from ports.reads import HealthPage, HealthQuery, WorklistPosition

MAX_SIFTED = 5_000  # devices that one page judges, when reasons or parties are asked for
Accepts = Callable[[Verdict], bool]
COUNTED_DESCRIPTION = (
    "when the devices of `counts` were counted: at `evaluated_at`, or before it by up to "
    "`counts_max_age` seconds"
)
ACTIVE_DESCRIPTION = (
    "false: the workspace is switched off. Nothing is collected for it, and it has no issues"
)


class ThresholdsAnswer(AnswerModel):
    """The limits that applied, in seconds of age; `source` is the configuration they come from."""

    freshness_target_seconds: float
    delayed_after_seconds: float
    stale_after_seconds: float
    grace_seconds: float
    expected_update_seconds: float | None
    source: str = Field(
        description="workspace, provider, device, expected_update_seconds or poll_interval_seconds"
    )
    period_seconds: float = Field(
        description="how often news can come: the expected period, and the interval of polls"
    )


class VerdictAnswer(AnswerModel):
    """The health of one device, with reason and evidence."""

    workspace_id: str
    vehicle_id: str
    vehicle_name: str
    device_id: str
    provider_id: str
    external_id: str
    state: State
    reason: HealthReason
    party: Party = Field(description="whose fault the reason is")
    freshness_age_seconds: float | None = Field(
        description="since last_update_received_at; null if no update was ever received"
    )
    last_update_received_at: Instant | None = Field(
        description="when its newest update came; null if none came since configured_at"
    )
    configured_at: Instant = Field(
        description="when it was activated, or got its present unit and vehicle"
    )
    away_for_seconds: float | None = Field(
        description="since the vehicle's own time of its newest data, or since its arrival "
        "if that was earlier; null if no update was ever received"
    )
    last_observed_at: Instant | None = Field(
        description="the vehicle's own time of its newest data"
    )
    last_confirmed_at: Instant | None = Field(
        description="when the provider last answered about the device, with or without new data"
    )
    provider_lag_seconds: float | None = Field(
        description="received minus observed, of the device's newest data",
    )
    old_signals: list[str] = Field(
        description="signals that came once, and are older than they should be"
    )
    tags: list[str] = Field(description="the customer's labels of the device, sorted")
    served_by: ReadOwner = Field(description=SERVED_BY_DESCRIPTION)
    thresholds: ThresholdsAnswer
    evidence: EvidenceDict


class JudgedDevice(NamedTuple):
    """One device's facts and the verdict on them."""

    facts: HealthFacts
    verdict: Verdict

    @property
    def position(self) -> WorklistPosition:
        """The device's place in the worklist: away longest first."""
        return position_of(self.facts)


def position_of(facts: HealthFacts) -> WorklistPosition:
    """Return the device's place in the worklist, from its facts."""
    return WorklistPosition(facts.away_since, facts.device.workspace_id, facts.device.device_id)


class JudgedPage(NamedTuple):
    """A page of verdicts. `counts` are of all devices, whatever the filter, at `counted_at`.

    `last` is the last item if more follow, else None.
    """

    evaluated_at: datetime
    counts: Mapping[State, int]
    items: Sequence[JudgedDevice]
    last: JudgedDevice | None
    counted_at: datetime

    def next_cursor(self, paging: Paging, kind: str, source: str) -> str | None:
        """Return the cursor after this page. `source`: as in Cursor."""
        if self.last is None:
            return None
        since, workspace_id, device_id = self.last.position
        return paging.encode(kind, (since, workspace_id, device_id), self.evaluated_at, source)


async def load_judged(
    services: ApiServices, source: PageSource, query: HealthQuery, accepts: Accepts | None = None
) -> JudgedPage:
    """Return a page of verdicts, all at the same instant: the database's now, or `query.now`.

    With `accepts`, at most MAX_SIFTED devices are judged: the page may be short, and even empty,
    although more follow. Raises LegacyUnreachable and LegacyUnfit if the legacy system of one
    workspace is the source.
    """
    if accepts is not None:
        return await _sift(services, source, query, accepts)
    page = await source.load_page(query._replace(limit=query.limit + 1))
    rows, last = cut_page(page.rows, query.limit)
    judge = Judge(page.evaluated_at).judge
    items = [JudgedDevice(facts, judge(facts)) for facts in rows]
    _log_evaluation(services, page, items)
    return JudgedPage(
        page.evaluated_at,
        complete_counts(page.counts),
        items,
        None if last is None else items[-1],
        page.counted_at,
    )


async def _sift(
    services: ApiServices, source: PageSource, query: HealthQuery, accepts: Accepts
) -> JudgedPage:
    """Judge devices until `query.limit` of them are accepted, or enough were looked at."""
    found: list[JudgedDevice] = []
    asked = query._replace(limit=ROWS_PER_QUERY)
    first: JudgedPage | None = None
    for _ in range(MAX_SIFTED // ROWS_PER_QUERY):
        page = await load_judged(services, source, asked)
        first = first or page
        page = page._replace(counts=first.counts, counted_at=first.counted_at)
        for place, item in enumerate(page.items, 1):
            if accepts(item.verdict):
                found.append(item)
            if len(found) == query.limit:
                is_last = page.last is None and place == len(page.items)
                return page._replace(items=found, last=None if is_last else item)
        if page.last is None:
            break
        asked = asked._replace(after=page.last.position, now=page.evaluated_at, with_counts=False)
    return page._replace(items=found)


async def load_rows(
    services: ApiServices,
    source: PageSource,
    query: HealthQuery,
    to_row: Callable[[JudgedDevice, JudgedPage], Sequence[Cell]],
    accepts: Accepts | None = None,
) -> tuple[list[Sequence[Cell]], JudgedPage]:
    """Return as many rows as a CSV may have, and the last of the pages that they came in.

    A CSV shows no counts.
    """
    rows: list[Sequence[Cell]] = []
    query = query._replace(limit=ROWS_PER_QUERY, with_counts=False)
    while True:
        page = await load_judged(services, source, query)
        wanted = [item for item in page.items if accepts is None or accepts(item.verdict)]
        rows += [to_row(item, page) for item in wanted]
        if page.last is None or len(rows) >= MAX_CSV_ROWS:
            return rows, page
        query = query._replace(after=page.last.position, now=page.evaluated_at)


def page_query(query: DeviceFilterQuery, cursor: Cursor | None) -> HealthQuery:
    """Return the query for this page, at the instant of the first page."""
    wanted = HealthQuery(limit=query.limit, counts_max_age=query.counts_max_age)
    if cursor is None:
        return wanted
    after = WorklistPosition(*cast("tuple[datetime, str, str]", cursor.after))
    return wanted._replace(after=after, now=cursor.evaluated_at)


def complete_counts(counts: Mapping[State, int]) -> dict[State, int]:
    """Return every state with its count, so that an empty fleet has the same shape."""
    return {state: counts.get(state, 0) for state in State}


def verdict_fields(judged: JudgedDevice) -> dict[str, Any]:
    """Return a VerdictAnswer in plain values."""
    facts, verdict = judged
    device = facts.device
    return {
        "workspace_id": device.workspace_id,
        "vehicle_id": device.vehicle_id,
        "vehicle_name": device.vehicle_name,
        "device_id": device.device_id,
        "provider_id": device.provider_id,
        "external_id": device.external_id,
        "state": verdict.state,
        "reason": verdict.reason,
        "party": verdict.party,
        "freshness_age_seconds": verdict.freshness_age_seconds,
        "last_update_received_at": facts.last_update_received_at,
        "configured_at": device.activated_at,
        "away_for_seconds": verdict.away_for_seconds,
        "last_observed_at": facts.last_observed_at,
        "last_confirmed_at": verdict.evidence["provider_answered_at"],
        "provider_lag_seconds": verdict.provider_lag_seconds,
        "old_signals": list(verdict.old_signals),
        "tags": list(device.tags),
        "served_by": ReadOwner.LEGACY if facts.is_of_legacy else ReadOwner.CORE,
        "thresholds": _thresholds_fields(verdict.thresholds),
        "evidence": verdict.evidence,
    }


@lru_cache(maxsize=256)  # a page has few, each of them for hundreds of devices
def _thresholds_fields(thresholds: Thresholds) -> Mapping[str, Any]:
    return thresholds._asdict()


@lru_cache(maxsize=256)
def present_thresholds(thresholds: Thresholds) -> ThresholdsAnswer:
    return ThresholdsAnswer(**thresholds._asdict())


def _log_evaluation(services: ApiServices, page: HealthPage, items: Sequence[JudgedDevice]) -> None:
    services.log.debug(
        "device_health_evaluated_on_request",
        evaluated_at=page.evaluated_at,
        devices=len(items),
        counts={str(state): count for state, count in page.counts.items()},
    )
