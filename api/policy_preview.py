"""The preview of a policy: what would change at once if it were stored. Nothing is stored.

Every device is judged twice on the facts of one read and at one instant: by the present policy and
by the other one. The rule is that of health (domain.health).
"""

from collections import Counter
from datetime import datetime
from typing import Annotated, NamedTuple

import trio
from pydantic import Field
from quart import Response, request

from api.auth import current_workspace
from api.bodies import Instant, RequestModel, json_response, read_query
from api.conflicts import refuse_archived, refuse_synchronized
from api.csv_answers import ROWS_PER_QUERY
from api.cursors import MAX_PAGE_ITEMS
from api.keys import Scope
from api.operations import Operations
from api.patching import PATCH_MEDIA_TYPES, patch_of, read_patch
from api.policy import (
    PATH,
    TAG,
    PolicyAnswer,
    PolicyBody,
    body_after,
    present_policy,
    refuse_contradictions,
    with_interval,
)
from api.problem_types import CONFLICT, SYNCHRONIZED_SCHEDULE
from api.services import ApiServices
from api.shapes import AnswerModel
from api.sources import CoreSource
from api.verdicts import (
    JudgedDevice,
    JudgedPage,
    ThresholdsAnswer,
    complete_counts,
    load_judged,
    present_thresholds,
)
from domain.health import Judge, Verdict
from domain.health_reason import HealthReason
from domain.health_state import State
from domain.model import Workspace
from domain.registry import Archived, keeps_ordinal, with_policy
from domain.schedule import next_start, place_of
from ports.reads import HealthQuery


class PreviewedVerdict(AnswerModel):
    """State and reason of a device by one of the two policies, with the limits that apply.

    `thresholds.source` says where these come from: overrides of a connection or a device, and
    expected periods, apply before the policy of the workspace.
    """

    state: State
    reason: HealthReason
    thresholds: ThresholdsAnswer


class PreviewedDevice(AnswerModel):
    """A device whose state or reason would change."""

    device_id: str
    vehicle_id: str
    vehicle_name: str
    provider_id: str
    now: PreviewedVerdict
    then: PreviewedVerdict


class PreviewedChange(AnswerModel):
    """How many devices would change from one state and reason to another."""

    from_state: State
    from_reason: HealthReason
    to_state: State
    to_reason: HealthReason
    devices: int


class PreviewedSchedule(AnswerModel):
    """The place in the schedule: another interval or another offset gives another one.

    Without an offset, the new place is the one that is free at present. A regular start is null in
    an inactive workspace. Before the first one at a new place, a cycle may make up for the slot
    that has begun.
    """

    changes: bool
    next_regular_start_at: Instant | None = Field(description="by the present policy")
    new_next_regular_start_at: Instant | None = Field(description="by the other policy")


class PolicyPreview(AnswerModel):
    """What would change at once with the policy; nothing was stored.

    `items` are the first changed devices by device_id, as many as `limit`; `changed` and
    `changes` count all of them.
    """

    evaluated_at: Instant
    policy: PolicyAnswer = Field(description="as it would be stored")
    devices: int = Field(description="active devices, all of which were judged")
    changed: int = Field(description="devices whose state or reason would change")
    counts_now: dict[State, int]
    counts_then: dict[State, int]
    changes: list[PreviewedChange] = Field(description="most devices first")
    sources: dict[str, int] = Field(
        description="devices by the `source` of the limits that would apply to them"
    )
    schedule: PreviewedSchedule
    items: list[PreviewedDevice]


class PreviewQuery(RequestModel):
    limit: Annotated[
        int, Field(ge=1, le=MAX_PAGE_ITEMS, description="most devices that are listed")
    ] = 100


class _Change(NamedTuple):
    from_state: State
    from_reason: HealthReason
    to_state: State
    to_reason: HealthReason


class _Candidate(NamedTuple):
    """The policy that is tried. `free_ordinal` is the place that its interval would give."""

    body: PolicyBody
    free_ordinal: int | None

    def apply(self, stored: Workspace, at: datetime) -> Workspace:
        return with_policy(stored, self.body.to_draft(), free_ordinal=self.free_ordinal, at=at)


class _Tally:
    """The changes of the devices judged so far; the first `limit` of them one by one."""

    def __init__(self, candidate: _Candidate, limit: int) -> None:
        self.changes: Counter[_Change] = Counter()
        self.now: Counter[State] = Counter()
        self.then: Counter[State] = Counter()
        self.sources: Counter[str] = Counter()
        self.items: list[PreviewedDevice] = []
        self._candidate = candidate
        self._limit = limit

    def add(self, page: JudgedPage) -> None:
        """Judge the devices of a page by the candidate, and count what changes."""
        if not page.items:
            return
        judge = Judge(page.evaluated_at).judge
        wanted = self._candidate.apply(page.items[0].facts.workspace, page.evaluated_at)
        for judged in page.items:
            self._count(judged, judge(judged.facts._replace(workspace=wanted)))

    def _count(self, judged: JudgedDevice, then: Verdict) -> None:
        now = judged.verdict
        self.now[now.state] += 1
        self.then[then.state] += 1
        self.sources[then.thresholds.source] += 1
        if (now.state, now.reason) == (then.state, then.reason):
            return
        self.changes[_Change(now.state, now.reason, then.state, then.reason)] += 1
        if len(self.items) < self._limit:
            self.items.append(_present_device(judged, then))


def declare_policy_preview(operations: Operations, services: ApiServices) -> None:
    body_model = with_interval(PolicyBody, services.min_poll_interval_seconds)

    @operations.declare(
        "POST",
        f"{PATH}/preview",
        scope=Scope.CONTROL,
        query=PreviewQuery,
        request=patch_of(body_model),
        request_media_types=PATCH_MEDIA_TYPES,
        response=PolicyPreview,
        problems=(CONFLICT, SYNCHRONIZED_SCHEDULE),
        tag=TAG,
    )
    async def preview_policy(workspace_id: str) -> Response:
        """Show what a change of the policy would change at once. Stores nothing.

        The body is that of a PATCH of the policy (RFC 7396): members left out stay. A whole policy
        means the same here and in a PUT. What the policy's PATCH would refuse is refused here.
        """
        query = read_query(request, PreviewQuery)
        stored = current_workspace()
        body = body_after(await read_patch(request), stored, body_model)
        refuse_contradictions(body.to_draft())
        if stored.archived_at is not None:
            raise refuse_archived(Archived("workspace"))
        wanted = body.to_draft().apply(stored)
        if refusal := await services.registry.find_synchronized(stored, wanted):
            raise refuse_synchronized(refusal)
        candidate = _Candidate(body, await _find_ordinal(services, stored, body))
        return json_response(await _preview(services, stored, candidate, query.limit))


async def _find_ordinal(services: ApiServices, stored: Workspace, body: PolicyBody) -> int | None:
    """Return the ordinal that the workspace would take; None if it keeps the one that it has."""
    interval = body.poll_interval_seconds
    if keeps_ordinal(stored, active=stored.active, poll_interval_seconds=interval):
        return None
    return await services.registry.find_free_ordinal(interval)


async def _preview(
    services: ApiServices, stored: Workspace, candidate: _Candidate, limit: int
) -> PolicyPreview:
    """Judge all devices, page by page at the instant of the first, and return what changes.

    Another task may run between two pages and between the two verdicts on one.
    """
    tally = _Tally(candidate, limit)
    query = HealthQuery(limit=ROWS_PER_QUERY, with_inactive=True)
    source = CoreSource(services, frozenset({stored.workspace_id}))
    while True:
        page = await load_judged(services, source, query)
        await trio.lowlevel.checkpoint()
        tally.add(page)
        if page.last is None:
            return _present(tally, stored, candidate, page.evaluated_at)
        query = query._replace(after=page.last.position, now=page.evaluated_at)


def _present(
    tally: _Tally, stored: Workspace, candidate: _Candidate, evaluated_at: datetime
) -> PolicyPreview:
    wanted = candidate.apply(stored, evaluated_at)
    return PolicyPreview(
        evaluated_at=evaluated_at,
        policy=present_policy(wanted),
        devices=tally.now.total(),
        changed=tally.changes.total(),
        counts_now=complete_counts(tally.now),
        counts_then=complete_counts(tally.then),
        changes=[
            PreviewedChange(**change._asdict(), devices=devices)
            for change, devices in tally.changes.most_common()
        ],
        sources=dict(tally.sources),
        schedule=PreviewedSchedule(
            changes=_schedule_of(wanted) != _schedule_of(stored),
            next_regular_start_at=_find_next_start(stored, evaluated_at),
            new_next_regular_start_at=_find_next_start(wanted, evaluated_at),
        ),
        items=tally.items,
    )


def _schedule_of(workspace: Workspace) -> tuple[int, int | None]:
    return workspace.poll_interval_seconds, workspace.start_offset_seconds


def _find_next_start(workspace: Workspace, after: datetime) -> datetime | None:
    place = place_of(workspace)
    return None if place is None else next_start(after, place).start_at


def _present_device(judged: JudgedDevice, then: Verdict) -> PreviewedDevice:
    device = judged.facts.device
    return PreviewedDevice(
        device_id=device.device_id,
        vehicle_id=device.vehicle_id,
        vehicle_name=device.vehicle_name,
        provider_id=device.provider_id,
        now=_present_verdict(judged.verdict),
        then=_present_verdict(then),
    )


def _present_verdict(verdict: Verdict) -> PreviewedVerdict:
    return PreviewedVerdict(
        state=verdict.state,
        reason=verdict.reason,
        thresholds=present_thresholds(verdict.thresholds),
    )
