"""A failure of a whole workspace, reported once instead of once for each device.

Owns the rule: it is an outage when no device of the workspace is healthy and a shared cause holds
for every device: on our side, in the account, on the provider's side, or of the client that sends.
One device that reports, or for which no shared cause holds, contradicts an outage. A device with a
reason of its own beside the shared cause does not; it is not counted as affected.
"""

from collections import Counter
from collections.abc import Iterable
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

MAX_SURVEYED = 10_000  # devices; to judge more takes longer than a request may
OUTAGE_DESCRIPTION = (
    "set on the first page when no device is healthy, and a cause that all of them share holds; "
    f"not looked for among more than {MAX_SURVEYED:,} devices"
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


class OutageTally:
    """Adds up the devices of one workspace, until one of them contradicts an outage.

    No shared cause holds for a healthy device, so it contradicts.
    """

    def __init__(self) -> None:
        self.is_contradicted = False
        self._reasons: Counter[HealthReason] = Counter()
        self._examples: dict[HealthReason, JudgedDevice] = {}
        self._provider_ids: set[str] = set()
        self._last_heard_at: datetime | None = None

    def add(self, judged: JudgedDevice) -> None:
        """Count a device. It is affected if its own reason is a shared one."""
        facts, verdict = judged
        if not any(cause.reason in SHARED_REASONS for cause in verdict.causes):
            self.is_contradicted = True
        if verdict.reason not in SHARED_REASONS:
            return
        self._reasons[verdict.reason] += 1
        self._examples.setdefault(verdict.reason, judged)
        self._provider_ids.add(facts.device.provider_id)
        heard_at = facts.last_update_received_at
        if heard_at is not None:
            self._last_heard_at = max(heard_at, self._last_heard_at or heard_at)

    def find(self) -> WorkspaceOutage | None:
        """Return the outage, if every device of the workspace was added and none contradicts."""
        if self.is_contradicted or not self._reasons:
            return None
        reason = self._reasons.most_common(1)[0][0]
        example = self._examples[reason].verdict
        return WorkspaceOutage(
            reason=reason,
            party=example.party,
            reasons={str(name): count for name, count in self._reasons.most_common()},
            affected_devices=self._reasons.total(),
            provider_ids=sorted(self._provider_ids),
            last_update_received_at=self._last_heard_at,
            evidence=dict(example.evidence),
        )


async def find_outage(
    services: ApiServices, source: PageSource, page: JudgedPage
) -> WorkspaceOutage | None:
    """Return the outage of a workspace at the instant of `page`, its first page; or None.

    When the page has only some of the devices, all are read, page by page, until one device
    contradicts an outage. A fleet with a healthy device costs no further page. Among more than
    MAX_SURVEYED devices no outage is looked for. No shared cause is known of what a legacy system
    collects, so it shows no outage.
    """
    total = sum(page.counts.values())
    if not 0 < total <= MAX_SURVEYED or page.counts[State.HEALTHY]:
        return None
    tally = _tally(page.items)
    if not tally.is_contradicted and len(page.items) != total:
        tally = await _survey(services, source, page.evaluated_at)
    return tally.find()


async def _survey(services: ApiServices, source: PageSource, evaluated_at: datetime) -> OutageTally:
    """Add up all devices of the source, or so many that one of them contradicts an outage."""
    tally = OutageTally()
    query = HealthQuery(
        limit=_SURVEY_LIMIT, now=evaluated_at, with_inactive=True, with_counts=False
    )
    while True:
        page = await load_judged(services, source, query)
        _tally(page.items, tally)
        if tally.is_contradicted or page.last is None:
            return tally
        query = query._replace(after=page.last.position)


def _tally(items: Iterable[JudgedDevice], tally: OutageTally | None = None) -> OutageTally:
    tally = tally or OutageTally()
    for item in items:
        tally.add(item)
    return tally
