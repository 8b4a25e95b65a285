"""Parity of core with legacy systems, cycle by cycle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from domain.model import SessionRef
    from domain.parity import DeviceView, ParityCounts


class ParityCycle(NamedTuple):
    """What the comparison after one cycle found.

    `samples` has at most 20 mismatches: device_id, vehicle_id, verdict, signal, core, legacy. `why`
    says why nothing was comparable: the flags, or what the legacy system did.
    """

    slot_start_at: datetime
    cycle_id: str
    compared_at: datetime
    counts: ParityCounts
    samples: Sequence[Mapping[str, Any]]
    why: str | None = None


class CoreView(NamedTuple):
    """What core shows of one active device, with the ids by which a legacy system may name it."""

    device_id: str
    provider_id: str
    external_id: str
    vehicle_id: str
    delayed_after_seconds: float
    view: DeviceView


class ParityStore(Protocol):
    """The comparisons of the shard that owns a workspace. A fenced session writes nothing."""

    async def load_core_views(self, workspace_id: str) -> list[CoreView]:
        """Return what core shows of every active device, from one snapshot of the database."""

    async def record_parity(
        self, session: SessionRef, workspace_id: str, cycle: ParityCycle
    ) -> bool:
        """Record the comparison once; return False if the session is fenced."""


class ParityReads(Protocol):
    """Queries on recorded comparisons, for the API."""

    async def list_parity(
        self, workspace_id: str, *, limit: int, before: datetime | None = None
    ) -> list[ParityCycle]:
        """Return the newest comparisons, newest first."""
