"""The check of a fleet before any of it is stored.

A client that configures many things wants to know first whether all of them would be taken. Owns no
rule: policies and connections are judged by the rules of their own resources. It must never store
anything.
"""

from collections.abc import Iterator
from typing import Annotated, Any, TypeVar

from pydantic import Field, create_model
from quart import Response, request

from api.auth import current_access
from api.bodies import MAX_FAULTY_PARTS, RequestModel, invalid_fields, json_response, read_json
from api.keys import Scope
from api.operations import Operations
from api.policy import PolicyBody, refuse_contradictions, with_interval
from api.problems import FaultyPart, Problem
from api.provider_body import ProviderBody, body_of, refuse_faults
from api.provider_credentials import ConfigurationWarning, check_credential, refuse_credential
from api.providers import warn_of_flags
from api.services import ApiServices
from api.shapes import AnswerModel, Identifier
from api.time_zones import TimeZone
from domain.cutover import NEW_CUTOVER
from domain.model import ProviderConnection

MAX_WORKSPACES = 100
_TAG = "workspaces"

PartT = TypeVar("PartT", FaultyPart, ConfigurationWarning)


class CheckedConnection(ProviderBody):
    provider_id: Identifier


class CheckedWorkspace(RequestModel):
    """A workspace as it shall be. What is left out is not judged."""

    workspace_id: Identifier
    time_zone: TimeZone | None = None
    policy: PolicyBody | None = None
    connections: list[CheckedConnection] = Field(default_factory=list)


class FleetCheck(RequestModel):
    """Time zones, policies and connections of workspaces, which need not exist yet."""

    workspaces: Annotated[list[CheckedWorkspace], Field(max_length=MAX_WORKSPACES)]


class FleetCheckAnswer(AnswerModel):
    """All of it would be taken. `warnings` has what would be taken but fails now."""

    warnings: list[ConfigurationWarning]


def declare_fleet_check(operations: Operations, services: ApiServices) -> None:
    body_model = _body_model(services)

    @operations.declare(
        "POST",
        "/fleet/check",
        scope=Scope.CONTROL,
        request=body_model,
        response=FleetCheckAnswer,
        tag=_TAG,
    )
    async def check_fleet() -> Response:
        """Judge time zones, policies and connections as their own paths would; store nothing.

        The workspaces need not exist. 422 names everything that would be refused. It does not judge
        whether two requests that come later contradict each other.
        """
        body = await read_json(request, body_model)
        faults: list[FaultyPart] = []
        warnings: list[ConfigurationWarning] = []
        for number, workspace in enumerate(body.workspaces):
            place = f"/workspaces/{number}"
            if not current_access().sees(workspace.workspace_id):
                faults.append(_out_of_sight(place))
                continue
            faults += _faults_of_policy(workspace.policy, f"{place}/policy")
            for index, connection in enumerate(workspace.connections):
                within = f"{place}/connections/{index}"
                try:
                    found = await _check_connection(services, workspace.workspace_id, connection)
                except Problem as problem:
                    faults += [_within(within, part) for part in problem.errors]
                else:
                    warnings += [_within(within, warning) for warning in found]
        if faults:
            raise invalid_fields(faults[:MAX_FAULTY_PARTS], len(faults))
        return json_response(FleetCheckAnswer(warnings=warnings))


def _body_model(services: ApiServices) -> type[FleetCheck]:
    """Return the body's model for this installation: its provider types and poll intervals."""
    connection = create_model(
        "CheckedConnection",
        __base__=(body_of(services.providers), CheckedConnection),
        __doc__=CheckedConnection.__doc__,
    )
    policy = with_interval(PolicyBody, services.min_poll_interval_seconds)
    fields: dict[str, Any] = {
        "policy": (policy | None, None),
        "connections": (list[connection], Field(default_factory=list)),
    }
    workspace = create_model(
        "CheckedWorkspace",
        __base__=CheckedWorkspace,
        __doc__=CheckedWorkspace.__doc__,
        **fields,
    )
    listed = Annotated[list[workspace], Field(max_length=MAX_WORKSPACES)]
    return create_model(
        "FleetCheck", __base__=FleetCheck, __doc__=FleetCheck.__doc__, workspaces=(listed, ...)
    )


def _out_of_sight(place: str) -> FaultyPart:
    detail = "The key is limited to other workspaces. Use a key that may name this one."
    return FaultyPart(pointer=f"{place}/workspace_id", detail=detail)


def _faults_of_policy(policy: PolicyBody | None, place: str) -> Iterator[FaultyPart]:
    if policy is None:
        return
    try:
        refuse_contradictions(policy.to_draft(), within=place)
    except Problem as problem:
        yield from problem.errors


async def _check_connection(
    services: ApiServices, workspace_id: str, body: CheckedConnection
) -> list[ConfigurationWarning]:
    """Raise Problem as a PUT of the connection would."""
    provider = refuse_faults(body, services.providers, services.outbound)
    stored = await services.registry.get_provider(workspace_id, body.provider_id)
    wanted = ProviderConnection(
        workspace_id,
        body.provider_id,
        provider_type=body.provider_type,
        transport=body.transport,
        base_url=body.base_url,
        credential=body.credential,
        settings=body.settings,
        simulated=body.simulated,
    )
    refuse_credential(wanted, stored, provider, services.credentials, is_named=True)
    warnings = await check_credential(body.credential, services.credentials)
    workspace = await services.registry.get_workspace(workspace_id)
    flags = NEW_CUTOVER if workspace is None else workspace.cutover
    return [*warnings, *warn_of_flags(wanted, flags)]


def _within(place: str, part: PartT) -> PartT:
    return part.model_copy(update={"pointer": f"{place}{part.pointer or ''}"})
