"""A failure of a whole workspace, reported once instead of once for each device.

Owns the rule: it is an outage when no device of the workspace is healthy and a shared cause holds
for every device: on our side, in the account, on the provider's side, or of the client that sends.
One device that reports, or for which no shared cause holds, contradicts an outage. A device with a
reason of its own beside the shared cause does not; it is not counted as affected.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime

from pydantic import Field

from api.bodies import Instant
from api.evidence import EvidenceDict
from api.services import ApiServices
from api.shapes import AnswerModel
from api.sources import PageSource
from api.verdicts import JudgedDevice, JudgedPage, load_judged
from domain.health_reason import SHARED_REASONS, HealthReason, Party
from domain.health_state import State
from ports.reads import HealthQuery

OUTAGE_DESCRIPTION = (
    "set on the first page when no device is healthy, and a cause that all of them share holds"
)
_SURVEY_LIMIT = 500


class WorkspaceOutage(AnswerModel):
    """An outage of the workspace. `reason` is the most frequent of `reasons`.

    `reasons` has the number of devices with each reason. A device with a reason of its own is not
    affected.
    """

    reason: HealthReason
    party: Party
    reasons: dict[HealthReason, int]
    affected_devices: int
    provider_ids: list[str]
    last_update_received_at: Instant | None = Field(
        description="the newest of all devices; the outage began no earlier",
    )
    evidence: EvidenceDict = Field(description="of the first device with that reason")


async def find_outage(
    services: ApiServices, source: PageSource, page: JudgedPage
) -> WorkspaceOutage | None:
    """Return the outage of a workspace at the instant of `page`, its first page; or None.

    When the page has only some of the devices, all are read, page by page, until one device
    contradicts an outage. A fleet with a healthy device costs no further page. No shared cause is
    known of what a legacy system collects, so it shows no outage.
    """
    total = sum(page.counts.values())
    if total == 0 or page.counts[State.HEALTHY] or not _have_shared_causes(page.items):
        return None
    seen = (
        page.items
        if len(page.items) == total
        else await _survey(services, source, page.evaluated_at)
    )
    affected = [item for item in seen if item.verdict.reason in SHARED_REASONS]
    return _describe(affected) if affected else None


async def _survey(
    services: ApiServices, source: PageSource, evaluated_at: datetime
) -> list[JudgedDevice]:
    """Return all devices of the source; empty if one of them contradicts an outage."""
    seen: list[JudgedDevice] = []
    query = HealthQuery(limit=_SURVEY_LIMIT, now=evaluated_at, with_inactive=True)
    while True:
        page = await load_judged(services, source, query)
        if not _have_shared_causes(page.items):
            return []
        seen += page.items
        if page.last is None:
            return seen
        query = query._replace(after=page.last.position)


def _have_shared_causes(items: Iterable[JudgedDevice]) -> bool:
    """Return whether a shared cause holds for each; none holds for a healthy device."""
    return all(
        any(cause.reason in SHARED_REASONS for cause in item.verdict.causes) for item in items
    )


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
