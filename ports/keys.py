"""API keys as stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from datetime import datetime

    from domain.model import (
        Workspace,
    )


class KeyRecord(NamedTuple):
    key_id: str
    name: str
    secret_hash: bytes
    scopes: frozenset[str]
    workspaces: frozenset[str] | None
    expires_at: datetime | None
    revoked_at: datetime | None


class FoundAccess(NamedTuple):
    """The key and the workspace that a request names, each None if there is none."""

    key: KeyRecord | None
    workspace: Workspace | None


class Keys(Protocol):
    async def find_key(self, key_id: str) -> KeyRecord | None: ...
    async def find_access(self, key_id: str, workspace_id: str | None) -> FoundAccess:
        """Return the key and the workspace of these ids.

        Both at one instant, in one round trip. It does not say whether the key opens the workspace.
        """
        ...

    async def create_key(self, record: KeyRecord) -> None: ...
