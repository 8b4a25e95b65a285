"""The twin's tables: dicts of immutable rows, and the overlay in which a unit writes.

Owns keys, uniqueness and the rows' shapes; knows nothing of statements, faults or time. A unit's
writes stay in its overlay until it commits. A row is replaced, never changed, so a caller that
holds one holds a consistent old version.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from domain.identity import key_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import date, datetime

    from domain.assignments import DeviceAssignment
    from domain.cycles import CycleKey
    from domain.model import Device, ProviderConnection, SessionRef, Workspace
    from domain.resource import Resource
    from ports.cutovers import StoredCutover
    from ports.reads import CycleRow, EventRow, RejectionRow
    from storage.unit.rows import ConnectionRow

K = TypeVar("K", bound=tuple[Any, ...])
R = TypeVar("R")


class DeviceState(NamedTuple):
    """One row of device_state. A unit never writes the last two fields."""

    version: int = 0
    last_update_received_at: datetime | None = None
    last_observed_at: datetime | None = None
    last_changed_at: datetime | None = None
    last_rejected_at: datetime | None = None
    last_rejection_reason: str | None = None
    last_outdated_at: datetime | None = None
    held_back_seconds: float | None = None
    unaccepted_reception_at: datetime | None = None
    statement: str | None = None
    statement_begun_at: datetime | None = None
    statement_at: datetime | None = None
    statement_detail: str | None = None
    assignment: int = 1
    entered_at: datetime | None = None


class Snapshot(NamedTuple):
    """One row of snapshots. The document is JSON text, as PostgreSQL returns it."""

    version: int = 0
    document: str = "{}"


class Edge(NamedTuple):
    """One row of connection_events."""

    workspace_id: str
    provider_id: str
    at: datetime
    kind: str
    fault: str | None
    detail: str | None


class DeviceEdge(NamedTuple):
    """One row of device_events."""

    workspace_id: str
    device_id: str
    at: datetime
    kind: str
    detail: str | None


class PollCycleRow(NamedTuple):
    """One row of poll_cycles. Readers see `row`, but not `epoch`."""

    row: CycleRow
    epoch: int | None


class Quarantined(NamedTuple):
    """One row of quarantine."""

    recorded_at: datetime
    workspace_id: str
    provider_id: str | None
    device_id: str | None
    external_id: str | None
    reason: str
    detail: str | None
    trace_id: str
    sample: bytes | None
    origin: str
    is_whole: bool


class SessionRow(NamedTuple):
    epoch: int
    state: str
    started_at: datetime
    ended_at: datetime | None = None
    boot_id: str | None = None


class WriterRow(NamedTuple):
    """One row of session_writers."""

    epoch: int
    last_unit: int = 0


class HeartbeatRow(NamedTuple):
    epoch: int
    beat_at: datetime
    expires_at: datetime
    statistics: Mapping[str, Any]
    draining: bool = False


class LeaseRow(NamedTuple):
    """One row of leases. The defaults are those of a lease that was never claimed."""

    owner: SessionRef | None = None
    token: int = 0
    acquired_at: datetime | None = None
    released_at: datetime | None = None


class Table(Generic[K, R]):
    """Rows by key.

    The first part of the key groups them: in workspace data that is the workspace.
    """

    def __init__(self) -> None:
        self._groups: dict[Any, dict[K, R]] = {}

    def get(self, key: K) -> R | None:
        return self._groups.get(key[0], {}).get(key)

    def put(self, key: K, row: R) -> None:
        self._groups.setdefault(key[0], {})[key] = row

    def drop(self, key: K) -> None:
        del self._groups[key[0]][key]

    def of(self, group: str) -> dict[K, R]:
        """Return the rows of one workspace, as a copy that does not change under its reader."""
        return dict(self._groups.get(group, {}))

    def items(self) -> Iterator[tuple[K, R]]:
        for group in list(self._groups.values()):
            yield from list(group.items())

    def __len__(self) -> int:
        return sum(map(len, self._groups.values()))


class Overlay(Generic[K, R]):
    """A table as one unit sees it: its own writes over the committed rows.

    Nobody else sees those writes before `apply`.
    """

    def __init__(self, table: Table[K, R]) -> None:
        self._table = table
        self._read: dict[K, R | None] = {}
        self._written: dict[K, R] = {}

    def get(self, key: K) -> R | None:
        if key in self._written:
            return self._written[key]
        return self._read.setdefault(key, self._table.get(key))

    def put(self, key: K, row: R) -> None:
        self._read.setdefault(key, self._table.get(key))
        self._written[key] = row

    def apply(self) -> None:
        """Write. A row that was changed since this unit read it is a bug: two units shared it."""
        for key, row in self._written.items():
            if self._table.get(key) is not self._read[key]:
                raise AssertionError(f"two units in flight wrote {key}")
            self._table.put(key, row)


@dataclass
class Tables:
    """Everything that is stored.

    `holders` and `cycle_ids` are the unique indexes, kept by the writers of their tables.
    """

    workspaces: Table[tuple[str], Workspace] = field(default_factory=Table)
    cutovers: Table[tuple[str], StoredCutover] = field(default_factory=Table)
    providers: Table[tuple[str, str], ProviderConnection] = field(default_factory=Table)
    connection_state: Table[tuple[str, str], ConnectionRow] = field(default_factory=Table)
    connection_events: Table[tuple[str, int], Edge] = field(default_factory=Table)
    devices: Table[tuple[str, str], Device] = field(default_factory=Table)
    assignments: Table[tuple[str, str, int], DeviceAssignment] = field(default_factory=Table)
    device_state: Table[tuple[str, str], DeviceState] = field(default_factory=Table)
    device_events: Table[tuple[str, int], DeviceEdge] = field(default_factory=Table)
    snapshots: Table[tuple[str, str], Snapshot] = field(default_factory=Table)
    events: Table[tuple[str, str, int], EventRow] = field(default_factory=Table)
    poll_cycles: Table[CycleKey, PollCycleRow] = field(default_factory=Table)
    rejections: Table[tuple[str, bytes], RejectionRow] = field(default_factory=Table)
    quarantine: Table[tuple[str, int], Quarantined] = field(default_factory=Table)
    sessions: Table[tuple[str], SessionRow] = field(default_factory=Table)
    session_writers: Table[tuple[str, int], WriterRow] = field(default_factory=Table)
    heartbeats: Table[tuple[str], HeartbeatRow] = field(default_factory=Table)
    leases: Table[tuple[Resource], LeaseRow] = field(default_factory=Table)
    made_at: dict[str, datetime] = field(
        default_factory=dict
    )  # created_at of workspaces, which no reader is told
    holders: dict[tuple[str, str, str], str] = field(
        default_factory=dict
    )  # external keys of active devices -> device_id
    cycle_ids: dict[tuple[str, str], CycleKey] = field(default_factory=dict)
    partitions: set[date] = field(default_factory=set)
    # For identity columns. Like theirs, these numbers are never rolled back.
    numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def put_device(self, device: Device) -> None:
        """Store the device with its state and snapshot.

        Keeps the external id unique among active devices.
        """
        key = (device.workspace_id, device.device_id)
        former = self.devices.get(key)
        # A retired device no longer holds its external id, so another device may take it.
        if former is not None and self.holders.get(external_key(former)) == former.device_id:
            del self.holders[external_key(former)]
        if device.retired_at is None:
            holder = self.holders.setdefault(external_key(device), device.device_id)
            message = f"devices_external_key: {holder} holds it"
            assert holder == device.device_id, message  # noqa: S101 a guard
        self.devices.put(key, device)
        if former is None:
            self.device_state.put(key, DeviceState())
            self.snapshots.put(key, Snapshot())

    def put_cycle(self, cycle: PollCycleRow) -> None:
        self.poll_cycles.put(cycle.row.key, cycle)
        self.cycle_ids[cycle.row.key.workspace_id, cycle.row.cycle_id] = cycle.row.key


class UnitTables:
    """The tables of one unit.

    Those that it may write are overlays; the tables that it only reads are in `committed`.
    """

    def __init__(self, committed: Tables) -> None:
        self.committed = committed
        self.session_writers = Overlay(committed.session_writers)
        self.device_state = Overlay(committed.device_state)
        self.device_events = Overlay(committed.device_events)
        self.snapshots = Overlay(committed.snapshots)
        self.events = Overlay(committed.events)
        self.connection_state = Overlay(committed.connection_state)
        self.connection_events = Overlay(committed.connection_events)
        self.poll_cycles = Overlay(committed.poll_cycles)
        self.rejections = Overlay(committed.rejections)
        self.quarantine = Overlay(committed.quarantine)

    def commit(self) -> None:
        """Apply every write at once: no other task runs in between."""
        self.session_writers.apply()
        self.device_state.apply()
        self.device_events.apply()
        self.snapshots.apply()
        self.events.apply()
        self.connection_state.apply()
        self.connection_events.apply()
        self.poll_cycles.apply()
        self.rejections.apply()
        self.quarantine.apply()


def external_key(device: Device) -> tuple[str, str, str]:
    return (device.workspace_id, device.provider_id, key_of(device))
