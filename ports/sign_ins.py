"""Sign-ins of people who look at the pages, as stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from ports.keys import KeyRecord


class SignInRecord(NamedTuple):
    """A sign-in as its check needs it. `address` and `user_agent` are the browser's."""

    sign_in_id: str
    key_id: str
    secret_hash: bytes
    expires_at: datetime
    ended_at: datetime | None = None
    address: str | None = None
    user_agent: str | None = None


class FoundSignIn(NamedTuple):
    """A sign-in and its key. The key is None if it was replaced since."""

    sign_in: SignInRecord
    key: KeyRecord | None


class ListedSignIn(NamedTuple):
    """A sign-in as people see it, without the hash of its secret."""

    sign_in_id: str
    created_at: datetime
    expires_at: datetime
    address: str | None
    user_agent: str | None


class SignIns(Protocol):
    """All sign-ins. The caller compares the secrets."""

    async def create_sign_in(self, record: SignInRecord) -> None:
        """Store a new sign-in. Beyond a limit for one key, its oldest sign-ins end."""
        ...

    async def find_sign_in(self, sign_in_id: str) -> FoundSignIn | None: ...

    async def list_sign_ins(self, key_id: str, now: datetime) -> Sequence[ListedSignIn]:
        """Return the sign-ins with this key that are neither over nor ended, newest first."""
        ...

    async def end_sign_in(self, key_id: str, sign_in_id: str) -> bool:
        """End one sign-in of this key. Returns False if it had ended, or there is none."""
        ...

    async def end_sign_ins(self, key_id: str) -> int:
        """End every sign-in with this key. Returns how many ended."""
        ...
