"""Protocols of the API towards storage and the running shard; storage/ and actors/ fulfil them.

Nothing here does anything. Every method may raise `runtime.faults.EnvironmentFault` (the database
is away). Each carries its own deadline inside, so callers need none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from domain.health import HealthFacts, State
    from domain.model import CycleKey, CycleOutcome, Device, Policy, ProviderConnection, Submission, Workspace
    from runtime.scrubbing import Scrubber


class NotFound(NamedTuple):
    """Expected: there is no such thing (or the key may not know of it)."""

    what: str


class Conflict(NamedTuple):
    """Expected: the command contradicts what is stored. `pointer` is the JSON pointer of the field at fault."""

    detail: str
    pointer: str = ""


class Stored(NamedTuple):
    """A command was carried out; `created` tells a new thing from a changed one."""

    created: bool


class DeviceDraft(NamedTuple):
    """A device as a client configures it. The database sets activated_at unless it is given."""

    device_id: str
    provider_id: str
    external_id: str
    vehicle_id: str
    vehicle_name: str
    delayed_after_seconds: float | None = None
    stale_after_seconds: float | None = None
    grace_seconds: float | None = None
    activated_at: datetime | None = None


class Registry(Protocol):
    """Commands and queries on what is configured (FR-013: against the database, never process memory).

    Lists are in key order after `after`, at most `limit`; `workspaces=None` means all.
    """

    async def put_workspace(
        self, workspace_id: str, *, name: str, active: bool, poll_interval_seconds: int, policy: Policy
    ) -> Stored | Conflict: ...
    async def get_workspace(self, workspace_id: str) -> Workspace | None: ...
    async def list_workspaces(
        self, *, workspaces: frozenset[str] | None, after: str | None, limit: int
    ) -> list[Workspace]: ...

    async def put_provider(self, connection: ProviderConnection) -> Stored | NotFound | Conflict: ...
    async def get_provider(self, workspace_id: str, provider_id: str) -> ProviderConnection | None: ...
    async def list_providers(
        self, workspace_id: str, *, after: str | None, limit: int | None
    ) -> list[ProviderConnection]:
        """`limit=None` means all."""

    async def put_devices(
        self, workspace_id: str, drafts: Sequence[DeviceDraft]
    ) -> list[Stored | NotFound | Conflict] | NotFound:
        """All or none: when any draft is refused nothing is stored. A retired device is activated anew."""

    async def retire_device(self, workspace_id: str, device_id: str) -> Device | NotFound:
        """Idempotent: a retired device stays retired at its first instant."""

    async def get_device(self, workspace_id: str, device_id: str) -> Device | None: ...
    async def list_devices(
        self, workspace_id: str, *, include_retired: bool, after: str | None, limit: int
    ) -> list[Device]: ...

    async def request_cycle(self, workspace_id: str, trace_id: str) -> str | NotFound:
        """Ask for a run now; the cycle_id. A request that still waits is answered again, not doubled."""


class SnapshotRow(NamedTuple):
    device: Device
    version: int
    document: Mapping[str, tuple[Any, datetime]]  # signal -> (value, observed_at)
    last_update_received_at: datetime | None
    last_changed_at: datetime | None


class EventRow(NamedTuple):
    sequence: int
    recorded_at: datetime
    received_at: datetime
    readings: Mapping[str, tuple[Any, datetime]]
    provider_id: str
    trace_id: str
    shard_id: str
    epoch: int
    resource: str | None
    token: int | None


class EventPosition(NamedTuple):
    """Keyset of a device's events. `recorded_at` comes first, as partitions and index do; after the server's clock was
    set back it does not grow with `sequence`."""

    recorded_at: datetime
    sequence: int


class CycleRow(NamedTuple):
    key: CycleKey
    cycle_id: str
    trace_id: str
    shard_id: str | None
    requested_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    outcome: CycleOutcome | Literal["requested"]
    summary: Mapping[str, Any]


class RejectionRow(NamedTuple):
    rejection_id: int
    recorded_at: datetime
    origin: str
    provider_id: str | None
    device_id: str | None
    external_id: str | None
    outcome: str
    reason: str | None
    detail: str | None
    occurrences: int
    trace_id: str
    sample: bytes | None


class WorklistPosition(NamedTuple):
    """Keyset of issue lists: silent longest first."""

    since: datetime
    workspace_id: str
    device_id: str


class HealthQuery(NamedTuple):
    """`now=None` means the database's time at the request; a later page passes the first page's."""

    states: frozenset[State] | None = None
    order: Literal["device", "silence"] = "device"
    after: WorklistPosition | None = None
    limit: int = 500
    now: datetime | None = None


class HealthPage(NamedTuple):
    """Facts, not verdicts: `domain.health.judge_health` makes the verdict of each row. Counts cover all devices."""

    evaluated_at: datetime
    counts: Mapping[State, int]
    rows: Sequence[HealthFacts]


class Reads(Protocol):
    """Queries, each from one consistent snapshot of the database."""

    async def load_health(self, workspaces: frozenset[str] | None, query: HealthQuery) -> HealthPage:
        """Active devices of active workspaces. `workspaces=None` means all (the worklist across workspaces)."""

    async def list_snapshots(
        self, workspace_id: str, *, after: str | None, limit: int
    ) -> tuple[datetime, list[SnapshotRow]]:
        """Database time of the read, and rows in device order."""

    async def get_snapshot(self, workspace_id: str, device_id: str) -> tuple[datetime, SnapshotRow] | None: ...
    async def list_events(
        self, workspace_id: str, device_id: str, *, before: EventPosition | None, limit: int
    ) -> list[EventRow]:
        """Newest first, by the time they were recorded at."""

    async def list_cycles(self, workspace_id: str, *, before: CycleKey | None, limit: int) -> list[CycleRow]:
        """Newest slot first."""

    async def get_cycle(self, workspace_id: str, cycle_id: str) -> CycleRow | None: ...
    async def list_rejections(
        self, workspace_id: str, *, before: int | None, reason: str | None, limit: int
    ) -> list[RejectionRow]: ...
    async def load_shards(self) -> list[Mapping[str, Any]]:
        """Sessions with their heartbeats, as plain JSON-able mappings."""

    async def check_ready(self) -> int:
        """Days of event partitions that exist ahead; raises when the database does not answer."""


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


class Ingest(Protocol):
    """The HTTP side's way into the mailbox (actors.ingest fulfils it)."""

    def submit_nowait(self, submission: Submission) -> None:
        """Raises runtime.mailbox.LaneFull or MailboxClosed."""


class Nudges(Protocol):
    """Tells this shard's actors that stored configuration changed; a hint, in a few seconds they look anyway."""

    def registry_changed(self) -> None: ...


class Credentials(Protocol):
    """The secrets that provider connections may refer to. Never blocks, never returns a secret."""

    def is_of_workspace(self, reference: str, workspace_id: str) -> bool:
        """Return whether the reference names a file in the workspace's folder, by its text alone."""
        ...

    async def explain_unavailable(self, reference: str) -> str | None:
        """Return why the reference cannot be used now, or None when it can.

        Raises SecretForbidden if it never can.
        """
        ...

    async def scrubber_of(self, reference: str | None) -> Scrubber | None:
        """Return what takes this secret out of a sample, or None when the secret cannot be read."""
        ...
