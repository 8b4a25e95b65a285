"""What a shard needs to decide about ownership. docs/ownership.md has the rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ports.leases import LeaseStore
    from ports.notices import Notices
    from ports.sessions import SessionStore


class OwnershipStores(NamedTuple):
    """The stores from which a shard decides about ownership."""

    sessions: SessionStore
    leases: LeaseStore
    notices: Notices
