"""The configuration of a provider connection as a request has it, and its faults.

Owns the refusal of secrets: a credential is a reference to a secret, never the secret itself. It
must never call a provider.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationError, create_model

from api.bodies import RequestModel, pointer_to
from api.problem_types import INVALID_BODY
from api.problems import FaultyPart, Problem
from api.shapes import NO_OVERRIDES, Overrides, Seconds
from domain.model import Transport
from ports.providers import Provider
from runtime.outbound import Allowance, OutboundRefused
from runtime.redaction import is_sensitive_key
from runtime.secret_references import SecretReference
from runtime.settings import FREE_NAMES

_REFUSAL_OF_SECRETS = (
    "This looks like a secret. Keep it where the service can read it, "
    "and set credential to env:NAME or file:PATH."
)

_NO_ADDRESS = (
    "Give an address like https://host/path, in ASCII: "
    "a name in its xn-- form, a path percent-encoded."
)
_PORT = r"([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
BASE_URL = rf"^https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:{_PORT})?(/[!-\"$->@-~]*)?$"
_NO_BASE_URL = "^$|"
_FILE = r"file:[^\x00-\x1f\x7f-\x9f\s][^\x00-\x1f\x7f-\x9f]*"
_REFERENCE = re.compile(rf"(env:[A-Za-z_][A-Za-z0-9_]*|{_FILE})")
# The OpenAPI document shows which variables may be named; `Credentials` refuses the others.
_REFERENCE_SCHEMA = {"pattern": rf"^(env:LASTHEARD_{FREE_NAMES}[A-Za-z0-9_]*|{_FILE})$"}


def _check_reference(text: str) -> str:
    if _REFERENCE.fullmatch(text) is None:
        raise ValueError(
            "a credential is a reference, env:NAME or file:PATH, never the secret itself"
        )
    SecretReference(text)
    return text


CredentialReference = Annotated[
    str,
    Field(max_length=500, json_schema_extra={**_REFERENCE_SCHEMA}),
    AfterValidator(_check_reference),
]


class ProviderBody(RequestModel):
    """A connection's configuration.

    A PUT replaces all of it but `active`: what is left out gets its default.
    """

    provider_type: str = Field(max_length=64)
    transport: Transport = Field(
        description="`poll`: it is asked once a poll interval. `stream`: its stream is held open. "
        "`push`: it is never called, and clients send to /ingest or /provider-ingest. The provider "
        "type says which it has"
    )
    base_url: str = Field(
        "",
        max_length=2000,
        description="http(s) address without user, password or query; required for poll and "
        "stream, refused for push. The provider type says which",
        json_schema_extra={"pattern": _NO_BASE_URL + BASE_URL},
    )
    credential: CredentialReference | None = Field(
        None,
        description="where the service finds the secret: env:NAME or file:PATH, never the secret "
        "itself; none for push. A key that is limited to workspaces may name "
        "file:WORKSPACE_ID/NAME",
    )
    settings: dict[str, Any] = Field(
        default_factory=dict,
        description="as the provider type defines them: GET /provider-types has their JSON schema",
    )
    active: bool = Field(True, description="of a new connection true; else left out, it stays")
    expected_update_seconds: Seconds | None = Field(
        None,
        description="the interval of records that the provider promises, if longer than a cycle's. "
        "Left out, a new connection takes what the documents of its provider type state (GET "
        "/provider-types), unless it is simulated; null takes none",
    )
    overrides: Overrides = NO_OVERRIDES
    simulated: bool = Field(False, description="the connection leads to a simulator")


def body_of(providers: Mapping[str, Provider]) -> type[ProviderBody]:
    """Return the body's model for this installation: its schema names the known provider types."""
    provider_type = Annotated[
        str,
        Field(
            max_length=64,
            description="GET /provider-types describes each",
            json_schema_extra={"enum": sorted(providers)},
        ),
    ]
    return create_model(
        "ProviderBody",
        __base__=ProviderBody,
        __doc__=ProviderBody.__doc__,
        provider_type=provider_type,
    )


def refuse_faults(
    body: ProviderBody, providers: Mapping[str, Provider], outbound: Allowance
) -> Provider:
    """Return the body's provider type. Raises Problem with every fault of the body itself."""
    faults = [*_faults_of_way(body, outbound), *_faults_of_settings(body.settings)]
    provider = providers.get(body.provider_type)
    if provider is None:
        known = ", ".join(sorted(providers))
        faults.append(FaultyPart(pointer="/provider_type", detail=f"It must be one of {known}."))
        raise Problem(INVALID_BODY, errors=faults)
    if body.transport not in provider.transports:
        offered = " and ".join(sorted(provider.transports))
        faults.append(
            FaultyPart(pointer="/transport", detail=f"{body.provider_type} has {offered} only.")
        )
    faults = faults or _faults_found_by(provider, body.settings)
    if faults:
        raise Problem(INVALID_BODY, errors=faults)
    return provider


def _faults_of_way(body: ProviderBody, outbound: Allowance) -> Iterator[FaultyPart]:
    """Yield the faults of the address, and of a push connection that has one or a credential."""
    if body.transport != "push" and body.base_url:
        yield from faults_of_address(body.base_url, outbound)
        return
    if body.transport != "push":
        detail = "A poll or stream connection has an address: give one like https://host/path."
        yield FaultyPart(pointer="/base_url", detail=detail)
        return
    for name in ("base_url", "credential"):
        if getattr(body, name):
            detail = "A push connection has none: clients send its data with their own keys."
            yield FaultyPart(pointer=f"/{name}", detail=detail)


def faults_of_address(
    text: str, outbound: Allowance, pointer: str = "/base_url"
) -> Iterator[FaultyPart]:
    """Yield the faults of a base URL. A host given as an address is judged too.

    A host's name is judged when it is dialled, since its addresses may change.
    """
    try:
        parts = urlsplit(text)
    except ValueError:
        parts = None
    if parts is not None and (parts.username is not None or parts.query or parts.fragment):
        detail = "It must have no user, password, query or fragment. Use `credential` for a secret."
        yield FaultyPart(pointer=pointer, detail=detail)
    elif re.fullmatch(BASE_URL, text) is None:
        yield FaultyPart(pointer=pointer, detail=_NO_ADDRESS)
    elif parts is None:
        yield FaultyPart(pointer=pointer, detail="There is no IPv6 address in the brackets.")
    else:
        try:
            outbound.judge_literal(parts.hostname or "")
        except OutboundRefused as refusal:
            yield FaultyPart(pointer=pointer, detail=f"{refusal}.")


def _faults_of_settings(value: object, pointer: str = "/settings") -> Iterator[FaultyPart]:
    """Yield the settings with a secret's name, at any depth, and those with NUL.

    PostgreSQL cannot store NUL.
    """
    match value:
        case dict():
            for name, item in value.items():
                yield from _faults_of_setting(
                    name, item, f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}"
                )
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
            FaultyPart(
                pointer="/settings" + pointer_to(fault["loc"], settings), detail=fault["msg"]
            )
            for fault in error.errors(include_url=False, include_context=False, include_input=False)
        ]
    except ValueError as error:
        return [FaultyPart(pointer="/settings", detail=str(error))]
    return []
