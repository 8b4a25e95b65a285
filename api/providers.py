"""Provider connections: how a workspace reaches a provider.

Owns the refusal of secrets: a credential is a reference to where the secret lies, never the secret.
Which reference a key may configure is decided in api/provider_credentials.py. It must never call a
provider.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationError
from quart import Response, request

from actors.ports import Provider
from api.auth import no_such_workspace
from api.bodies import RequestModel, json_response, pointer_to, read_json, read_query
from api.cursors import PageQuery
from api.keys import Scope
from api.operations import Operations
from api.paging import Paging, cut
from api.ports import Conflict, NotFound
from api.problem_types import CONFLICT, CREDENTIAL_NOT_ALLOWED, INVALID_BODY, NOT_FOUND
from api.problems import FaultyPart, Problem
from api.provider_credentials import ConfigurationWarning, check_credential, refuse_credential
from api.services import ApiServices
from api.shapes import NO_OVERRIDES, AnswerModel, Overrides, Seconds
from domain.model import ProviderConnection
from runtime.outbound import Allowance, OutboundRefused
from runtime.redaction import is_sensitive_key
from runtime.secret_references import SecretReference

ALL = "/workspaces/{workspace_id}/providers"
ONE = "/workspaces/{workspace_id}/providers/{provider_id}"
_TAG = "providers"
_REFUSAL_OF_SECRETS = (
    "This looks like a secret. Keep it where the service can read it, and set credential to env:NAME or file:PATH."
)


def _check_reference(text: str) -> str:
    reference = SecretReference(text)
    if not text.isprintable() or (reference.kind == "env" and not reference.target.isidentifier()):
        raise ValueError("a credential is a reference, env:NAME or file:PATH, never the secret itself")
    return text


CredentialReference = Annotated[str, Field(max_length=500), AfterValidator(_check_reference)]


class ProviderBody(RequestModel):
    """What a client configures. A PUT replaces all of it: what is left out gets its default."""

    provider_type: str = Field(max_length=64)
    transport: Literal["poll", "stream"]
    base_url: str = Field(max_length=2000, description="http(s) address without user, password or query")
    credential: CredentialReference | None = None
    settings: dict[str, Any] = Field(default_factory=dict, description="as the provider type defines them")
    active: bool = True
    expected_update_seconds: Seconds | None = Field(
        None, description="how often its contract promises a new record, when that is less often than a cycle"
    )
    overrides: Overrides = NO_OVERRIDES


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
    overrides: Overrides


class StoredProvider(ProviderAnswer):
    warnings: list[ConfigurationWarning] = Field(description="what was accepted and does not work now")


class ProviderList(AnswerModel):
    items: list[ProviderAnswer]
    next_cursor: str | None


def declare_providers(operations: Operations, services: ApiServices) -> None:
    paging = Paging(services)

    @operations.declare("GET", ALL, scope=Scope.READ, query=PageQuery, response=ProviderList, tag=_TAG)
    async def list_providers(workspace_id: str) -> Response:
        """List a workspace's provider connections, by id."""
        query = read_query(request, PageQuery)
        kind = f"providers {workspace_id}"
        rows = await services.registry.list_providers(
            workspace_id, after=paging.key_after(query.cursor, kind), limit=query.limit + 1
        )
        page, last = cut(rows, query.limit)
        following = paging.encode(kind, None if last is None else (last.provider_id,))
        return json_response(ProviderList(items=[_present(row) for row in page], next_cursor=following))

    @operations.declare("GET", ONE, scope=Scope.READ, response=ProviderAnswer, tag=_TAG)
    async def get_provider(workspace_id: str, provider_id: str) -> Response:
        """Show one provider connection."""
        connection = await services.registry.get_provider(workspace_id, provider_id)
        if connection is None:
            raise Problem(NOT_FOUND, f"There is no provider connection {provider_id}.")
        return json_response(_present(connection))

    @operations.declare(
        "PUT",
        ONE,
        scope=Scope.CONTROL,
        request=ProviderBody,
        response=StoredProvider,
        creates=True,
        problems=(CONFLICT, CREDENTIAL_NOT_ALLOWED),
        tag=_TAG,
    )
    async def put_provider(workspace_id: str, provider_id: str) -> Response:
        """Configure a provider connection: 201 when it is new, 200 when it changed.

        The credential is a reference, env:NAME or file:PATH. A secret anywhere in the body is refused,
        and so is a reference to what no connection may name; `warnings` tells of a secret that cannot
        be read now. A request that moves a connection (its type, transport, address, or settings that
        choose host or path) must name its credential again. A key that is limited to workspaces may
        name files in a folder named after the workspace, and keep the present credential of a
        connection that does not move.
        """
        body = await read_json(request, ProviderBody)
        provider = _refuse_faults(body, services.providers, services.outbound)
        connection = _to_domain(workspace_id, provider_id, body)
        refuse_credential(
            connection,
            await services.registry.get_provider(workspace_id, provider_id),
            provider,
            services.credentials,
            is_named="credential" in body.model_fields_set,
        )
        warnings = await check_credential(body.credential, services.credentials)
        stored = await services.registry.put_provider(connection)
        if isinstance(stored, NotFound):
            raise no_such_workspace(workspace_id)
        if isinstance(stored, Conflict):
            raise Problem(CONFLICT, errors=[FaultyPart(detail=stored.detail, pointer=stored.pointer)])
        services.nudges.registry_changed()
        answer = StoredProvider(**dict(_present(connection)), warnings=warnings)
        return json_response(answer, 201 if stored.created else 200)


def _refuse_faults(body: ProviderBody, providers: Mapping[str, Provider], outbound: Allowance) -> Provider:
    """Raise Problem for all that is wrong in the body by itself; else return its provider type."""
    faults = [*_faults_of_base_url(body.base_url, outbound), *_faults_of_settings(body.settings)]
    provider = providers.get(body.provider_type)
    if provider is None:
        known = ", ".join(sorted(providers))
        faults.append(FaultyPart(pointer="/provider_type", detail=f"It is not known; known are {known}."))
        raise Problem(INVALID_BODY, errors=faults)
    if body.transport not in provider.transports:
        offered = " and ".join(sorted(provider.transports))
        faults.append(FaultyPart(pointer="/transport", detail=f"{body.provider_type} has {offered} only."))
    faults = faults or _faults_found_by(provider, body.settings)
    if faults:
        raise Problem(INVALID_BODY, errors=faults)
    return provider


def _faults_of_base_url(text: str, outbound: Allowance) -> Iterator[FaultyPart]:
    """A host that is an address in itself is judged here; a name only when it is dialled."""
    try:
        parts = urlsplit(text)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not text.isprintable() or " " in text:
        yield FaultyPart(pointer="/base_url", detail="Give an address like https://host/path.")
    elif parts.username is not None or parts.query or parts.fragment:
        detail = "It must hold no user, password, query or fragment: secrets belong behind the credential."
        yield FaultyPart(pointer="/base_url", detail=detail)
    else:
        try:
            outbound.judge_literal(parts.hostname or "")
        except OutboundRefused as refusal:
            yield FaultyPart(pointer="/base_url", detail=f"{refusal}.")


def _faults_of_settings(value: object, pointer: str = "/settings") -> Iterator[FaultyPart]:
    """Secrets by their name, at any depth; and NUL, which PostgreSQL cannot store."""
    match value:
        case dict():
            for name, item in value.items():
                yield from _faults_of_setting(name, item, f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}")
        case list():
            for index, item in enumerate(value):
                yield from _faults_of_settings(item, f"{pointer}/{index}")
        case str() if "\0" in value:
            yield FaultyPart(pointer=pointer, detail="It must not contain the character NUL.")


def _faults_of_setting(name: str, value: object, pointer: str) -> Iterator[FaultyPart]:
    if "\0" in name:
        yield FaultyPart(pointer=pointer, detail="A name must not contain the character NUL.")
    elif is_sensitive_key(name):
        yield FaultyPart(pointer=pointer, detail=_REFUSAL_OF_SECRETS)
    else:
        yield from _faults_of_settings(value, pointer)


def _faults_found_by(provider: Provider, settings: dict[str, Any]) -> list[FaultyPart]:
    try:
        provider.check_settings(settings)
    except ValidationError as error:
        return [
            FaultyPart(pointer="/settings" + pointer_to(fault["loc"], settings), detail=fault["msg"])
            for fault in error.errors(include_url=False, include_context=False, include_input=False)
        ]
    except ValueError as error:
        return [FaultyPart(pointer="/settings", detail=str(error))]
    return []


def _to_domain(workspace_id: str, provider_id: str, body: ProviderBody) -> ProviderConnection:
    return ProviderConnection(
        workspace_id=workspace_id,
        provider_id=provider_id,
        provider_type=body.provider_type,
        transport=body.transport,
        base_url=body.base_url,
        credential=body.credential,
        settings=body.settings,
        active=body.active,
        expected_update_seconds=body.expected_update_seconds,
        override=body.overrides.to_domain(),
    )


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
        overrides=Overrides.of(connection.override),
    )
