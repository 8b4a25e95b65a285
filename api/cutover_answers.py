"""The cutover of a workspace as the API shows it: what is set, what was noted, what the gate sees.

Also the refusals of a change: each names the rule, the numbers and the way out.
"""

from collections.abc import Mapping
from typing import Any, Literal, assert_never

from pydantic import Field

from api.bodies import Instant
from api.cutover_body import GateBody, GuardrailsBody
from api.problem_types import LEGACY_MISSING, PARITY_GATE, READ_WITHOUT_POLL
from api.problems import FaultyPart, Problem
from api.provider_credentials import ConfigurationWarning
from api.shapes import AnswerModel
from domain.cutover import CutoverRefusal, PollOwner, ProviderMode, ReadOwner, RegistrySource
from domain.parity import ParityVerdict
from domain.parity_gate import GateSettings, GateView
from ports.cutovers import CutoverDraft, CutoverReport, GuardrailEvent, ShutGate

_KINDS = {kind.slug: kind for kind in (READ_WITHOUT_POLL, LEGACY_MISSING)}


class LegacyAnswer(AnswerModel):
    base_url: str
    credential: str | None
    shape: dict[str, Any]


class GateViewAnswer(AnswerModel):
    """What the gate to core reads sees now."""

    is_open: bool
    cycles: int = Field(description="of the newest cycles that were compared, at most those judged")
    comparable_cycles: int = Field(description="of those, with enough comparable devices")
    mismatch_share: float | None = Field(
        description="of all these cycles together; null: nothing could be compared"
    )


class CrossingAnswer(AnswerModel):
    """A limit that was crossed."""

    guardrail: str
    measured: float
    limit: float
    detail: str


class GuardrailEventAnswer(AnswerModel):
    """What the guardrails did after a cycle."""

    at: Instant
    kind: Literal["rollback", "alert"]
    cycle_id: str
    crossings: list[CrossingAnswer]
    why_not: str | None = Field(description="why an alert did not roll back; null: it did")
    trace_id: str


class UnfitAnswer(AnswerModel):
    """The first thing in an answer of the legacy system that does not fit the shape."""

    at: Instant
    items: int = Field(description="how many items do not fit; 0: the answer as a whole")
    device_id: str | None = Field(description="as the item has it; null: it could not be read")
    expression: str = Field(description="what in the shape found nothing that fits")
    detail: str
    sample: str = Field(description="the beginning of the item or answer, at most 4 kB")


class CutoverAnswer(AnswerModel):
    """A cutover: first what a client sets, then what was noted since."""

    workspace_id: str
    device_registry_source: RegistrySource
    poll_owner: PollOwner
    read_owner: ReadOwner
    provider_mode: ProviderMode
    legacy: LegacyAnswer | None
    gate: GateBody
    guardrails: GuardrailsBody
    gate_view: GateViewAnswer
    guardrail_events: list[GuardrailEventAnswer] = Field(description="the newest 20, newest first")
    legacy_answered_at: Instant | None = Field(
        description="when the legacy system last gave an answer that fits, noted every 10 s"
    )
    legacy_failed_at: Instant | None = Field(description="when it last failed")
    legacy_fault: str | None = Field(description="how it last failed")
    legacy_unfit: UnfitAnswer | None = Field(
        description="what in its answers last did not fit the shape, noted once a minute"
    )
    rolled_back_at: Instant | None = Field(description="the newest rollback by a guardrail")
    warnings: list[ConfigurationWarning] = Field(
        description="what a write accepted but what fails now; of a read always empty"
    )


def present_draft(draft: CutoverDraft) -> dict[str, Any]:
    """Return the members that a client may set, as a PUT has them."""
    flags, legacy = draft.flags, draft.legacy
    return {
        "device_registry_source": flags.device_registry_source,
        "poll_owner": flags.poll_owner,
        "read_owner": flags.read_owner,
        "provider_mode": flags.provider_mode,
        "legacy": None if legacy is None else {**legacy._asdict(), "shape": dict(legacy.shape)},
        "gate": draft.gate._asdict(),
        "guardrails": draft.guardrails._asdict(),
    }


def present_cutover(
    report: CutoverReport, warnings: list[ConfigurationWarning] | None = None
) -> CutoverAnswer:
    stored, draft = report.stored, report.stored.draft
    settings = {
        # Unchecked, so that any stored value can be shown.
        "gate": GateBody.model_construct(**draft.gate._asdict()),
        "guardrails": GuardrailsBody.model_construct(**draft.guardrails._asdict()),
    }
    return CutoverAnswer(
        workspace_id=stored.workspace.workspace_id,
        **(present_draft(draft) | settings),
        gate_view=present_gate_view(report.view),
        guardrail_events=[_present_event(event) for event in report.guardrail_events],
        legacy_answered_at=stored.legacy_answered_at,
        legacy_failed_at=stored.legacy_failed_at,
        legacy_fault=stored.legacy_fault,
        legacy_unfit=None
        if stored.legacy_unfit is None
        else UnfitAnswer(**stored.legacy_unfit._asdict()),
        rolled_back_at=stored.rolled_back_at,
        warnings=warnings or [],
    )


def refuse_change(refusal: CutoverRefusal | ShutGate, gate: GateSettings) -> Problem:
    """Return the problem of a change that a rule forbids. `gate` has what the request asks for."""
    match refusal:
        case CutoverRefusal():
            return Problem(_KINDS[refusal.rule], errors=[_locate(refusal)])
        case ShutGate():
            return Problem(
                PARITY_GATE,
                refusal.refusal.detail,
                errors=[_locate(refusal.refusal)],
                extensions={
                    "gate": gate._asdict(),
                    "gate_view": present_gate_view(refusal.view).model_dump(),
                    "worst_devices": [
                        {
                            "device_id": one.device_id,
                            "vehicle_id": one.vehicle_id,
                            "verdicts": _sort_verdicts(one.by_verdict),
                        }
                        for one in refusal.worst_devices
                    ],
                },
            )
        case _:
            assert_never(refusal)


def _locate(refusal: CutoverRefusal) -> FaultyPart:
    return FaultyPart(detail=refusal.detail, pointer=f"/{refusal.field}")


def _sort_verdicts(by_verdict: Mapping[str, int]) -> dict[str, int]:
    return {one.value: by_verdict[one] for one in ParityVerdict if one in by_verdict}


def present_gate_view(view: GateView) -> GateViewAnswer:
    return GateViewAnswer(**view._asdict())


def _present_event(event: GuardrailEvent) -> GuardrailEventAnswer:
    kind: Any = event.kind  # the column has no other
    return GuardrailEventAnswer(
        at=event.at,
        kind=kind,
        cycle_id=event.cycle_id,
        crossings=[CrossingAnswer(**one) for one in event.crossings],
        why_not=event.why_not,
        trace_id=event.trace_id,
    )
