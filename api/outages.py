"""A failure of a whole workspace, reported once instead of once for each device.

Owns the rule: it is an outage when no device of the workspace is healthy and every device is silent
for a reason of its connection: on our side, in the account, or on the provider's side. One device
that reports, or that is silent for a reason of its own, contradicts an outage.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from pydantic import Field

from api.bodies import Instant
from api.services import ApiServices
from api.shapes import AnswerModel
from api.verdicts import JudgedDevice, JudgedPage, load_judged
from domain.health_reason import CONNECTION_REASONS, HealthReason, Party
from domain.health_state import State
from ports.reads import HealthQuery

OUTAGE_DESCRIPTION = (
    "set on the first page when no device is healthy, and collector or provider is the reason"
)
_SURVEY_LIMIT = 500


class WorkspaceOutage(AnswerModel):
    """An outage of the workspace. `reason` is the most frequent of `reasons`.

    `reasons` has the number of devices with each reason.
    """

    reason: HealthReason
    party: Party
    reasons: dict[str, int]
    affected_devices: int
    provider_ids: list[str]
    last_update_received_at: Instant | None = Field(
        description="the newest of all devices; the outage began no earlier",
    )
    evidence: dict[str, Any] = Field(description="of the first device with that reason")


async def find_outage(
    services: ApiServices, workspace_id: str, page: JudgedPage
) -> WorkspaceOutage | None:
    """Return the outage of this workspace at the instant of `page`, its first page; or None.

    When the page has only some of the devices, all are read, page by page, until one device
    contradicts an outage. A fleet with a healthy device costs no further page.
    """
    total = sum(page.counts.values())
    if total == 0 or page.counts[State.HEALTHY] or not _all_excused(page.items):
        return None
    seen = (
        page.items
        if len(page.items) == total
        else await _survey(services, workspace_id, page.evaluated_at)
    )
    return _describe(seen) if seen else None


async def _survey(
    services: ApiServices, workspace_id: str, evaluated_at: datetime
) -> list[JudgedDevice]:
    """Return all devices of the workspace; empty if one of them contradicts an outage."""
    seen: list[JudgedDevice] = []
    query = HealthQuery(limit=_SURVEY_LIMIT, now=evaluated_at)
    while True:
        page = await load_judged(services, frozenset({workspace_id}), query)
        if not _all_excused(page.items):
            return []
        seen += page.items
        if page.last is None:
            return seen
        query = query._replace(after=page.last.position)


def _all_excused(items: Iterable[JudgedDevice]) -> bool:
    return all(item.verdict.reason in CONNECTION_REASONS for item in items)


def _describe(items: Sequence[JudgedDevice]) -> WorkspaceOutage:
    reasons = Counter(item.verdict.reason for item in items)
    reason = reasons.most_common(1)[0][0]
    example = next(item for item in items if item.verdict.reason is reason)
    heard = [
        item.facts.last_update_received_at
        for item in items
        if item.facts.last_update_received_at is not None
    ]
    return WorkspaceOutage(
        reason=reason,
        party=example.verdict.party,
        reasons={str(name): count for name, count in reasons.most_common()},
        affected_devices=len(items),
        provider_ids=sorted({item.facts.device.provider_id for item in items}),
        last_update_received_at=max(heard, default=None),
        evidence=dict(example.verdict.evidence),
    )
