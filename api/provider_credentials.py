"""The rule for the credential that a request gives to a provider connection.

It says which credentials a key may name, and when a request has to name the credential again
(docs/decisions/0012-secrets-by-reference.md). A connection is a secret and the place that the
secret is sent to. Moving the connection sends the secret to another place, so only a key that may
name the secret may do that. The rule itself is synchronous; only `check_credential` reads a secret,
through `Credentials`.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from api.auth import current_access
from api.problem_types import CREDENTIAL_NOT_ALLOWED, INVALID_BODY
from api.problems import FaultyPart, Problem
from api.shapes import AnswerModel
from domain.model import ProviderConnection
from ports.providers import Provider
from ports.registry import Credentials
from runtime.secret_references import SecretForbidden

POINTER = "/credential"


class ConfigurationWarning(AnswerModel):
    """An accepted setting that does not work now. `pointer` leads into the request's body."""

    pointer: str
    detail: str


class CredentialChange(NamedTuple):
    """What a request makes of a credential.

    `moved` are the pointers of changed members that send the secret to another place. `is_named`:
    the request has the member `credential`, null or not.
    """

    wanted: str | None
    present: str | None
    moved: list[str]
    is_named: bool


def refuse_credential(
    wanted: ProviderConnection,
    present: ProviderConnection | None,
    provider: Provider,
    credentials: Credentials,
    *,
    is_named: bool,
) -> None:
    """Raise Problem unless the request may configure this credential.

    `is_named`: the body has the member `credential`, null or not. 422 when a connection with a
    credential moves and the body has no such member. 403 when the key is limited to workspaces,
    except for a credential of its workspace, and for the present credential of a connection that
    stays.
    """
    change = CredentialChange(
        wanted.credential,
        None if present is None else present.credential,
        [] if present is None else list_moves(present, wanted, provider),
        is_named=is_named,
    )
    judge_credential(change, wanted.workspace_id, credentials)


def judge_credential(
    change: CredentialChange, workspace_id: str, credentials: Credentials, within: str = ""
) -> None:
    """Raise Problem unless the request may configure this credential, as in `refuse_credential`.

    `within` is the pointer to the thing that has the credential.
    """
    wanted, present, moved, is_named = change
    if present is not None and moved and not is_named:
        raise Problem(INVALID_BODY, errors=[_unnamed(moved, within)])
    if wanted is None or current_access().workspaces is None:
        return
    stays = present == wanted and not moved
    if not stays and not credentials.is_of_workspace(wanted, workspace_id):
        raise Problem(CREDENTIAL_NOT_ALLOWED, errors=[_not_allowed(workspace_id, within)])


def list_moves(
    present: ProviderConnection, wanted: ProviderConnection, provider: Provider
) -> list[str]:
    """Return the pointers of the changed members that send the secret to another place."""
    moved = [
        f"/{name}"
        for name in ("provider_type", "transport", "base_url")
        if getattr(present, name) != getattr(wanted, name)
    ]
    if _destination(present.settings, provider) != _destination(wanted.settings, provider):
        moved.append("/settings")
    return moved


async def check_credential(
    credential: str | None, credentials: Credentials, pointer: str = POINTER
) -> list[ConfigurationWarning]:
    """Return a warning when the secret cannot be read now. Waits a second at most.

    Raises Problem 422 for a reference that can never work.
    """
    if credential is None:
        return []
    try:
        fault = await credentials.explain_unavailable(credential)
    except SecretForbidden as refusal:
        raise Problem(
            INVALID_BODY, errors=[FaultyPart(pointer=pointer, detail=f"{refusal}.")]
        ) from None
    if fault is None:
        return []
    detail = (
        f"{fault}. The reference was accepted. The secret is read at each use: the connection "
        "works as soon as that succeeds."
    )
    return [ConfigurationWarning(pointer=pointer, detail=detail)]


def _destination(settings: Mapping[str, Any], provider: Provider) -> Mapping[str, Any]:
    chosen = provider.destination_settings
    return {name: value for name, value in settings.items() if chosen is None or name in chosen}


def _unnamed(moved: list[str], within: str) -> FaultyPart:
    detail = (
        f"The connection moves ({', '.join(moved)}), so its credential would be sent elsewhere. "
        "Name the credential again in this request, or give null for a connection without one."
    )
    return FaultyPart(pointer=within + POINTER, detail=detail)


def _not_allowed(workspace_id: str, within: str) -> FaultyPart:
    detail = (
        f"This key is limited to workspaces. It may name file:{workspace_id}/NAME. It may also "
        "name the present credential of a connection that does not move: that keeps its type, "
        "transport, address, and the settings or paths that choose where the secret is sent. Use a "
        "key without this limit for another credential."
    )
    return FaultyPart(pointer=within + POINTER, detail=detail)
