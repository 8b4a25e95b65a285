"""API keys as a resource: listed, made and revoked by keys and JWTs of scope admin.

Owns what a key may do to other keys; a JWT may do the same. A key that is limited to workspaces
sees, makes and revokes only keys that are limited to some of these workspaces. For it the others do
not exist. The text of a key is in one answer only, that of the request that made it.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, Field
from quart import Response, request

from api.access import Access
from api.auth import current_access, current_author
from api.bodies import Instant, RequestModel, json_response, read_json, read_query
from api.cursors import PageQuery
from api.keys import (
    DEFAULT_SCOPES,
    MAX_NAME_CHARACTERS,
    KeyState,
    Scope,
    check_name,
    mint_key,
    state_of,
)
from api.operations import Operations
from api.paging import Paging, cut_page
from api.problem_types import CONFLICT, INVALID_BODY, KEY_NOT_ALLOWED, NOT_FOUND
from api.problems import FaultyPart, Problem
from api.provider_credentials import ConfigurationWarning
from api.services import ApiServices
from api.shapes import AnswerModel, Identifier
from ports.keys import ListedKey

_TAG = "keys"
_MAX_WORKSPACES = 500


class KeyBody(RequestModel):
    """A new key."""

    name: Annotated[
        str,
        Field(
            max_length=MAX_NAME_CHARACTERS,
            json_schema_extra={"minLength": 1, "pattern": r"^[^\x00-\x1f\x7f]+$"},
            description="unique among all keys, the revoked ones too; spaces at its ends are "
            "removed",
        ),
        AfterValidator(check_name),
    ]
    scopes: list[Scope] = Field(
        list(DEFAULT_SCOPES),
        min_length=1,
        max_length=len(Scope),
        description="no scope includes another",
    )
    workspaces: Annotated[
        list[Identifier] | None,
        Field(
            min_length=1,
            max_length=_MAX_WORKSPACES,
            description="the only workspaces that exist for the key; null: all",
        ),
    ] = None
    expires_at: Annotated[
        Instant | None, Field(description="an instant ahead, at which the key stops; null: never")
    ] = None


class KeyAnswer(AnswerModel):
    key_id: str
    name: str
    scopes: list[str]
    workspaces: list[str] | None
    state: KeyState
    created_at: datetime
    created_by: str | None = Field(
        description="the id of a key, `jwt:` and the subject of a JWT, or the name of a command; "
        "null: made before this was kept"
    )
    expires_at: datetime | None
    last_used_at: datetime | None = Field(
        description="the minute of its newest request, shown within two minutes"
    )
    revoked_at: datetime | None
    revoked_by: str | None


class CreatedKey(KeyAnswer):
    token: str = Field(description="what the client sends; it cannot be shown again")
    warnings: list[ConfigurationWarning] = Field(description="what was accepted but opens nothing")


class RevokedKey(KeyAnswer):
    was_revoked: bool = Field(description="it had been revoked before this request")


class KeyList(AnswerModel):
    items: list[KeyAnswer]
    next_cursor: str | None


class KeyQuery(PageQuery):
    include_revoked: bool = Field(False, description="list revoked keys too")


def declare_keys(operations: Operations, services: ApiServices) -> None:
    _declare_list(operations, services)
    _declare_create(operations, services)
    _declare_revoke(operations, services)


def _declare_list(operations: Operations, services: ApiServices) -> None:
    paging = Paging(services)

    @operations.declare(
        "GET", "/keys", scope=Scope.ADMIN, query=KeyQuery, response=KeyList, tag=_TAG
    )
    async def list_keys() -> Response:
        """List the keys, by name. A key that is limited to workspaces sees those within its own."""
        query = read_query(request, KeyQuery)
        kind = f"keys {query.include_revoked}"
        rows = await services.keys.list_keys(
            within=current_access().workspaces,
            with_revoked=query.include_revoked,
            after=paging.key_after(query.cursor, kind),
            limit=query.limit + 1,
        )
        page, last = cut_page(rows, query.limit)
        now = services.clock.now()
        following = paging.encode(kind, None if last is None else (last.name,))
        return json_response(
            KeyList(items=[present_key(row, now) for row in page], next_cursor=following)
        )


def _declare_create(operations: Operations, services: ApiServices) -> None:
    @operations.declare(
        "POST",
        "/keys",
        scope=Scope.ADMIN,
        request=KeyBody,
        response=CreatedKey,
        status=201,
        problems=(CONFLICT, KEY_NOT_ALLOWED),
        tag=_TAG,
    )
    async def create_key() -> Response:
        """Make a key. This answer alone shows its token: only a hash of it is stored.

        A name that is taken is refused (409). A key that is limited to workspaces makes only keys
        that are limited to some of these.
        """
        body = await read_json(request, KeyBody)
        now, access = services.clock.now(), current_access()
        _refuse_past(body, now)
        _refuse_more_than_own(body, access)
        record, token = mint_key(body.name, body.scopes, body.workspaces, body.expires_at)
        stored = await services.keys.create_key(record, by=current_author())
        if stored is None:
            raise Problem(CONFLICT, errors=[_taken(body.name)])
        services.log.info("key_created", created_key_id=stored.key_id, name=stored.name)
        warnings = await _list_warnings(services, body.workspaces)
        answer = CreatedKey(**dict(present_key(stored, now)), token=token, warnings=warnings)
        return json_response(answer, 201)


def _declare_revoke(operations: Operations, services: ApiServices) -> None:
    @operations.declare(
        "DELETE",
        "/keys/{key_id}",
        scope=Scope.ADMIN,
        response=RevokedKey,
        problems=(CONFLICT,),
        tag=_TAG,
    )
    async def revoke_key(key_id: str) -> Response:
        """Revoke a key. No shard admits it any more once this is answered.

        Requests that have been admitted before end as usual. The key stays in the list, and its
        name stays taken. To revoke a key again changes nothing. A key cannot revoke itself (409).
        """
        access = current_access()
        if key_id == access.who:
            detail = (
                "A key cannot revoke itself: use another key of scope admin, or "
                "`lastheard token revoke`."
            )
            raise Problem(CONFLICT, detail)
        revoked = await services.keys.revoke_key(
            key_id, within=access.workspaces, by=current_author()
        )
        if revoked is None:
            raise Problem(NOT_FOUND, f"There is no key {key_id}: GET /keys lists them by name.")
        if not revoked.before:
            services.log.info("key_revoked", revoked_key_id=key_id, name=revoked.key.name)
        shown = present_key(revoked.key, services.clock.now())
        return json_response(RevokedKey(**dict(shown), was_revoked=revoked.before))


def present_key(key: ListedKey, now: datetime) -> KeyAnswer:
    """Return the key as the API shows it at `now`."""
    return KeyAnswer(
        key_id=key.key_id,
        name=key.name,
        scopes=sorted(key.scopes),
        workspaces=None if key.workspaces is None else sorted(key.workspaces),
        state=state_of(key, now),
        created_at=key.created_at,
        created_by=key.created_by,
        expires_at=key.expires_at,
        last_used_at=key.last_used_at,
        revoked_at=key.revoked_at,
        revoked_by=key.revoked_by,
    )


def _refuse_past(body: KeyBody, now: datetime) -> None:
    if body.expires_at is not None and body.expires_at <= now:
        detail = "The key would have expired already: give a later instant, or null for never."
        raise Problem(INVALID_BODY, errors=[FaultyPart(pointer="/expires_at", detail=detail)])


def _refuse_more_than_own(body: KeyBody, access: Access) -> None:
    """Raise Problem unless the new key sees only workspaces of the key that makes it.

    The answer is the same for workspaces that do not exist. Scopes are not compared: a key of scope
    admin may grant any.
    """
    faults = list(_faults_of_workspaces(body, access))
    if faults:
        raise Problem(KEY_NOT_ALLOWED, errors=faults)


def _faults_of_workspaces(body: KeyBody, access: Access) -> Iterator[FaultyPart]:
    if access.workspaces is None:
        return
    if body.workspaces is None:
        detail = "This key is limited to workspaces: name some of them for the new key."
        yield FaultyPart(pointer="/workspaces", detail=detail)
        return
    for place, workspace_id in enumerate(body.workspaces):
        if not access.sees(workspace_id):
            detail = "This key does not see this workspace: leave it out, or use another key."
            yield FaultyPart(pointer=f"/workspaces/{place}", detail=detail)


async def _list_warnings(
    services: ApiServices, workspaces: list[str] | None
) -> list[ConfigurationWarning]:
    """Return a warning for each workspace that does not exist: its id may be misspelt.

    It is no fault, because a key may make the workspaces that it is limited to.
    """
    if workspaces is None:
        return []
    found = await services.registry.list_workspaces(
        workspaces=frozenset(workspaces), after=None, limit=len(workspaces)
    )
    known = {workspace.workspace_id for workspace in found}
    detail = "There is no such workspace yet. The key opens it as soon as it exists."
    return [
        ConfigurationWarning(pointer=f"/workspaces/{place}", detail=detail)
        for place, workspace_id in enumerate(workspaces)
        if workspace_id not in known
    ]


def _taken(name: str) -> FaultyPart:
    detail = (
        f"There is or was a key with the name {name}. Names are not used again: give another, "
        "or revoke that key and then choose a new name."
    )
    return FaultyPart(pointer="/name", detail=detail)
