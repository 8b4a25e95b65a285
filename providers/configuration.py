"""What a provider connection is configured with, checked before it is used. Pure.

Owns the check of addresses and of secrets that travel in a header. It must never quote a secret.
"""

from __future__ import annotations

import httpx

from actors.ports import ProviderFault
from domain.model import FaultClass

WEBSOCKET_SCHEMES = {"http": "ws", "https": "wss"}


def parse_base_url(text: str) -> httpx.URL:
    """The base address without a trailing slash. Raises ValueError that says what to change."""
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise ValueError(f"base_url is not an address ({error}); it should look like https://host/path") from error
    if url.scheme not in WEBSOCKET_SCHEMES or not url.host:
        raise ValueError("base_url must start with https:// (or http://) and name a host")
    if url.userinfo:
        raise ValueError("base_url must not hold a user or password: put them into the credential")
    if url.query or url.fragment:
        raise ValueError("base_url must end with its path: leave out everything from ? or # on")
    return url.copy_with(path=url.path.rstrip("/") or "/")


def join_path(base: httpx.URL, path: str) -> httpx.URL:
    """`path` (with its leading slash) behind the base's own path."""
    return base.copy_with(path=base.path.rstrip("/") + path)


def header_secret(secret: str | None) -> str:
    """The secret as a header can carry it, without the line end that files have. Raises ProviderFault (credentials)."""
    stripped = (secret or "").strip()
    if not stripped:
        raise _unusable("this connection has no credential: set it to env:NAME or file:PATH")
    if not (stripped.isascii() and stripped.isprintable()):
        raise _unusable("the credential holds characters that a header cannot carry: check how it was copied")
    return stripped


def _unusable(message: str) -> ProviderFault:
    return ProviderFault(FaultClass.CREDENTIALS, message, permanent=True)
