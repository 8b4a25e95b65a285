"""The indicators of a workspace: how well it is collected, now and over a span of time.

docs/indicators.md says what each figure counts, from which fact, and where it ends. The counting
is in domain/indicators.py. This file turns counts into shares and percentiles, and nothing else.
"""

from datetime import datetime, timedelta
from typing import Annotated

from pydantic import ConfigDict, Field
from quart import Response, request

from api.auth import no_such_workspace
from api.bodies import Instant, RequestModel, json_response, read_query
from api.keys import Scope
from api.operations import Operations
from api.problem_types import INVALID_PARAMETER
from api.problems import FaultyPart, Problem
from api.services import ApiServices
from api.shapes import AnswerModel
from domain import indicators as rules
from domain.cycles import CycleOutcome
from domain.indicators import Counts, find_share
from domain.model import Outcome, Reason
from ports.indicators import BurnWindow, CountedSpan, Freshness, IndicatorFacts

DEFAULT_SPAN = timedelta(hours=24)
MAX_SPAN = timedelta(days=90)

Share = Annotated[float | None, Field(description="0 to 1; null: nothing was counted")]


class IndicatorQuery(RequestModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=False)

    begins_at: Instant | None = Field(
        None,
        alias="from",
        description="the beginning; at most 90 days ago. Left out: 24 hours before `to`",
    )
    ends_at: Instant | None = Field(
        None, alias="to", description="the end, which is not part of it. Left out, or later: now"
    )


class Percentiles(AnswerModel):
    """Seconds that 50, 90, 95 and 99% of the values do not exceed; null: there was no value."""

    p50_seconds: float | None
    p90_seconds: float | None
    p95_seconds: float | None
    p99_seconds: float | None


class FreshnessNow(AnswerModel):
    """The devices that are active at `evaluated_at`, and the exact ages of their last updates."""

    evaluated_at: Instant
    freshness_target_seconds: float
    active_devices: int
    heard_devices: int = Field(description="those that have reported since they were activated")
    fresh_devices: int = Field(description="those with an age within the target")
    fresh_share: Share
    age: Percentiles = Field(description="of the devices that have reported")
    oldest_age_seconds: float | None


class BurnRate(AnswerModel):
    """How fast the window that ends at `ends_at` spent what the objective allows.

    1 is just as fast as is allowed, 20 is with no fresh device at all.
    """

    window_seconds: int
    samples: int = Field(description="cycles at whose end devices were counted")
    fresh_share: Share
    burn_rate: float | None = Field(description="null: no device was counted")


class Objective(AnswerModel):
    """The share of active devices with an age within the target, at the ends of poll cycles."""

    objective_share: float = Field(description="the share that is aimed at")
    samples: int = Field(description="cycles at whose end devices were counted")
    fresh_share: Share
    burn_rates: list[BurnRate]


class CycleIndicators(AnswerModel):
    """The poll cycles whose slots began in the span."""

    outcomes: dict[CycleOutcome, int] = Field(description="cycles by outcome, runs on demand too")
    slots: int = Field(description="slots of the schedule, except those with nothing to collect")
    completed_slots: int = Field(description="those with a completed attempt")
    success_share: Share
    duration: Percentiles = Field(description="of cycles that began and ended; rounded up by 16%")


class CoverageIndicators(AnswerModel):
    """How many of the active devices had news."""

    cycle_share: Share = Field(description="of all cycles together: devices with news in the cycle")
    active_devices: int = Field(description="at `ends_at`")
    covered_devices: int = Field(description="those with an update in the 24 hours before")
    covered_share: Share


class RefusedIndicators(AnswerModel):
    """What was refused for one reason, from the ledger.

    `occurrences` counts readings if there is a signal, and else updates or records.
    """

    outcome: Outcome
    reason: Reason | None
    signal: str | None
    occurrences: int


class UpdateIndicators(AnswerModel):
    """What became of updates, over all ways in. The ledger counts by whole hours of UTC."""

    accepted: int
    duplicates: int = Field(description="of polled connections; others are not recorded")
    refused: list[RefusedIndicators]


class StreamIndicators(AnswerModel):
    """For which part of the span the stream of a connection was open."""

    provider_id: str
    known_seconds: float = Field(description="since its first edge")
    open_share: Share


class CoalescingIndicators(AnswerModel):
    """How much was merged before it was stored. The ratios are null if nothing was collected."""

    frames: int = Field(description="that streams received")
    frame_updates: int = Field(description="that streams made of them")
    frames_per_update: float | None
    records: int = Field(description="of all answers to polls")
    record_updates: int = Field(description="that were made of them")
    records_per_update: float | None


class LagIndicators(AnswerModel):
    """The way of an accepted update, stage by stage; rounded up by at most 16%.

    Observed, received by the provider (where it says when), received here, committed.
    """

    observed_to_provider: Percentiles
    provider_to_received: Percentiles
    observed_to_received: Percentiles
    received_to_committed: Percentiles
    observed_to_committed: Percentiles


class IndicatorHour(AnswerModel):
    """One hour of UTC, or the part of it that lies in the span. For charts."""

    begins_at: Instant
    ends_at: Instant
    samples: int
    fresh_share: Share
    cycle_coverage_share: Share
    success_share: Share


class IndicatorsAnswer(AnswerModel):
    """The indicators of a workspace from `begins_at` until before `ends_at`."""

    workspace_id: str
    begins_at: Instant
    ends_at: Instant
    hours_missing: int = Field(
        description="hours of which the facts are gone, or are too many for one request until "
        "they have been counted; nothing here has them"
    )
    freshness: FreshnessNow
    objective: Objective
    cycles: CycleIndicators
    coverage: CoverageIndicators
    updates: UpdateIndicators
    streams: list[StreamIndicators]
    coalescing: CoalescingIndicators
    lag: LagIndicators
    hours: list[IndicatorHour]


def declare_indicators(operations: Operations, services: ApiServices) -> None:
    @operations.declare(
        "GET",
        "/workspaces/{workspace_id}/indicators",
        scope=Scope.READ,
        query=IndicatorQuery,
        response=IndicatorsAnswer,
        tag="indicators",
    )
    async def get_indicators(workspace_id: str) -> Response:
        """Show the indicators of a workspace, of the last 24 hours or of another span.

        Every figure comes from stored facts, so every shard gives the same. A share or percentile
        of which nothing was counted is null, never 0 or 1.
        """
        wanted = read_query(request, IndicatorQuery)
        begins_at, ends_at = _find_span(wanted, services.clock.now())
        facts = await services.indicators.load_indicators(workspace_id, begins_at, ends_at)
        if facts is None:
            raise no_such_workspace(workspace_id)
        return json_response(_present(workspace_id, begins_at, ends_at, facts))


def _find_span(wanted: IndicatorQuery, now: datetime) -> tuple[datetime, datetime]:
    """Return the beginning and the end. Raises Problem 400 that names the parameter."""
    if wanted.begins_at is not None and wanted.begins_at >= now:
        raise _refuse("from", "Give an instant before now.")
    ends_at = now if wanted.ends_at is None else min(wanted.ends_at, now)
    if ends_at <= now - MAX_SPAN:
        raise _refuse("to", "Give an instant within the last 90 days.")
    begins_at = wanted.begins_at
    if begins_at is None:
        return max(ends_at - DEFAULT_SPAN, now - MAX_SPAN), ends_at
    if begins_at >= ends_at:
        raise _refuse("from", "Give an instant before `to`.")
    if begins_at < now - MAX_SPAN:
        raise _refuse("from", "Give an instant within the last 90 days.")
    return begins_at, ends_at


def _refuse(parameter: str, detail: str) -> Problem:
    return Problem(INVALID_PARAMETER, errors=[FaultyPart(parameter=parameter, detail=detail)])


def _present(
    workspace_id: str, begins_at: datetime, ends_at: datetime, facts: IndicatorFacts
) -> IndicatorsAnswer:
    counts = facts.counts
    return IndicatorsAnswer(
        workspace_id=workspace_id,
        begins_at=begins_at,
        ends_at=ends_at,
        hours_missing=facts.hours_missing,
        freshness=_present_freshness(facts.freshness),
        objective=_present_objective(counts, facts),
        cycles=_present_cycles(counts),
        coverage=CoverageIndicators(
            cycle_share=find_share(counts[rules.UPDATED], counts[rules.ACTIVE]),
            active_devices=facts.active,
            covered_devices=facts.covered,
            covered_share=find_share(facts.covered, facts.active),
        ),
        updates=UpdateIndicators(
            accepted=rules.count_accepted(counts),
            duplicates=counts[rules.DUPLICATES],
            refused=[RefusedIndicators(**one._asdict()) for one in rules.list_refused(counts)],
        ),
        streams=_present_streams(counts),
        coalescing=_present_coalescing(counts),
        lag=_present_lag(counts),
        hours=[_present_hour(span) for span in facts.spans],
    )


def _present_freshness(found: Freshness) -> FreshnessNow:
    return FreshnessNow(
        evaluated_at=found.evaluated_at,
        freshness_target_seconds=found.target_seconds,
        active_devices=found.active,
        heard_devices=found.heard,
        fresh_devices=found.fresh,
        fresh_share=find_share(found.fresh, found.active),
        age=_percentiles(*found.percentiles.values()),
        oldest_age_seconds=found.oldest_seconds,
    )


def _present_objective(counts: Counts, facts: IndicatorFacts) -> Objective:
    return Objective(
        objective_share=rules.SLO_SHARE,
        samples=counts[rules.SAMPLES],
        fresh_share=find_share(counts[rules.FRESH], counts[rules.ACTIVE]),
        burn_rates=[present_burn(window) for window in facts.burn],
    )


def present_burn(window: BurnWindow) -> BurnRate:
    return BurnRate(
        window_seconds=window.seconds,
        samples=window.samples,
        fresh_share=find_share(window.fresh, window.active),
        burn_rate=rules.find_burn_rate(window.fresh, window.active),
    )


def _present_cycles(counts: Counts) -> CycleIndicators:
    outcomes = rules.pick(counts, rules.CYCLE)
    return CycleIndicators(
        outcomes={CycleOutcome(name): outcomes[name] for name in sorted(outcomes)},
        slots=counts[rules.SLOTS],
        completed_slots=counts[rules.GOOD_SLOTS],
        success_share=find_share(counts[rules.GOOD_SLOTS], counts[rules.SLOTS]),
        duration=_percentiles_of(counts, rules.DURATION),
    )


def _present_streams(counts: Counts) -> list[StreamIndicators]:
    known, opened = (
        rules.pick(counts, rules.STREAM_KNOWN),
        rules.pick(counts, rules.STREAM_OPEN),
    )
    return [
        StreamIndicators(
            provider_id=provider_id,
            known_seconds=known[provider_id] / 1000,
            open_share=find_share(opened.get(provider_id, 0), known[provider_id]),
        )
        for provider_id in sorted(known)
    ]


def _present_coalescing(counts: Counts) -> CoalescingIndicators:
    frames, records = counts[rules.FRAMES], counts[rules.RECORDS]
    frame_updates, record_updates = counts[rules.FRAME_UPDATES], counts[rules.RECORD_UPDATES]
    return CoalescingIndicators(
        frames=frames,
        frame_updates=frame_updates,
        frames_per_update=find_share(frames, frame_updates),
        records=records,
        record_updates=record_updates,
        records_per_update=find_share(records, record_updates),
    )


def _present_lag(counts: Counts) -> LagIndicators:
    stages = [_percentiles_of(counts, rules.LAG, stage) for stage in rules.LAG_STAGES]
    return LagIndicators(**dict(zip(LagIndicators.model_fields, stages, strict=True)))


def _present_hour(span: CountedSpan) -> IndicatorHour:
    counts = span.counts
    return IndicatorHour(
        begins_at=span.begins_at,
        ends_at=span.ends_at,
        samples=counts[rules.SAMPLES],
        fresh_share=find_share(counts[rules.FRESH], counts[rules.ACTIVE]),
        cycle_coverage_share=find_share(counts[rules.UPDATED], counts[rules.ACTIVE]),
        success_share=find_share(counts[rules.GOOD_SLOTS], counts[rules.SLOTS]),
    )


def _percentiles_of(counts: Counts, *names: str) -> Percentiles:
    buckets = rules.pick_buckets(counts, *names)
    return _percentiles(*(rules.find_percentile(buckets, share) for share in rules.SHARES))


def _percentiles(*values: float | None) -> Percentiles:
    return Percentiles(**dict(zip(Percentiles.model_fields, values, strict=True)))
