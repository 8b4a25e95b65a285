"""Which credential a request may give to a provider connection, and when it has to name it again.

Owns the rule (docs/decisions/0012-secrets-by-reference.md). A connection is a secret and the place it
is sent to, so moving it hands the secret to another place: only a key that may name the secret may do
that. The decisions are synchronous; `Credentials` is asked for what cannot be known without looking.
"""

from collections.abc import Mapping
from typing import Any

from actors.ports import Provider
from api.auth import current_access
from api.ports import Credentials
from api.problem_types import CREDENTIAL_NOT_ALLOWED, INVALID_BODY
from api.problems import FaultyPart, Problem
from api.shapes import AnswerModel
from domain.model import ProviderConnection
from runtime.secret_references import SecretForbidden

POINTER = "/credential"


class ConfigurationWarning(AnswerModel):
    """Something that was accepted and does not work now. `pointer` leads into the request's body."""

    pointer: str
    detail: str


def refuse_credential(
    wanted: ProviderConnection,
    present: ProviderConnection | None,
    provider: Provider,
    credentials: Credentials,
    *,
    is_named: bool,
) -> None:
    """Raise Problem unless the request may configure this credential.

    `is_named`: the body has the member, null or not. 422 when a connection with a credential moves and
    the body does not name one. 403 when the key is limited to workspaces and the credential is neither
    of its workspace nor the present one of a connection that stays.
    """
    moved = [] if present is None else list_moves(present, wanted, provider)
    if present is not None and present.credential is not None and moved and not is_named:
        raise Problem(INVALID_BODY, errors=[_unnamed(moved)])
    if wanted.credential is None or current_access().workspaces is None:
        return
    stays = present is not None and present.credential == wanted.credential and not moved
    if not stays and not credentials.is_of_workspace(wanted.credential, wanted.workspace_id):
        raise Problem(CREDENTIAL_NOT_ALLOWED, errors=[_not_allowed(wanted.workspace_id)])


def list_moves(present: ProviderConnection, wanted: ProviderConnection, provider: Provider) -> list[str]:
    """Return the pointers of what would send the secret to another place."""
    moved = [
        f"/{name}"
        for name in ("provider_type", "transport", "base_url")
        if getattr(present, name) != getattr(wanted, name)
    ]
    if _destination(present.settings, provider) != _destination(wanted.settings, provider):
        moved.append("/settings")
    return moved


async def check_credential(credential: str | None, credentials: Credentials) -> list[ConfigurationWarning]:
    """Return what does not work now; raise Problem 422 for a reference that can never work.

    Waits a second at most.
    """
    if credential is None:
        return []
    try:
        fault = await credentials.explain_unavailable(credential)
    except SecretForbidden as refusal:
        raise Problem(INVALID_BODY, errors=[FaultyPart(pointer=POINTER, detail=f"{refusal}.")]) from None
    if fault is None:
        return []
    detail = f"{fault}. It was accepted; the connection works once the secret can be read, which is tried at each use."
    return [ConfigurationWarning(pointer=POINTER, detail=detail)]


def _destination(settings: Mapping[str, Any], provider: Provider) -> Mapping[str, Any]:
    chosen = provider.destination_settings
    return {name: value for name, value in settings.items() if chosen is None or name in chosen}


def _unnamed(moved: list[str]) -> FaultyPart:
    detail = (
        f"The connection moves ({', '.join(moved)}), and its credential would go to another place: name the credential "
        "again in this request, or give null for a connection without one."
    )
    return FaultyPart(pointer=POINTER, detail=detail)


def _not_allowed(workspace_id: str) -> FaultyPart:
    detail = (
        f"This key is limited to workspaces: it may name file:{workspace_id}/NAME, or the present credential of a "
        "connection whose provider_type, transport, base_url and settings of the destination stay. A key without this "
        "limit may name any other."
    )
    return FaultyPart(pointer=POINTER, detail=detail)
