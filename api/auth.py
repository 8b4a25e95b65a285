"""Authorization in front of every operation (FR-014): the key or JWT, its scope, its workspaces.

Owns the order of the questions: key or JWT (401), scope (403), workspace (404). A workspace outside
the list of a key or JWT is answered exactly like one that does not exist. A key is read from the
database at every request, so a revocation holds from the next request on. A JWT is judged by
api/jwt_access.py. This module must never let an undeclared route through.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, cast

import structlog
from quart import g, request

from api.access import Access
from api.bodies import RequestModel, read_query
from api.challenges import (
    CHALLENGE,
    credentials_missing,
    credentials_refused,
    find_authorization,
    read_bearer,
    read_key,
)
from api.jwt_access import is_jwt
from api.keys import why_refused
from api.problem_types import MISSING_SCOPE, NOT_FOUND
from api.problems import Problem
from api.request_spans import name_route
from api.traces import current_trace_id
from domain.changes import Author
from domain.ids import is_id

if TYPE_CHECKING:
    from quart_trio import QuartTrio

    from api.jwt_access import JwtAccess
    from api.operations import Operation, Operations
    from api.services import ApiServices
    from domain.model import Workspace

_MAKES_ITS_WORKSPACE = frozenset({"put_workspace"})
# In the scope's state of a question that a page asks inside this process. The server makes the
# scope of every other request, so no client can put it there.
INSIDE: Final = "lastheard.inside"


class Inside(NamedTuple):
    """Whom a page asks for: what the sign-in opens, and the address of the browser."""

    access: Access
    address: str | None


def install_authorization(app: QuartTrio, operations: Operations, services: ApiServices) -> None:
    """Ask for a key before every handler of `app`, as its operation declares."""

    async def authorize() -> None:
        if request.url_rule is None:
            return  # no such route: the framework answers 404 or 405
        operation = operations.named(request.endpoint)
        if operation is None:
            raise Problem(NOT_FOUND)
        name_route(operation.method, operation.path, request.view_args or {})
        if operation.scope is not None:
            g.access, g.address, workspace = await _find_caller(services, operation)
            require_scope(g.access, operation.scope)
            _check_path(g.access, operation, workspace)
            if operation.query is None:
                read_query(request, RequestModel)  # it has no member: each parameter is refused

    app.before_request(authorize)


def current_access() -> Access:
    """The access of the request being served."""
    return cast("Access", g.access)


def current_author() -> Author:
    """Return the caller, trace id and address of the request, for the history of changes."""
    return Author(current_access().who, current_trace_id(), g.address)


def current_workspace() -> Workspace:
    """The workspace that the path names; it exists and the caller sees it."""
    return cast("Workspace", g.workspace)


def no_such_workspace(workspace_id: str) -> Problem:
    """Return the same answer for a workspace that does not exist and for one out of sight."""
    return Problem(NOT_FOUND, f"There is no workspace {workspace_id}.")


async def _find_caller(
    services: ApiServices, operation: Operation
) -> tuple[Access, str | None, Workspace | None]:
    """Return the access and the address of the caller, and the workspace that the path names."""
    wanted = _workspace_to_find(operation)
    inside: Inside | None = request.scope.get("state", {}).get(INSIDE)
    if inside is None:
        access, workspace = await authenticate(services, wanted)
        return access, find_address(services), workspace
    return inside.access, inside.address, await _find_workspace(services, wanted)


async def authenticate(
    services: ApiServices, wanted: str | None = None
) -> tuple[Access, Workspace | None]:
    """Return what the key or JWT of the request opens, and the workspace `wanted` if it exists.

    The workspace is not yet one that the caller may know of. Raises Problem 401, and 503 or an
    EnvironmentFault when it is not known whether the key or JWT is good.
    """
    header = find_authorization(request.scope["headers"])
    if header is None:
        raise credentials_missing()
    bearer = read_bearer(header)
    if services.jwts is not None and is_jwt(bearer):
        return await _judge_jwt(services, services.jwts, bearer, wanted)
    return await _find_key(services, bearer, wanted)


async def _judge_jwt(
    services: ApiServices, jwts: JwtAccess, bearer: str, wanted: str | None
) -> tuple[Access, Workspace | None]:
    """Judge the JWT again: as a rule the gate's verdict of a moment ago is remembered."""
    access = await jwts.verify(bearer)
    structlog.contextvars.bind_contextvars(subject=access.who)
    return access, await _find_workspace(services, wanted)


async def _find_workspace(services: ApiServices, wanted: str | None) -> Workspace | None:
    return None if wanted is None else await services.registry.get_workspace(wanted)


async def _find_key(
    services: ApiServices, bearer: str, wanted: str | None
) -> tuple[Access, Workspace | None]:
    """Find the key and the workspace, both in one round trip."""
    token = read_key(bearer)
    record, workspace = await services.keys.find_access(token.key_id, wanted)
    now = services.clock.now()
    refusal = why_refused(record, token, now)
    if record is None or refusal is not None:
        raise credentials_refused(refusal or "The key is not known.")
    services.key_uses.note(record.key_id, now)
    structlog.contextvars.bind_contextvars(key_id=record.key_id)
    return Access(record.key_id, record.scopes, record.workspaces), workspace


def find_address(services: ApiServices) -> str | None:
    """Return where the request came from; None for an address that the server does not know."""
    peer = request.remote_addr
    return peer and services.proxies.find_address(peer, request.scope["headers"])


def _workspace_to_find(operation: Operation) -> str | None:
    """Return the workspace that must exist. None for a path with an id that cannot be one."""
    if operation.name in _MAKES_ITS_WORKSPACE or not _has_proper_ids():
        return None
    return (request.view_args or {}).get("workspace_id")


def _has_proper_ids() -> bool:
    return all(is_id(value) for value in (request.view_args or {}).values())


def require_scope(access: Access, scope: str) -> None:
    """Raise Problem 403 unless the caller has the scope."""
    if scope in access.scopes:
        return
    challenge = f'{CHALLENGE}, error="insufficient_scope", scope="{scope}"'
    raise Problem(
        MISSING_SCOPE,
        f"This operation needs a key with the scope {scope}.",
        headers={"WWW-Authenticate": challenge},
        extensions={"required_scope": scope},
    )


def require_all_workspaces(access: Access, what: str) -> None:
    """Raise Problem 403 for a key or JWT that is limited to workspaces, since it covers all."""
    if access.workspaces is not None:
        raise Problem(MISSING_SCOPE, f"A key that is limited to workspaces does not see {what}.")


def _check_path(access: Access, operation: Operation, workspace: Workspace | None) -> None:
    if not _has_proper_ids():
        raise Problem(
            NOT_FOUND, "An id in the path is not one: 1 to 64 letters, digits and . _ : - are."
        )
    workspace_id = (request.view_args or {}).get("workspace_id")
    if workspace_id is None:
        return
    if not access.sees(workspace_id):
        raise no_such_workspace(workspace_id)
    if operation.name not in _MAKES_ITS_WORKSPACE:
        if workspace is None:
            raise no_such_workspace(workspace_id)
        g.workspace = workspace
