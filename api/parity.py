"""Parity of a workspace: what the comparisons with its legacy system found, cycle by cycle.

Owns the shape, and the words for why nothing is compared. The verdicts are domain/parity.py's, the
gate is domain/parity_gate.py's.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field
from quart import Response, request

from api.auth import no_such_workspace
from api.bodies import Instant, json_response, read_query
from api.cursors import PageQuery
from api.cutover_answers import GateViewAnswer, present_gate_view
from api.keys import Scope
from api.operations import Operations
from api.paging import Paging, cut_page
from api.preconditions import require_found
from api.services import ApiServices
from api.shapes import AnswerModel
from domain.cutover import PollOwner
from domain.parity import ParityVerdict
from ports.cutovers import CutoverReport
from ports.parity import ParityCycle

PATH = "/workspaces/{workspace_id}/cutover/parity"
MAX_CYCLES = 288  # a day of five-minute cycles
_TAG = "cutover"
_WHY_NOT_COMPARED = {
    PollOwner.LEGACY: "poll_owner is legacy: core collects nothing that could be compared.",
    PollOwner.CORE: "poll_owner is core: the legacy system no longer collects, so its values grow "
    "old by themselves.",
}
_NOT_YET = "None of the newest cycles has been compared yet."


class ParityQuery(PageQuery):
    limit: Annotated[int, Field(ge=1, le=MAX_CYCLES, description="most cycles of a page")] = 12


class ParitySampleAnswer(AnswerModel):
    """One device that mismatched."""

    device_id: str = Field(description="of a device that core does not know, the legacy name")
    vehicle_id: str | None = Field(description="null: core does not know the device")
    verdict: ParityVerdict
    signal: str | None = Field(description="the value that differs; null: it is not about one")
    core: str | None = Field(description="what core shows: the value, or the time of its newest")
    legacy: str | None = Field(description="what the legacy system shows")


class ParityCycleAnswer(AnswerModel):
    """What the comparison after one cycle found."""

    slot_start_at: Instant
    cycle_id: str
    compared_at: Instant
    devices: int
    counts: dict[ParityVerdict, int] = Field(description="devices by verdict")
    comparable_share: float = Field(description="of the devices")
    mismatch_share: float | None = Field(
        description="of the comparable devices; null: there was none"
    )
    samples: list[ParitySampleAnswer] = Field(description="at most 20 mismatches, worst first")
    why: str | None = Field(description="why nothing was comparable; null: something may be")


class ParityList(AnswerModel):
    """The newest comparison says how it is now; the others are the trend."""

    now: Literal["comparable", "incomparable"]
    why: str | None = Field(description="why core and legacy are incomparable now")
    gate_view: GateViewAnswer
    items: list[ParityCycleAnswer]
    next_cursor: str | None


def declare_parity(operations: Operations, services: ApiServices) -> None:
    paging = Paging(services)

    @operations.declare(
        "GET", PATH, scope=Scope.READ, query=ParityQuery, response=ParityList, tag=_TAG
    )
    async def list_parity(workspace_id: str) -> Response:
        """List how core agreed with the legacy system after each cycle, newest first.

        While both systems collect (poll_owner both_shadow), each cycle is compared device by
        device. A value counts as different only if core is known to have shown another one at the
        very time for which the legacy system states its own. Under other flags nothing is compared:
        `now` is incomparable, and the list has what was compared before.
        """
        query = read_query(request, ParityQuery)
        kind = f"parity {workspace_id}"
        rows = await services.parity.list_parity(
            workspace_id,
            before=paging.key_after(query.cursor, kind),
            limit=query.limit + 1,
        )
        report = require_found(
            await services.cutovers.describe_cutover(workspace_id, events=0),
            no_such_workspace(workspace_id),
        )
        page, last = cut_page(rows, query.limit)
        why = _explain(report, None if query.cursor is not None or not rows else rows[0])
        return json_response(
            ParityList(
                now="comparable" if why is None else "incomparable",
                why=why,
                gate_view=present_gate_view(report.view),
                items=[_present(row) for row in page],
                next_cursor=paging.encode(kind, None if last is None else (last.slot_start_at,)),
            )
        )


def _explain(report: CutoverReport, newest: ParityCycle | None) -> str | None:
    """Return why nothing is comparable now; None if something is, as far as the page shows."""
    flags = report.stored.draft.flags
    if not flags.is_compared:
        return _WHY_NOT_COMPARED[flags.poll_owner]
    if report.view.cycles == 0:
        return _NOT_YET
    return None if newest is None else newest.why


def _present(row: ParityCycle) -> ParityCycleAnswer:
    counts = row.counts
    return ParityCycleAnswer(
        slot_start_at=row.slot_start_at,
        cycle_id=row.cycle_id,
        compared_at=row.compared_at,
        devices=counts.devices,
        counts={verdict: counts.by_verdict.get(verdict, 0) for verdict in ParityVerdict},
        comparable_share=counts.comparable_share,
        mismatch_share=counts.mismatch_share,
        samples=[_present_sample(sample) for sample in row.samples],
        why=row.why,
    )


def _present_sample(sample: Mapping[str, Any]) -> ParitySampleAnswer:
    known: dict[str, Any] = {name: sample.get(name) for name in ParitySampleAnswer.model_fields}
    return ParitySampleAnswer(**known)
