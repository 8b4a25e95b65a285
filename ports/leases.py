"""Leases: which session owns which resource. docs/ownership.md has the rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from domain.model import SessionRef
    from domain.resource import Resource


class Look(NamedTuple):
    """One consistent look at membership and leases. Times are seconds.

    `members` are live and not draining. `mine` are leases of this session on active workspaces,
    with their tokens; `retired` are its leases on workspaces that are no longer active. `free` are
    active workspaces without a live owner, and for how long each has been so.

    `expired` says that the heartbeat of another shard's live session has expired.
    `next_expiry_seconds` is the time until the next one would expire. A session that is over has no
    leases and is no member.
    """

    members: frozenset[str]
    mine: Mapping[Resource, int]
    retired: Mapping[Resource, int]
    free: Mapping[Resource, float]
    expired: bool
    next_expiry_seconds: float | None


class LeaseStore(Protocol):
    """Ownership in the database's time.

    Each call is one transaction, and none writes for a session that is over.
    """

    async def look(self, session: SessionRef) -> Look: ...

    async def declare_dead(self, session: SessionRef) -> list[SessionRef]:
        """Declare sessions with an expired heartbeat dead; return those sessions.

        Waits for their unit in flight, at most the lock timeout. After that it raises
        EnvironmentFault, and the next round tries again. Declares none while our own heartbeat has
        expired: a session that was away as long as the others must not judge them.
        """

    async def claim(
        self, session: SessionRef, resources: Sequence[Resource]
    ) -> Mapping[Resource, int]:
        """Take those of these resources that are free; return resource -> token of what was taken.

        One statement, which waits for nobody. Empty when the session is over.
        """

    async def release(self, session: SessionRef, leases: Mapping[Resource, int]) -> int:
        """Release these leases and notify; return how many were released.

        A lease is released only if this session and this token still hold it.
        """

    async def load_credentials(self) -> Mapping[Resource, frozenset[str]]:
        """Return the credential references of every active workspace's active connections.

        Workspaces that share a credential belong together.
        """
