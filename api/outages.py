"""A failure of a whole workspace, said once instead of once a device.

Owns when it is one: no device of the workspace is healthy, and every one of them is silent for a reason on our side or
the provider's. One device that is silent for its own sake, or one that reports, makes it a matter of devices again.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from pydantic import Field

from api.bodies import Instant
from api.ports import HealthQuery
from api.services import ApiServices
from api.shapes import AnswerModel
from api.verdicts import Judged, JudgedPage, load_judged
from domain.health import HealthReason, State

NOT_THE_DEVICES_FAULT = frozenset(
    {
        HealthReason.COLLECTOR_LATE,
        HealthReason.INGEST_BACKLOG,
        HealthReason.CREDENTIALS_REJECTED,
        HealthReason.QUOTA_EXHAUSTED,
        HealthReason.STREAM_DISCONNECTED,
        HealthReason.PROVIDER_OUTAGE,
    }
)
OUTAGE_DESCRIPTION = (
    "set when no device is healthy and none is to blame: a failure of the collector or the provider. Said on the first "
    "page only"
)
_SURVEY_LIMIT = 500


class WorkspaceOutage(AnswerModel):
    """`reason` is the commonest; all are in `reasons`, with the number of devices each explains."""

    reason: HealthReason
    reasons: dict[str, int]
    affected_devices: int
    provider_ids: list[str]
    last_update_received_at: Instant | None = Field(description="the newest of the workspace: when it began, at most")
    evidence: dict[str, Any] = Field(description="of the first device with that reason")


async def find_outage(services: ApiServices, workspace_id: str, page: JudgedPage) -> WorkspaceOutage | None:
    """The outage of this workspace at the instant of this, its first, page; or None.

    When the page shows a part of the devices only, the others are read too: page by page, and only for as long as
    everything seen supports an outage, so a fleet that is not in one costs nothing.
    """
    total = sum(page.counts.values())
    if total == 0 or page.counts[State.HEALTHY] or not _all_excused(page.items):
        return None
    seen = page.items if len(page.items) == total else await _survey(services, workspace_id, page.evaluated_at)
    return _describe(seen) if seen else None


async def _survey(services: ApiServices, workspace_id: str, evaluated_at: datetime) -> list[Judged]:
    """All devices of the workspace; empty as soon as one is silent for a reason of its own."""
    seen: list[Judged] = []
    query = HealthQuery(limit=_SURVEY_LIMIT, now=evaluated_at)
    while True:
        page = await load_judged(services, frozenset({workspace_id}), query)
        if not _all_excused(page.items):
            return []
        seen += page.items
        if page.last is None:
            return seen
        query = query._replace(after=page.last.position)


def _all_excused(items: Iterable[Judged]) -> bool:
    return all(item.verdict.reason in NOT_THE_DEVICES_FAULT for item in items)


def _describe(items: Sequence[Judged]) -> WorkspaceOutage:
    reasons = Counter(item.verdict.reason for item in items)
    reason = reasons.most_common(1)[0][0]
    example = next(item for item in items if item.verdict.reason is reason)
    heard = [item.facts.last_update_received_at for item in items if item.facts.last_update_received_at is not None]
    return WorkspaceOutage(
        reason=reason,
        reasons={str(name): count for name, count in reasons.most_common()},
        affected_devices=len(items),
        provider_ids=sorted({item.facts.device.provider_id for item in items}),
        last_update_received_at=max(heard, default=None),
        evidence=dict(example.verdict.evidence),
    )
