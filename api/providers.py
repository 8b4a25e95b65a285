"""Provider connections: how a workspace reaches a provider.

Owns what is done with a connection. What a client may configure is in `provider_body`, and which
credential a key may name in `provider_credentials`. It must never call a provider.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

from pydantic import Field
from quart import Response, request

from api.auth import current_author, current_workspace, no_such_workspace
from api.bodies import Instant, json_response, read_json, read_query
from api.conflicts import locate_conflict
from api.cursors import PageQuery
from api.keys import Scope
from api.operations import Operations
from api.paging import Paging, cut_page
from api.patching import PATCH_MEDIA_TYPES, patch_of, read_patch
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
from api.problem_types import CONFLICT, CREDENTIAL_NOT_ALLOWED, NOT_FOUND
from api.problems import Problem
from api.provider_body import ProviderBody, body_of, refuse_faults
from api.provider_credentials import ConfigurationWarning, check_credential, refuse_credential
from api.services import ApiServices
from api.shapes import AnswerModel, Overrides
from domain.asking import why_not_asked
from domain.cutover import Cutover
from domain.model import ProviderConnection
from domain.registry import Moved, Refusal, Stored, revision_of
from ports.providers import Provider

ALL = "/workspaces/{workspace_id}/providers"
ONE = "/workspaces/{workspace_id}/providers/{provider_id}"
_TAG = "providers"
# A PUT or PATCH that does not name it leaves it as it is.
_KEPT = frozenset({"active"})


class ProviderAnswer(AnswerModel):
    workspace_id: str
    provider_id: str
    provider_type: str
    transport: str
    base_url: str
    credential: str | None
    settings: dict[str, Any]
    active: bool
    expected_update_seconds: float | None
    expected_update_source: Literal["stated", "documented"] | None = Field(
        description="stated by a person, or documented by the vendor and taken when the connection "
        "was made. A documented period raises neither the grace nor limits that are overridden"
    )
    overrides: Overrides
    simulated: bool
    archived_at: Instant | None


class StoredProvider(ProviderAnswer):
    warnings: list[ConfigurationWarning] = Field(description="what was accepted but fails now")


class ProviderList(AnswerModel):
    items: list[ProviderAnswer]
    next_cursor: str | None


class ProviderQuery(PageQuery):
    archived: bool = Field(False, description="list archived connections instead of those in use")


class _Wanted(NamedTuple):
    """What a request makes of a connection.

    `is_named`: it has the member `credential`. `names_period`: what it says of the expected period
    is meant, also if that is nothing.
    """

    body: ProviderBody
    is_named: bool
    names_period: bool


def declare_providers(operations: Operations, services: ApiServices) -> None:
    _declare_list(operations, services)
    _declare_get(operations, services)
    _declare_put(operations, services)
    _declare_patch(operations, services)
    _declare_archive(operations, services)


def _declare_list(operations: Operations, services: ApiServices) -> None:
    paging = Paging(services)

    @operations.declare(
        "GET", ALL, scope=Scope.READ, query=ProviderQuery, response=ProviderList, tag=_TAG
    )
    async def list_providers(workspace_id: str) -> Response:
        """List a workspace's provider connections, by id."""
        query = read_query(request, ProviderQuery)
        kind = f"providers {workspace_id} {query.archived}"
        rows = await services.registry.list_providers(
            workspace_id,
            after=paging.key_after(query.cursor, kind),
            limit=query.limit + 1,
            archived=query.archived,
        )
        page, last = cut_page(rows, query.limit)
        following = paging.encode(kind, None if last is None else (last.provider_id,))
        return json_response(
            ProviderList(items=[_present(row) for row in page], next_cursor=following)
        )


def _declare_get(operations: Operations, services: ApiServices) -> None:
    @operations.declare(
        "GET",
        ONE,
        scope=Scope.READ,
        response=ProviderAnswer,
        tagged=True,
        conditions=(IF_NONE_MATCH,),
        tag=_TAG,
    )
    async def get_provider(workspace_id: str, provider_id: str) -> Response:
        """Show one provider connection, in use or archived."""
        connection = await services.registry.get_provider(workspace_id, provider_id)
        if connection is None:
            raise _no_such_connection(provider_id)
        return conditional_response(_present(connection), connection.revision)


def _declare_put(operations: Operations, services: ApiServices) -> None:
    body_model = body_of(services.providers)

    @operations.declare(
        "PUT",
        ONE,
        scope=Scope.CONTROL,
        request=body_model,
        response=StoredProvider,
        creates=True,
        problems=(CONFLICT, CREDENTIAL_NOT_ALLOWED),
        tagged=True,
        conditions=(IF_MATCH, IF_NONE_MATCH),
        tag=_TAG,
    )
    async def put_provider(workspace_id: str, provider_id: str) -> Response:
        """Configure a provider connection: 201 when it is new, 200 when it existed.

        The credential is a reference, env:NAME or file:PATH. A secret anywhere in the body is
        refused, and so is a reference outside what connections may name. `warnings` reports a
        secret that cannot be read now.

        A request moves a connection when it changes its type, transport, address, or a setting that
        chooses host or path. Such a request must name the credential again. A key that is limited
        to workspaces may name files in the folder named after the workspace. It may also keep the
        present credential of a connection that does not move.

        A request that does not name `active` leaves it as it is. The id of an archived connection
        is not used again (409).
        """
        precondition = read_precondition()
        body = await read_json(request, body_model)
        named = body.model_fields_set
        wanted = _Wanted(
            body,
            is_named="credential" in named,
            names_period="expected_update_seconds" in named,
        )
        key = (workspace_id, provider_id)
        return await _settle(services, key, precondition, lambda _: wanted)


def _declare_patch(operations: Operations, services: ApiServices) -> None:
    body_model = body_of(services.providers)

    @operations.declare(
        "PATCH",
        ONE,
        scope=Scope.CONTROL,
        request=patch_of(body_model, kept=_KEPT),
        request_media_types=PATCH_MEDIA_TYPES,
        response=StoredProvider,
        problems=(CONFLICT, CREDENTIAL_NOT_ALLOWED),
        tagged=True,
        conditions=(IF_MATCH,),
        tag=_TAG,
    )
    async def patch_provider(workspace_id: str, provider_id: str) -> Response:
        """Change some members of a provider connection (RFC 7396).

        The connection is judged as it is afterwards, by the rules of a PUT. A patch that moves the
        connection must name the credential again, though it may be the present one.
        """
        precondition = read_precondition()
        patch = await read_patch(request)

        def change(stored: ProviderConnection | None) -> _Wanted:
            if stored is None:
                raise _no_such_connection(provider_id)
            present = _present(stored).model_dump(include=set(ProviderBody.model_fields))
            body = patch.apply(present, body_model, kept=_KEPT)
            return _Wanted(body, is_named=patch.names("credential"), names_period=True)

        return await _settle(services, (workspace_id, provider_id), precondition, change)


def _declare_archive(operations: Operations, services: ApiServices) -> None:
    @operations.declare(
        "DELETE",
        ONE,
        scope=Scope.CONTROL,
        response=ProviderAnswer,
        problems=(CONFLICT,),
        tagged=True,
        conditions=(IF_MATCH,),
        tag=_TAG,
    )
    async def archive_provider(workspace_id: str, provider_id: str) -> Response:
        """Archive a connection without active devices: it is switched off, and leaves the list.

        What was stored of it stays readable until its retention ends. Its id is not used again. A
        connection with active devices is refused (409): retire or swap them first. Idempotent.
        """
        precondition, key = read_precondition(), (workspace_id, provider_id)
        missing = _no_such_connection(provider_id)

        async def find() -> ProviderConnection:
            return require_found(await services.registry.get_provider(*key), missing)

        async def archive(
            _: ProviderConnection, expected: int
        ) -> ProviderConnection | Refusal | Moved:
            return await services.registry.archive_provider(
                *key, expected=expected, by=current_author()
            )

        answer = await settle(precondition, find, archive, revision=revision_of, missing=missing)
        services.nudges.registry_changed()
        return tagged_response(_present(answer), answer.revision)


async def _settle(
    services: ApiServices,
    key: tuple[str, str],
    precondition: Precondition,
    make_body: Callable[[ProviderConnection | None], _Wanted],
) -> Response:
    """Store the connection that `make_body` makes of the stored one, and return the answer."""

    find = partial(services.registry.get_provider, *key)

    async def store(stored: ProviderConnection | None, expected: int) -> Response | Refusal | Moved:
        return await _store(services, key, stored, expected, make_body(stored))

    return await settle(
        precondition,
        find,
        store,
        revision=revision_of,
        missing=no_such_workspace(key[0]),
        locate=partial(locate_conflict, group="overrides", members=Overrides),
    )


async def _store(
    services: ApiServices,
    key: tuple[str, str],
    stored: ProviderConnection | None,
    expected: int,
    wanted: _Wanted,
) -> Response | Refusal | Moved:
    """Store the connection, unless it is another one than `stored` by now.

    So the rule for credentials is judged over the connection that is replaced.
    """
    body = wanted.body
    provider = refuse_faults(body, services.providers, services.outbound)
    named = "active" in body.model_fields_set
    active = body.active if named or stored is None else stored.active
    period, is_documented = _find_period(wanted, stored, provider)
    connection = ProviderConnection(
        *key,
        provider_type=body.provider_type,
        transport=body.transport,
        base_url=body.base_url,
        credential=body.credential,
        settings=body.settings,
        active=active,
        expected_update_seconds=period,
        override=body.overrides.to_domain(),
        ids_are_vins=provider.ids_are_vins,
        period_is_documented=is_documented,
        simulated=body.simulated,
    )
    refuse_credential(connection, stored, provider, services.credentials, is_named=wanted.is_named)
    warnings = await check_credential(body.credential, services.credentials)
    warnings += warn_of_flags(connection, current_workspace().cutover)
    answer = await services.registry.put_provider(
        connection, expected=expected, by=current_author()
    )
    if not isinstance(answer, Stored):
        return answer
    services.nudges.registry_changed()
    shown = StoredProvider(**dict(_present(connection)), warnings=warnings)
    return tagged_response(shown, answer.revision, 201 if answer.created else 200)


def warn_of_flags(connection: ProviderConnection, flags: Cutover) -> list[ConfigurationWarning]:
    """Return a warning if the provider mode leaves the connection out."""
    why = why_not_asked(connection, flags) if flags.is_collecting else None
    if why is None:
        return []
    detail = f"Nothing is collected over it: {why}. Set provider_mode to mixed (…/cutover)."
    return [ConfigurationWarning(pointer="/simulated", detail=detail)]


def _no_such_connection(provider_id: str) -> Problem:
    return Problem(NOT_FOUND, f"There is no provider connection {provider_id}.")


def _find_period(
    wanted: _Wanted, stored: ProviderConnection | None, provider: Provider
) -> tuple[float | None, bool]:
    """Return the expected period, and whether it is the documents' and nobody stated it.

    The documents count when a connection is made, and never for one that exists.
    """
    body, is_named = wanted.body, wanted.names_period
    stated = body.expected_update_seconds
    if stored is None:
        documented = None if body.simulated else provider.about.expected_update_seconds
        return (stated, False) if is_named else (documented, documented is not None)
    is_same = not is_named or stated == stored.expected_update_seconds
    if stored.period_is_documented and is_same and stored.provider_type == body.provider_type:
        return stored.expected_update_seconds, True
    return stated, False


def _source_of_period(connection: ProviderConnection) -> Literal["stated", "documented"] | None:
    if connection.expected_update_seconds is None:
        return None
    return "documented" if connection.period_is_documented else "stated"


def _present(connection: ProviderConnection) -> ProviderAnswer:
    return ProviderAnswer(
        workspace_id=connection.workspace_id,
        provider_id=connection.provider_id,
        provider_type=connection.provider_type,
        transport=connection.transport,
        base_url=connection.base_url,
        credential=connection.credential,
        settings=dict(connection.settings),
        active=connection.active,
        expected_update_seconds=connection.expected_update_seconds,
        expected_update_source=_source_of_period(connection),
        overrides=Overrides.of(connection.override),
        simulated=connection.simulated,
        archived_at=connection.archived_at,
    )
