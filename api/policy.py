"""The policy of a workspace: its thresholds and its poll interval, with a revision of their own.

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
from api.problem_types import CONFLICT, INVALID_BODY
from api.problems import FaultyPart, Problem
from api.services import ApiServices
from api.shapes import AnswerModel, Seconds, accept_whole
from domain.model import Policy, Workspace
from domain.registry import (
    DEFAULT_INTERVAL_SECONDS,
    MAX_INTERVAL_SECONDS,
    Moved,
    Refusal,
    Stored,
)
from domain.thresholds import check_policy

BodyT = TypeVar("BodyT", bound=RequestModel)

PATH = "/workspaces/{workspace_id}/policy"
_DEFAULTS = Policy()
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
    """A workspace's policy: limits of freshness age, in seconds, and its poll interval.

    target <= delayed < stale. `grace_seconds` is how long a new device's first report is awaited. A
    PUT replaces all of it: members left out get their default.
    """

    poll_interval_seconds: int = DEFAULT_INTERVAL_SECONDS


class PolicyAnswer(AnswerModel):
    workspace_id: str
    freshness_target_seconds: float
    delayed_after_seconds: float
    stale_after_seconds: float
    grace_seconds: float
    poll_interval_seconds: int


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


def refuse_contradictions(policy: Policy, within: str = "") -> None:
    """Raise Problem 422 that names each limit that contradicts another."""
    faults = [
        FaultyPart(pointer=f"{within}/{fault.field}", detail=fault.detail)
        for fault in check_policy(policy)
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
        """Show a workspace's policy: its thresholds and its poll interval."""
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
        problems=(CONFLICT,),
        tagged=True,
        conditions=(IF_MATCH,),
        condition_required=True,
        tag=TAG,
    )
    async def put_policy(workspace_id: str) -> Response:
        """Replace a workspace's policy: what is left out gets its default.

        A change of the interval gives the workspace another place in the schedule.
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
        problems=(CONFLICT,),
        tagged=True,
        conditions=(IF_MATCH,),
        condition_required=True,
        tag=TAG,
    )
    async def patch_policy(workspace_id: str) -> Response:
        """Change some members of a workspace's policy (RFC 7396).

        The policy is judged as it is afterwards. A change of the interval gives the workspace
        another place in the schedule.
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
        body = make_body(stored)
        policy, interval = body.to_policy(), body.poll_interval_seconds
        refuse_contradictions(policy)
        answer = await services.registry.put_policy(
            workspace_id,
            policy=policy,
            poll_interval_seconds=interval,
            expected=expected,
            by=current_author(),
        )
        if not isinstance(answer, Stored):
            return answer
        services.nudges.registry_changed()
        return tagged_response(_answer(workspace_id, policy, interval), answer.revision)

    return await settle(
        precondition,
        find,
        store,
        revision=attrgetter("policy_revision"),
        missing=missing,
        locate=locate_member,
    )


def present_policy(workspace: Workspace) -> PolicyAnswer:
    return _answer(workspace.workspace_id, workspace.policy, workspace.poll_interval_seconds)


def _answer(workspace_id: str, policy: Policy, poll_interval_seconds: int) -> PolicyAnswer:
    return PolicyAnswer(
        workspace_id=workspace_id,
        **asdict(policy),
        poll_interval_seconds=poll_interval_seconds,
    )
