"""The policy of a workspace: its thresholds and its schedule, with a revision of their own.

Owns the only door through which the policy of an existing workspace changes.
"""

from collections.abc import Callable
from dataclasses import asdict
from operator import attrgetter
from typing import Annotated, TypeVar

from pydantic import BeforeValidator, Field, create_model
from quart import Response, request

from api.auth import current_author, current_workspace, no_such_workspace
from api.bodies import RequestModel, read_json
from api.conflicts import locate_member
from api.keys import Scope
from api.operations import Operations
from api.patching import PATCH_MEDIA_TYPES, Patch, patch_of, read_patch
from api.preconditions import (
    IF_MATCH,
    IF_NONE_MATCH,
    Precondition,
    conditional_response,
    read_precondition,
    require_found,
    settle,
    tagged_response,
)
from api.problem_types import CONFLICT, INVALID_BODY, SYNCHRONIZED_SCHEDULE
from api.problems import FaultyPart, Problem
from api.services import ApiServices
from api.shapes import AnswerModel, Seconds, accept_whole
from domain.model import Policy, Workspace
from domain.registry import (
    DEFAULT_INTERVAL_SECONDS,
    MAX_INTERVAL_SECONDS,
    Moved,
    PolicyDraft,
    Refusal,
    Stored,
    policy_of,
)
from domain.start_offsets import check_offset
from domain.thresholds import check_policy

BodyT = TypeVar("BodyT", bound=RequestModel)

PATH = "/workspaces/{workspace_id}/policy"
_DEFAULTS = Policy()
OFFSET_DESCRIPTION = (
    "explicit offset: regular starts are at multiples of the interval since 1970-01-01T00:00:00Z "
    "plus this, in whole seconds below the interval. null: the service spreads the starts"
)
StartOffset = Annotated[
    int,
    Field(ge=0, lt=MAX_INTERVAL_SECONDS),
    BeforeValidator(accept_whole),
]
TAG = "policy"


class ThresholdsBody(RequestModel):
    """Limits of freshness age, in seconds: target <= delayed < stale.

    `grace_seconds` is how long a new device's first report is awaited.
    """

    freshness_target_seconds: Seconds = _DEFAULTS.freshness_target_seconds
    delayed_after_seconds: Seconds = _DEFAULTS.delayed_after_seconds
    stale_after_seconds: Seconds = _DEFAULTS.stale_after_seconds
    grace_seconds: Seconds = _DEFAULTS.grace_seconds

    def to_policy(self) -> Policy:
        return Policy(**{name: getattr(self, name) for name in ThresholdsBody.model_fields})


class PolicyBody(ThresholdsBody):
    """A workspace's policy: limits of freshness age, in seconds, and its schedule.

    target <= delayed < stale. `grace_seconds` is how long a new device's first report is awaited. A
    PUT replaces all of it: members left out get their default.
    """

    poll_interval_seconds: int = DEFAULT_INTERVAL_SECONDS
    start_offset_seconds: StartOffset | None = Field(None, description=OFFSET_DESCRIPTION)

    def to_draft(self) -> PolicyDraft:
        return PolicyDraft(self.to_policy(), self.poll_interval_seconds, self.start_offset_seconds)


class PolicyAnswer(AnswerModel):
    workspace_id: str
    freshness_target_seconds: float
    delayed_after_seconds: float
    stale_after_seconds: float
    grace_seconds: float
    poll_interval_seconds: int
    # Versions of before it existed had none.
    start_offset_seconds: int | None = Field(None, description=OFFSET_DESCRIPTION)


def with_interval(body: type[BodyT], min_poll_interval_seconds: int) -> type[BodyT]:
    """Return the body's model for this installation, with its shortest poll interval."""
    described = body.model_fields["poll_interval_seconds"].description
    bounds = Field(ge=min_poll_interval_seconds, le=MAX_INTERVAL_SECONDS, description=described)
    interval = Annotated[int, bounds, BeforeValidator(accept_whole)]
    return create_model(
        body.__name__,
        __base__=body,
        __doc__=body.__doc__,
        poll_interval_seconds=(interval, default_interval(min_poll_interval_seconds)),
    )


def default_interval(min_poll_interval_seconds: int) -> int:
    return max(DEFAULT_INTERVAL_SECONDS, min_poll_interval_seconds)


def refuse_contradictions(draft: PolicyDraft, within: str = "", limits: str = "") -> None:
    """Raise Problem 422 that names each member that contradicts another.

    `within` is the pointer to the policy in the body, `limits` that to its limits in the policy.
    """
    offsets = check_offset(draft.start_offset_seconds, draft.poll_interval_seconds)
    faults = [
        FaultyPart(pointer=f"{place}/{fault.field}", detail=fault.detail)
        for place, found in (
            (within, offsets),
            (f"{within}{limits}", check_policy(draft.policy)),
        )
        for fault in found
    ]
    if faults:
        raise Problem(INVALID_BODY, errors=faults)


def declare_policy(operations: Operations, services: ApiServices) -> None:
    _declare_get(operations, services)
    _declare_put(operations, services)
    _declare_patch(operations, services)


def _declare_get(operations: Operations, services: ApiServices) -> None:
    @operations.declare(
        "GET",
        PATH,
        scope=Scope.READ,
        response=PolicyAnswer,
        tagged=True,
        conditions=(IF_NONE_MATCH,),
        tag=TAG,
    )
    async def get_policy(workspace_id: str) -> Response:
        """Show a workspace's policy: its thresholds and its schedule."""
        workspace = current_workspace()
        return conditional_response(present_policy(workspace), workspace.policy_revision)


def _declare_put(operations: Operations, services: ApiServices) -> None:
    body_model = with_interval(PolicyBody, services.min_poll_interval_seconds)

    @operations.declare(
        "PUT",
        PATH,
        scope=Scope.CONTROL,
        request=body_model,
        response=PolicyAnswer,
        problems=(CONFLICT, SYNCHRONIZED_SCHEDULE),
        tagged=True,
        conditions=(IF_MATCH,),
        condition_required=True,
        tag=TAG,
    )
    async def put_policy(workspace_id: str) -> Response:
        """Replace a workspace's policy: what is left out gets its default.

        A change of the interval or of the offset gives the workspace another place in the
        schedule. An offset is refused (`synchronized-schedule`) if more than 2 active workspaces,
        or more than 1% of them, would start in one second by their offsets.
        """
        precondition = read_precondition(required=True)
        body = await read_json(request, body_model)
        return await _settle(services, workspace_id, precondition, lambda _: body)


def _declare_patch(operations: Operations, services: ApiServices) -> None:
    body_model = with_interval(PolicyBody, services.min_poll_interval_seconds)

    @operations.declare(
        "PATCH",
        PATH,
        scope=Scope.CONTROL,
        request=patch_of(body_model),
        request_media_types=PATCH_MEDIA_TYPES,
        response=PolicyAnswer,
        problems=(CONFLICT, SYNCHRONIZED_SCHEDULE),
        tagged=True,
        conditions=(IF_MATCH,),
        condition_required=True,
        tag=TAG,
    )
    async def patch_policy(workspace_id: str) -> Response:
        """Change some members of a workspace's policy (RFC 7396).

        The policy is judged as it is afterwards. A change of the interval or of the offset gives
        the workspace another place in the schedule; `synchronized-schedule` refuses an offset as in
        a PUT.
        """
        precondition = read_precondition(required=True)
        patch = await read_patch(request)

        def change(stored: Workspace) -> PolicyBody:
            return body_after(patch, stored, body_model)

        return await _settle(services, workspace_id, precondition, change)


def body_after(patch: Patch, stored: Workspace, body: type[BodyT]) -> BodyT:
    """Return the stored policy after the patch. Raises Problem 422 as a PATCH does."""
    return patch.apply(present_policy(stored).model_dump(exclude={"workspace_id"}), body)


async def _settle(
    services: ApiServices,
    workspace_id: str,
    precondition: Precondition,
    make_body: Callable[[Workspace], PolicyBody],
) -> Response:
    """Store the policy that `make_body` makes of the stored one, and return the answer."""
    missing = no_such_workspace(workspace_id)

    async def find() -> Workspace:
        return require_found(await services.registry.get_workspace(workspace_id), missing)

    async def store(stored: Workspace, expected: int) -> Response | Refusal | Moved:
        draft = make_body(stored).to_draft()
        refuse_contradictions(draft)
        answer = await services.registry.put_policy(
            workspace_id, draft=draft, expected=expected, by=current_author()
        )
        if not isinstance(answer, Stored):
            return answer
        services.nudges.registry_changed()
        return tagged_response(_answer(workspace_id, draft), answer.revision)

    return await settle(
        precondition,
        find,
        store,
        revision=attrgetter("policy_revision"),
        missing=missing,
        locate=locate_member,
    )


def present_policy(workspace: Workspace) -> PolicyAnswer:
    return _answer(workspace.workspace_id, PolicyDraft(*policy_of(workspace)))


def _answer(workspace_id: str, draft: PolicyDraft) -> PolicyAnswer:
    return PolicyAnswer(
        workspace_id=workspace_id,
        **asdict(draft.policy),
        poll_interval_seconds=draft.poll_interval_seconds,
        start_offset_seconds=draft.start_offset_seconds,
    )
