"""The synchronisation of a workspace's devices with its legacy registry: its newest state, and now.

The rules are in domain/legacy_sync.py, and are judged in the transaction that applies an answer.
"""

from typing import Final, assert_never

from pydantic import Field
from quart import Response, request

from api.auth import current_author
from api.bodies import Instant, RequestModel, json_response, read_json
from api.conflicts import refuse_archived
from api.cutover_body import ForceBody
from api.keys import Scope
from api.operations import Operations
from api.problem_types import CONFLICT, LEGACY_UNFIT, LEGACY_UNREACHABLE
from api.problems import Problem
from api.services import ApiServices
from api.shapes import AnswerModel
from domain.legacy_sync import HeldBackWhy, NotSynced, SyncOutcome
from domain.registry import Archived
from ports.legacy import LegacyUnfit, LegacyUnreachable
from ports.legacy_syncs import MAX_LISTED, SyncReport

PATH: Final = "/workspaces/{workspace_id}/cutover/sync"
_TAG: Final = "cutover"
_NOT_ASKED: Final = (
    "The workspace's devices are not those of a legacy system, so there is nothing to synchronise. "
    "Set `device_registry_source` to `legacy_sync` in its cutover first."
)
_MEANWHILE: Final = (
    "The workspace's cutover was changed meanwhile. Nothing was stored. Send it again."
)
_APPLIED: Final = "A newer answer was applied meanwhile. Nothing was stored. Send it again."


class SyncBody(RequestModel):
    """How an answer of the legacy registry is applied."""

    force: ForceBody | None = Field(
        None,
        description="retires what the last two answers leave out, however many these are",
    )
    dry_run: bool = Field(False, description="says what would be done, and stores nothing")


class SyncCounts(AnswerModel):
    """How many devices got what: those that the answer has, and those that it left out."""

    unchanged: int = 0
    created: int = 0
    changed: int = Field(0, description="another name, or another spelling")
    swapped: int = Field(0, description="another unit or vehicle")
    activated: int = Field(0, description="retired ones that begin another assignment")
    returned: int = Field(0, description="those that continue the assignment they had")
    retired: int = 0
    held_back: int = Field(0, description="left out, and not retired")
    refused: int = Field(0, description="those that contradict what is stored")


class HeldBackAnswer(AnswerModel):
    """A device that the answer left out, and that was not retired."""

    device_id: str
    vehicle_id: str
    why: HeldBackWhy


class RefusedDeviceAnswer(AnswerModel):
    """A device of the answer that contradicts what is stored. The others are stored."""

    device_id: str
    external_id: str
    field: str = Field(description="the member at fault, as of a device")
    detail: str


class SyncAnswer(AnswerModel):
    """What came of a synchronisation."""

    workspace_id: str
    outcome: SyncOutcome | None = Field(description="null: there was none yet")
    synced_at: Instant | None = Field(description="when it was tried")
    answered_at: Instant | None = Field(
        description="when the newest answer that was applied had been given"
    )
    detail: str | None = Field(description="why there was no answer to apply")
    counts: SyncCounts
    held_back: list[HeldBackAnswer] = Field(max_length=MAX_LISTED, description="the first 100")
    refused: list[RefusedDeviceAnswer] = Field(max_length=MAX_LISTED, description="the first 100")


def declare_registry_sync(operations: Operations, services: ApiServices) -> None:
    _declare_get(operations, services)
    _declare_post(operations, services)


def _declare_get(operations: Operations, services: ApiServices) -> None:
    @operations.declare("GET", PATH, scope=Scope.READ, response=SyncAnswer, tag=_TAG)
    async def get_registry_sync(workspace_id: str) -> Response:
        """Show what came of the newest synchronisation with the legacy registry.

        While `device_registry_source` is `legacy_sync`, there is one after each cycle, skipped or
        not.
        """
        return json_response(
            _present(workspace_id, await services.legacy_syncs.get_sync(workspace_id))
        )


def _declare_post(operations: Operations, services: ApiServices) -> None:
    @operations.declare(
        "POST",
        PATH,
        scope=Scope.ADMIN,
        request=SyncBody,
        response=SyncAnswer,
        problems=(CONFLICT, LEGACY_UNREACHABLE, LEGACY_UNFIT),
        tag=_TAG,
    )
    async def synchronise_registry(workspace_id: str) -> Response:
        """Synchronise a workspace's devices with its legacy registry at once.

        A device is retired only if two complete answers in a row leave it out. An answer that
        leaves out more than two active devices and more than a tenth of them, or all of them, is
        `doubted` and retires none; `force` with a reason believes it. An answer with an item that
        does not fit the shape is `incomplete` and retires none, with or without `force`.

        A device that returns within a day after a synchronisation retired it continues its
        assignment. A device that contradicts what is stored is refused, and the others are stored.

        While the legacy system does not answer, or its answer does not fit, nothing is changed: 502
        `legacy-unreachable` or `legacy-unfit`.
        """
        body = await read_json(request, SyncBody)
        try:
            report = await services.registry_syncs.sync_now(
                workspace_id,
                force=None if body.force is None else body.force.to_force(),
                dry_run=body.dry_run,
                by=current_author(),
            )
        except (LegacyUnreachable, LegacyUnfit) as fault:
            raise _refuse_fault(fault) from fault
        if report is None:
            raise Problem(CONFLICT, _NOT_ASKED)
        if isinstance(report.outcome, NotSynced):
            raise _refuse_outcome(report.outcome)
        services.nudges.registry_changed()
        return json_response(_present(workspace_id, report))


def _refuse_outcome(outcome: NotSynced) -> Problem:
    match outcome:
        case NotSynced.ARCHIVED:
            return refuse_archived(Archived("workspace"))
        case NotSynced.OUTDATED:
            return Problem(CONFLICT, _APPLIED)
        case NotSynced.CHANGED | NotSynced.FENCED:
            return Problem(CONFLICT, _MEANWHILE)
        case _:
            assert_never(outcome)


def _refuse_fault(fault: LegacyUnreachable | LegacyUnfit) -> Problem:
    said = str(fault)
    detail = f"{said[:1].upper()}{said[1:]}. No device was changed."
    if isinstance(fault, LegacyUnfit):
        return Problem(LEGACY_UNFIT, detail, extensions={"expression": fault.expression})
    return Problem(LEGACY_UNREACHABLE, detail, retry_after_seconds=fault.retry_after)


def _present(workspace_id: str, report: SyncReport | None) -> SyncAnswer:
    if report is None:
        nothing = dict.fromkeys(("outcome", "synced_at", "answered_at", "detail"))
        counts = SyncCounts()
        return SyncAnswer(
            workspace_id=workspace_id, counts=counts, held_back=[], refused=[], **nothing
        )
    assert isinstance(report.outcome, SyncOutcome)  # noqa: S101 others are not kept
    return SyncAnswer(
        workspace_id=workspace_id,
        outcome=report.outcome,
        synced_at=report.synced_at,
        answered_at=report.answered_at,
        detail=report.detail,
        counts=SyncCounts(**report.counts),
        held_back=[HeldBackAnswer(**one._asdict()) for one in report.held_back],
        refused=[RefusedDeviceAnswer(**one._asdict()) for one in report.refused],
    )
