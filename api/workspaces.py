"""Workspaces: customers' fleets.

Owns the checks before a workspace is stored. It must never show a workspace to a key that is
limited to others. The policy of a workspace is shown here too, and changed in `policy` only.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

from pydantic import Field
from quart import Response, request

from api.auth import current_author, current_workspace, no_such_workspace
from api.bodies import Instant, RequestModel, read_json
from api.conflicts import locate_member
from api.keys import Scope
from api.operations import Operations
from api.patching import PATCH_MEDIA_TYPES, patch_of, read_patch
from api.policy import (
    OFFSET_DESCRIPTION,
    StartOffset,
    ThresholdsBody,
    default_interval,
    refuse_contradictions,
    with_interval,
)
from api.preconditions import (
    IF_MATCH,
    IF_NONE_MATCH,
    Precondition,
    read_precondition,
    require_found,
    settle,
    tagged_response,
)
from api.problem_types import CONFLICT, SYNCHRONIZED_SCHEDULE
from api.problems import FaultyPart, Problem
from api.services import ApiServices
from api.shapes import AnswerModel, Name
from api.time_zones import TIME_ZONE_DESCRIPTION, TimeZone
from domain.model import DEFAULT_TIME_ZONE, Workspace
from domain.registry import (
    DEFAULT_INTERVAL_SECONDS,
    Moved,
    PolicyDraft,
    Refusal,
    Stored,
    revision_of,
)

ONE = "/workspaces/{workspace_id}"
_KIND = "workspaces"
_TAG = "workspaces"
# A PUT or PATCH that does not name them leaves them as they are.
_KEPT = frozenset(
    {"active", "time_zone", "poll_interval_seconds", "start_offset_seconds", "thresholds"}
)
_SCHEDULE = ("poll_interval_seconds", "start_offset_seconds")  # of the policy
_POLICYS = "belongs to the policy: it may be named for a new workspace, or as it is"


class WorkspaceBody(RequestModel):
    """A workspace's configuration.

    A PUT that does not name `active` or `time_zone` leaves them as they are. The policy of a
    workspace that exists is changed at `…/policy` only: here `poll_interval_seconds`,
    `start_offset_seconds` and `thresholds` are refused (409) if they differ from it.
    """

    name: Name
    active: bool = Field(True, description="of a new workspace true; else left out, it stays")
    time_zone: TimeZone = DEFAULT_TIME_ZONE
    poll_interval_seconds: int = Field(DEFAULT_INTERVAL_SECONDS, description=_POLICYS)
    start_offset_seconds: StartOffset | None = Field(
        None, description=f"{OFFSET_DESCRIPTION}. It {_POLICYS}"
    )
    thresholds: ThresholdsBody = Field(ThresholdsBody(), description=_POLICYS)

    def named(self, name: str) -> Any:
        """Return the member, or None if the request left it out."""
        return getattr(self, name) if name in self.model_fields_set else None


class WorkspaceAnswer(AnswerModel):
    """A workspace. Its policy is shown here, and changed at `…/policy`."""

    workspace_id: str
    name: str
    active: bool
    time_zone: str = Field(description=TIME_ZONE_DESCRIPTION)
    archived_at: Instant | None
    poll_interval_seconds: int
    start_offset_seconds: int | None = Field(description=OFFSET_DESCRIPTION)
    thresholds: ThresholdsBody
    config_version: int = Field(description="grows with every change within the workspace")


def declare_workspaces(operations: Operations, services: ApiServices) -> None:
    _declare_get(operations, services)
    _declare_put(operations, services)
    _declare_patch(operations, services)
    _declare_archive(operations, services)


def _declare_get(operations: Operations, services: ApiServices) -> None:
    @operations.declare(
        "GET", ONE, scope=Scope.READ, response=WorkspaceAnswer, tagged=True, tag=_TAG
    )
    async def get_workspace(workspace_id: str) -> Response:
        """Show one workspace, in use or archived.

        The ETag is that of its name, its activity, its time zone and its archive. It does not
        change with the policy or with `config_version`, so this read is never answered with 304.
        """
        workspace = current_workspace()
        return tagged_response(_present(workspace), workspace.revision)


def _declare_put(operations: Operations, services: ApiServices) -> None:
    body_model = with_interval(WorkspaceBody, services.min_poll_interval_seconds)

    @operations.declare(
        "PUT",
        ONE,
        scope=Scope.CONTROL,
        request=body_model,
        response=WorkspaceAnswer,
        creates=True,
        problems=(CONFLICT, SYNCHRONIZED_SCHEDULE),
        tagged=True,
        conditions=(IF_MATCH, IF_NONE_MATCH),
        tag=_TAG,
    )
    async def put_workspace(workspace_id: str) -> Response:
        """Configure a workspace: 201 when it is new, 200 when it existed.

        A key that is limited to workspaces can create only those that it names. A request that does
        not name `active` or `time_zone` leaves them as they are. The policy of a workspace that
        exists is changed at `…/policy`. The id of an archived workspace is not used again (409). A
        workspace that becomes active with an offset is refused (`synchronized-schedule`) as by its
        policy's PUT.
        """
        precondition = read_precondition()
        body = await read_json(request, body_model)
        return await _settle(services, workspace_id, precondition, lambda _: body)


def _declare_patch(operations: Operations, services: ApiServices) -> None:
    body_model = with_interval(WorkspaceBody, services.min_poll_interval_seconds)

    @operations.declare(
        "PATCH",
        ONE,
        scope=Scope.CONTROL,
        request=patch_of(body_model, kept=_KEPT),
        request_media_types=PATCH_MEDIA_TYPES,
        response=WorkspaceAnswer,
        problems=(CONFLICT, SYNCHRONIZED_SCHEDULE),
        tagged=True,
        conditions=(IF_MATCH,),
        tag=_TAG,
    )
    async def patch_workspace(workspace_id: str) -> Response:
        """Change some members of a workspace (RFC 7396).

        Activating a workspace with an offset is refused (`synchronized-schedule`) if too many
        start in the same second by their offsets, as in a PUT of its policy.
        """
        precondition = read_precondition()
        patch = await read_patch(request)

        def change(stored: Workspace | None) -> WorkspaceBody:
            if stored is None:
                raise no_such_workspace(workspace_id)
            present = {name: getattr(stored, name) for name in ("name", "active", "time_zone")}
            return patch.apply(present, body_model, kept=_KEPT)

        return await _settle(services, workspace_id, precondition, change)


def _declare_archive(operations: Operations, services: ApiServices) -> None:
    @operations.declare(
        "DELETE",
        ONE,
        scope=Scope.CONTROL,
        response=WorkspaceAnswer,
        problems=(CONFLICT,),
        tagged=True,
        conditions=(IF_MATCH,),
        tag=_TAG,
    )
    async def archive_workspace(workspace_id: str) -> Response:
        """Archive an inactive workspace: it leaves the lists, and its devices are retired.

        Its connections stay in their list, and nothing calls them any more. What was stored of it
        stays readable until its retention ends. Its id is not used again. An active workspace is
        refused (409): switch it off first. Idempotent.
        """
        precondition = read_precondition()
        missing = no_such_workspace(workspace_id)

        async def find() -> Workspace:
            return require_found(await services.registry.get_workspace(workspace_id), missing)

        async def archive(_: Workspace, expected: int) -> Workspace | Refusal | Moved:
            return await services.registry.archive_workspace(
                workspace_id, expected=expected, by=current_author()
            )

        answer = await settle(precondition, find, archive, revision=revision_of, missing=missing)
        services.nudges.registry_changed()
        return tagged_response(_present(answer), answer.revision)


async def _settle(
    services: ApiServices,
    workspace_id: str,
    precondition: Precondition,
    make_body: Callable[[Workspace | None], WorkspaceBody],
) -> Response:
    """Store the workspace that `make_body` makes of the stored one, and return the answer."""
    missing = no_such_workspace(workspace_id)

    find = partial(services.registry.get_workspace, workspace_id)

    async def store(stored: Workspace | None, expected: int) -> Stored | Refusal | Moved:
        body = make_body(stored)
        return await services.registry.put_workspace(
            workspace_id,
            name=body.name,
            active=body.named("active"),
            time_zone=body.named("time_zone"),
            **_policy_of(body, stored, services.min_poll_interval_seconds),
            expected=expected,
            by=current_author(),
        )

    answer = await settle(
        precondition,
        find,
        store,
        revision=revision_of,
        missing=missing,
        locate=locate_member,
    )
    services.nudges.registry_changed()
    workspace = require_found(await find(), missing)
    status = 201 if answer.created else 200
    return tagged_response(_present(workspace), answer.revision, status)


def _policy_of(
    body: WorkspaceBody, stored: Workspace | None, min_poll_interval_seconds: int
) -> dict[str, Any]:
    """Return the policy of a new workspace, and nothing for one that exists.

    Raises Problem if the body contradicts itself, or the stored policy.
    """
    if stored is not None:
        _refuse_other_policy(body, stored)
        return {}
    interval = body.named("poll_interval_seconds") or default_interval(min_poll_interval_seconds)
    draft = PolicyDraft(body.thresholds.to_policy(), interval, body.start_offset_seconds)
    refuse_contradictions(draft, limits="/thresholds")
    return draft._asdict()


def _refuse_other_policy(body: WorkspaceBody, stored: Workspace) -> None:
    """Raise Problem 409 if the body names a member of the policy other than the stored one."""
    path = f"…/workspaces/{stored.workspace_id}/policy"
    own: tuple[tuple[str, RequestModel, Mapping[str, float | None]], ...] = (
        ("/thresholds", body.thresholds, asdict(stored.policy)),
        ("", body, {name: getattr(stored, name) for name in _SCHEDULE}),
    )
    faults = [
        FaultyPart(pointer=f"{place}/{name}", detail=f"It is {_write(value)}. Change it at {path}.")
        for place, part, present in own
        for name, value in present.items()
        if name in part.model_fields_set and getattr(part, name) != value
    ]
    if faults:
        raise Problem(CONFLICT, "The policy of this workspace has its own path.", errors=faults)


def _write(value: float | None) -> str:
    return "null" if value is None else f"{value:g}"


def _present(workspace: Workspace) -> WorkspaceAnswer:
    return WorkspaceAnswer(**present_fields(workspace))


def present_fields(workspace: Workspace) -> dict[str, Any]:
    return {
        "workspace_id": workspace.workspace_id,
        "name": workspace.name,
        "active": workspace.active,
        "time_zone": workspace.time_zone,
        "archived_at": workspace.archived_at,
        "poll_interval_seconds": workspace.poll_interval_seconds,
        "start_offset_seconds": workspace.start_offset_seconds,
        "thresholds": ThresholdsBody(**asdict(workspace.policy)),
        "config_version": workspace.config_version,
    }
