"""API keys as stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from domain.changes import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Mapping, Set
    from datetime import datetime

    from domain.changes import Author
    from domain.model import Workspace


class KeyRecord(NamedTuple):
    """A key as its check needs it."""

    key_id: str
    name: str
    secret_hash: bytes
    scopes: frozenset[str]
    workspaces: frozenset[str] | None
    expires_at: datetime | None
    revoked_at: datetime | None


class ListedKey(NamedTuple):
    """A key as people see it, without the hash of its secret.

    `created_by` and `revoked_by` are the id of a key, or the name of a command. `last_used_at` is
    the minute of its newest request.
    """

    key_id: str
    name: str
    scopes: frozenset[str]
    workspaces: frozenset[str] | None
    created_at: datetime
    created_by: str | None
    expires_at: datetime | None
    revoked_at: datetime | None
    revoked_by: str | None
    last_used_at: datetime | None


class FoundAccess(NamedTuple):
    """The key and the workspace that a request names, each None if there is none."""

    key: KeyRecord | None
    workspace: Workspace | None


class Revoked(NamedTuple):
    """A revoked key. `before`: it was revoked already."""

    key: ListedKey
    before: bool


class KeyLookup(Protocol):
    """Finding the key of a request."""

    async def find_key(self, key_id: str) -> KeyRecord | None: ...

    async def find_access(self, key_id: str, workspace_id: str | None) -> FoundAccess:
        """Return the key and the workspace of these ids.

        Both at one instant, in one round trip. It does not say whether the key opens the workspace.
        """
        ...


class Keys(KeyLookup, Protocol):
    """All keys. `within` leaves only the keys that are limited to some of these workspaces.

    What is created or revoked, and `by` whom, goes into the history of changes.
    """

    async def create_key(self, record: KeyRecord, *, by: Author = SYSTEM) -> ListedKey | None:
        """Store a new key. Returns None, and stores nothing, if its name is taken."""
        ...

    async def find_listed_key(self, id_or_name: str) -> ListedKey | None: ...

    async def list_keys(
        self, *, within: Set[str] | None, with_revoked: bool, after: str | None, limit: int
    ) -> list[ListedKey]:
        """Return the keys behind the name `after`, by name."""
        ...

    async def revoke_key(
        self, key_id: str, *, within: Set[str] | None, by: Author
    ) -> Revoked | None:
        """Revoke a key, if it is not revoked yet. Returns None if there is no such key."""
        ...

    async def note_uses(self, used_at: Mapping[str, datetime]) -> None:
        """Store when these keys were last used, to the minute. An earlier use changes nothing."""
        ...
