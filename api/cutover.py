"""The cutover of a workspace: its flags, its legacy system, its gate and guardrails; the rollback.

Owns the door through which they change, with a revision of their own. The rules are in
domain/cutover.py and domain/parity_gate.py, and are judged in the command's transaction.
"""

from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeVar

from quart import Response, request

from api.auth import current_author, no_such_workspace
from api.bodies import read_json
from api.cutover_answers import CutoverAnswer, present_cutover, present_draft, refuse_change
from api.cutover_body import LEGACY, CutoverBody, LegacyBody, RollbackBody, refuse_legacy
from api.keys import Scope
from api.operations import Operations
from api.patching import PATCH_MEDIA_TYPES, Patch, patch_of, read_patch
from api.preconditions import (
    IF_MATCH,
    Precondition,
    read_precondition,
    require_found,
    settle,
    tagged_response,
)
from api.problem_types import (
    CONFLICT,
    CREDENTIAL_NOT_ALLOWED,
    LEGACY_MISSING,
    PARITY_GATE,
    READ_WITHOUT_POLL,
)
from api.provider_credentials import POINTER, ConfigurationWarning, check_credential
from api.services import ApiServices
from domain.registry import Moved, Refusal, Stored
from ports.cutovers import StoredCutover

AnswerT = TypeVar("AnswerT")

PATH = "/workspaces/{workspace_id}/cutover"
MAX_EVENTS = 20
_TAG = "cutover"
_PROBLEMS = (CONFLICT, CREDENTIAL_NOT_ALLOWED, LEGACY_MISSING, PARITY_GATE, READ_WITHOUT_POLL)


class _WantedCutover(NamedTuple):
    """What a request makes of a cutover; `names_credential`: it has that member of `legacy`."""

    body: CutoverBody
    names_credential: bool


def declare_cutover(operations: Operations, services: ApiServices) -> None:
    _declare_get(operations, services)
    _declare_put(operations, services)
    _declare_patch(operations, services)
    _declare_rollback(operations, services)


def _declare_get(operations: Operations, services: ApiServices) -> None:
    @operations.declare(
        "GET", PATH, scope=Scope.READ, response=CutoverAnswer, tagged=True, tag=_TAG
    )
    async def get_cutover(workspace_id: str) -> Response:
        """Show a workspace's cutover: its flags, its legacy system, and what stands in the way.

        The `ETag` is that of what a client sets. What is noted beside it changes without it.
        """
        return await _show(services, workspace_id)


def _declare_put(operations: Operations, services: ApiServices) -> None:
    @operations.declare(
        "PUT",
        PATH,
        scope=Scope.ADMIN,
        request=CutoverBody,
        response=CutoverAnswer,
        problems=_PROBLEMS,
        tagged=True,
        conditions=(IF_MATCH,),
        condition_required=True,
        tag=_TAG,
    )
    async def put_cutover(workspace_id: str) -> Response:
        """Replace a workspace's cutover: what is left out gets its default.

        Flags that contradict each other are refused: `read-without-poll` for core reads while only
        the legacy system collects, `legacy-missing` for flags that ask a legacy system without
        `legacy`. A change from legacy reads to core reads is refused (`parity-gate`) until the two
        systems have agreed for long enough: the refusal has what the gate asks for (`gate`), what
        it sees (`gate_view`) and the devices that mismatch most often (`worst_devices`). `force`
        with a reason passes it.

        The shard that owns the workspace follows within a second, as a rule. A cycle in flight ends
        under the flags that it began with.
        """
        precondition = read_precondition(required=True)
        body = await read_json(request, CutoverBody)
        names = body.legacy is not None and "credential" in body.legacy.model_fields_set
        wanted = _WantedCutover(body, names_credential=names)
        return await _settle(services, workspace_id, precondition, lambda _: wanted)


def _declare_patch(operations: Operations, services: ApiServices) -> None:
    @operations.declare(
        "PATCH",
        PATH,
        scope=Scope.ADMIN,
        request=patch_of(CutoverBody, inner={"legacy": patch_of(LegacyBody)}),
        request_media_types=PATCH_MEDIA_TYPES,
        response=CutoverAnswer,
        problems=_PROBLEMS,
        tagged=True,
        conditions=(IF_MATCH,),
        condition_required=True,
        tag=_TAG,
    )
    async def patch_cutover(workspace_id: str) -> Response:
        """Change some members of a workspace's cutover (RFC 7396).

        The cutover is judged as it is afterwards, by the rules of a PUT. A patch that moves the
        legacy system (`base_url`, or the paths and the header in `shape`) must name its credential
        again, though it may be the present one.
        """
        precondition = read_precondition(required=True)
        patch = await read_patch(request)
        return await _settle(
            services, workspace_id, precondition, lambda stored: _apply(patch, stored)
        )


def _declare_rollback(operations: Operations, services: ApiServices) -> None:
    @operations.declare(
        "POST",
        f"{PATH}/rollback",
        scope=Scope.ADMIN,
        request=RollbackBody,
        response=CutoverAnswer,
        problems=(CONFLICT, LEGACY_MISSING),
        tagged=True,
        conditions=(IF_MATCH,),
        tag=_TAG,
    )
    async def roll_back_cutover(workspace_id: str) -> Response:
        """Give reads and polls back to the legacy system, both at once.

        Nothing else changes, and nothing is destroyed: core's values stay readable. Idempotent, and
        never undone automatically. It works without `If-Match`.
        """
        precondition = read_precondition()
        body = await read_json(request, RollbackBody)
        must_match = precondition.match is not None or precondition.none_match is not None

        async def roll_back(stored: StoredCutover, seen: int) -> Stored | Refusal | Moved:
            answer = await services.cutovers.roll_back(
                workspace_id,
                reason=body.reason,
                expected=seen if must_match else None,
                by=current_author(),
            )
            if isinstance(answer, Stored | Refusal | Moved):
                return answer
            raise refuse_change(answer, stored.draft.gate)

        await _carry_out(services, workspace_id, precondition, roll_back)
        return await _show(services, workspace_id)


def _apply(patch: Patch, stored: StoredCutover) -> _WantedCutover:
    """Return the stored cutover after the patch. Raises Problem 422."""
    body = patch.apply(present_draft(stored.draft), CutoverBody)
    legacy = patch.document.get("legacy") if patch.names("legacy") else None
    return _WantedCutover(body, names_credential=Patch(legacy).names("credential"))


async def _settle(
    services: ApiServices,
    workspace_id: str,
    precondition: Precondition,
    make: Callable[[StoredCutover], _WantedCutover],
) -> Response:
    """Store the cutover that `make` makes of the stored one, and return the answer."""

    async def store(
        stored: StoredCutover, seen: int
    ) -> list[ConfigurationWarning] | Refusal | Moved:
        wanted = make(stored)
        draft, force = wanted.body.to_draft(), wanted.body.force
        refuse_legacy(
            *(draft.legacy, stored.draft.legacy, services, workspace_id),
            names_credential=wanted.names_credential,
        )
        credential = None if draft.legacy is None else draft.legacy.credential
        warnings = await check_credential(credential, services.credentials, LEGACY + POINTER)
        answer = await services.cutovers.put_cutover(
            workspace_id,
            draft=draft,
            force=None if force is None else force.to_force(),
            expected=seen,
            by=current_author(),
        )
        if isinstance(answer, Stored):
            return warnings
        if isinstance(answer, Refusal | Moved):
            return answer
        raise refuse_change(answer, draft.gate)

    warnings = await _carry_out(services, workspace_id, precondition, store)
    return await _show(services, workspace_id, warnings)


async def _carry_out(
    services: ApiServices,
    workspace_id: str,
    precondition: Precondition,
    command: Callable[[StoredCutover, int], Awaitable[AnswerT | Refusal | Moved]],
) -> AnswerT:
    """Return the answer of a command on the cutover, and tell the shards of the change."""
    missing = no_such_workspace(workspace_id)

    async def find() -> StoredCutover:
        return require_found(await services.cutovers.get_cutover(workspace_id), missing)

    answer = await settle(precondition, find, command, revision=_revision_of, missing=missing)
    services.nudges.registry_changed()
    return answer


def _revision_of(stored: StoredCutover) -> int:
    return stored.workspace.cutover_revision


async def _show(
    services: ApiServices, workspace_id: str, warnings: list[ConfigurationWarning] | None = None
) -> Response:
    """Answer with the cutover as it is now."""
    report = require_found(
        await services.cutovers.describe_cutover(workspace_id, events=MAX_EVENTS),
        no_such_workspace(workspace_id),
    )
    return tagged_response(present_cutover(report, warnings), _revision_of(report.stored))
