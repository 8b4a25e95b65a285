"""The stores that PostgreSQL and the twin both have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from ports.cutovers import CutoverWatch, LegacyNotes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from domain.cutover import CutoverRefusal
    from domain.model import Device, Policy, ProviderConnection
    from domain.registry import (
        Answer,
        Archived,
        Conflict,
        DeviceDraft,
        Moved,
        NotFound,
        RegistryIsLegacy,
        Stored,
    )
    from domain.start_offsets import Synchronized
    from ports.cutovers import CutoverDraft, ShutGate
    from ports.cycles import CycleStore
    from ports.ingest import IngestStore
    from ports.leases import LeaseStore
    from ports.notices import Notices
    from ports.reads import CycleRow, EventRow, RejectionRow, SnapshotRow
    from ports.sessions import SessionStore
    from ports.upkeep import UpkeepStore

    Refusable = Answer | Moved | Archived | Synchronized | RegistryIsLegacy


class Fleets(Protocol):
    """The part of ports.registry.Registry that makes and changes fleets."""

    async def put_workspace(
        self,
        workspace_id: str,
        *,
        name: str,
        active: bool,
        poll_interval_seconds: int,
        policy: Policy,
        start_offset_seconds: int | None = None,
    ) -> Refusable: ...

    async def put_provider(self, connection: ProviderConnection) -> Refusable: ...

    async def put_devices(
        self, workspace_id: str, drafts: Sequence[DeviceDraft]
    ) -> Sequence[Answer] | NotFound | Moved | Archived | RegistryIsLegacy: ...

    async def retire_device(
        self, workspace_id: str, device_id: str
    ) -> Device | NotFound | Moved | RegistryIsLegacy: ...

    async def request_cycle(
        self, workspace_id: str, trace_id: str
    ) -> str | NotFound | Conflict | Archived: ...


class CutoverStores(CutoverWatch, LegacyNotes, Protocol):
    """The parts of ports.cutovers that actors use, and the command that fills them."""

    async def put_cutover(
        self, workspace_id: str, *, draft: CutoverDraft
    ) -> Stored | NotFound | Moved | Archived | CutoverRefusal | ShutGate: ...


class Views(Protocol):
    """The part of ports.reads.Reads that shows what units and cycles have written."""

    async def get_snapshot(
        self, workspace_id: str, device_id: str
    ) -> tuple[datetime, SnapshotRow] | None: ...

    async def list_events(
        self, workspace_id: str, device_id: str, *, before: None, limit: int
    ) -> list[EventRow]: ...

    async def list_cycles(
        self, workspace_id: str, *, before: None, limit: int
    ) -> list[CycleRow]: ...

    async def list_rejections(
        self, workspace_id: str, *, before: None, reason: str | None, limit: int
    ) -> list[RejectionRow]: ...

    async def check_ready(self) -> int: ...


class ContractStores(Protocol):
    """What the actors stand on, and what fills it and shows what is stored."""

    @property
    def ingest(self) -> IngestStore: ...

    @property
    def sessions(self) -> SessionStore: ...

    @property
    def cycles(self) -> CycleStore: ...

    @property
    def upkeep(self) -> UpkeepStore: ...

    @property
    def registry(self) -> Fleets: ...

    @property
    def cutovers(self) -> CutoverStores: ...

    @property
    def reads(self) -> Views: ...

    @property
    def leases(self) -> LeaseStore: ...

    @property
    def notices(self) -> Notices: ...
