"""Checks of a provider connection's configuration before it is used. Pure.

Owns the check of settings, of addresses and of secrets that travel in a header. It must never quote
a secret. A wrong value raises ProviderFault, so that it shows in health like any other reason why
nothing arrives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

import httpx
from pydantic import BaseModel

from domain.model import FaultClass
from ports.providers import ProviderFault

if TYPE_CHECKING:
    from domain.model import ProviderConnection

WEBSOCKET_SCHEMES: Final = {"http": "ws", "https": "wss"}

_Settings = TypeVar("_Settings", bound=BaseModel)


def parse_base_url(text: str) -> httpx.URL:
    """Return the base address without a trailing slash.

    Raises ProviderFault that says what to change.
    """
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise _wrong(
            f"base_url is not an address ({error}); it should look like https://host/path"
        ) from error
    if url.scheme not in WEBSOCKET_SCHEMES or not url.host:
        raise _wrong("base_url must start with https:// (or http://) and name a host")
    if url.userinfo:
        raise _wrong("base_url must not hold a user or password: put them into the credential")
    if url.query or url.fragment:
        raise _wrong("base_url must end with its path: leave out everything from ? or # on")
    return url.copy_with(path=url.path.rstrip("/") or "/")


def stored_settings(model: type[_Settings], connection: ProviderConnection) -> _Settings:
    """Return the connection's settings, as this version understands them.

    Raises ProviderFault when this version does not accept them.
    """
    try:
        return model.model_validate(dict(connection.settings))
    except ValueError as error:
        raise _wrong(f"the settings of {connection.provider_id} are not valid: {error}") from error


def join_path(base: httpx.URL, path: str) -> httpx.URL:
    """Return `base` with `path` (which has a leading slash) behind its own path."""
    return base.copy_with(path=base.path.rstrip("/") + path)


def header_secret(secret: str | None) -> str:
    """Return the secret as a header can carry it, without the line end that files have.

    Raises ProviderFault (configuration) if there is no secret or a header cannot carry it: the
    provider has not refused anything.
    """
    stripped = (secret or "").strip()
    if not stripped:
        raise _wrong("this connection has no credential: set it to env:NAME or file:PATH")
    if not (stripped.isascii() and stripped.isprintable()):
        raise _wrong(
            "the credential holds characters that a header cannot carry: check how it was copied"
        )
    return stripped


def _wrong(message: str) -> ProviderFault:
    return ProviderFault(FaultClass.CONFIGURATION, message, permanent=True)
