"""Queries of the API, each from one consistent snapshot of the database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from domain.ageing import AgeGroup
    from domain.assignments import DeviceAssignment
    from domain.cutover import ReadOwner
    from domain.cycles import CycleKey, CycleOutcome
    from domain.device_day import DayQuery, DeviceDayRow
    from domain.health_facts import HealthFacts
    from domain.health_state import State
    from domain.held import Held
    from domain.model import Device, ProviderConnection, Workspace
    from domain.poll_plan import PlannedWorkspace
    from domain.resource import Resource
    from domain.trends import ConnectionStateRow, TrendPoint, TrendQuery
    from ports.legacy import LegacyConfiguration

MAX_COUNTS_AGE_SECONDS: Final = 5.0
EXACT_DEVICES: Final = 10_000  # counts of a larger fleet may be old, unless a query says not


class SnapshotRow(NamedTuple):
    device: Device
    version: int | None  # None: the values are a legacy system's
    document: Mapping[str, Held]
    last_update_received_at: datetime | None
    last_changed_at: datetime | None
    stream_down_since: datetime | None  # of its connection


class EventRow(NamedTuple):
    sequence: int
    recorded_at: datetime
    received_at: datetime
    readings: Mapping[str, tuple[Any, datetime]]
    provider_id: str
    trace_id: str
    shard_id: str
    epoch: int
    resource: Resource | None
    token: int | None
    assignment: int = 1
    vehicle_id: str | None = None  # of the assignment, like external_id
    external_id: str | None = None
    is_outside: bool = False  # it was accepted after the end of its assignment
    reception_at: datetime | None = None  # the provider's own, where it states one


class EventPosition(NamedTuple):
    """Keyset of a device's events.

    `recorded_at` comes first, as partitions and index do. It does not grow with `sequence` after
    the server's clock was set back.
    """

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
    # Counted when it ended; None in records of before, and while it runs.
    active_devices: int | None = None
    fresh_devices: int | None = None
    updated_devices: int | None = None


class RejectionRow(NamedTuple):
    """Refusals of one key in one hour. The facts are those of the first.

    `hour` is None in a row of an older release, which has the refusals of one commit.
    """

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
    signal: str | None
    hour: datetime | None
    last_at: datetime


class WorklistPosition(NamedTuple):
    """Keyset of issue lists: away longest first. `since` is HealthFacts.away_since."""

    since: datetime
    workspace_id: str
    device_id: str


class DeviceFilter(NamedTuple):
    """The devices of a list that are wanted. A member that is None wants all.

    `search` is a part of the vehicle's id or name, of the device's id or its external id, in lower
    case. `age` is the group of its time away.
    """

    tag: str | None = None
    provider_id: str | None = None
    search: str | None = None
    age: AgeGroup | None = None


class HealthQuery(NamedTuple):
    """`now=None` means the database's time at the request; a later page passes the first page's.

    `with_inactive`: devices of workspaces that are switched off, too. `devices`: only those.
    `device_id`: only the device with this id.
    `by_read_owner`: without workspaces whose values the legacy system shows, which are named.
    `with_counts`: else the page has no counts. They may be `counts_max_age` seconds older than the
    page; 0 asks for those of its own snapshot, None for these too unless the fleet is large.
    """

    states: frozenset[State] | None = None
    order: Literal["device", "silence"] = "device"
    after: WorklistPosition | None = None
    limit: int = 500
    now: datetime | None = None
    with_inactive: bool = False
    devices: DeviceFilter = DeviceFilter()
    by_read_owner: bool = False
    device_id: str | None = None
    with_counts: bool = True
    counts_max_age: float | None = None


class HealthPage(NamedTuple):
    """Facts, not verdicts: `domain.health.judge_health` makes the verdict of each row.

    Counts cover all devices, as they were at `counted_at`. `left_to_legacy` has the workspaces that
    the query left out because the legacy system shows their values.
    """

    evaluated_at: datetime
    counts: Mapping[State, int]
    rows: Sequence[HealthFacts]
    left_to_legacy: frozenset[str]
    counted_at: datetime


class FleetQuery(NamedTuple):
    """The devices of a fleet that are wanted: the active ones in key order, or one, a retired too.

    `limit=None` means all.
    """

    device_id: str | None = None
    after: str | None = None
    limit: int | None = None


class FleetRow(NamedTuple):
    """What is configured of one workspace: what its legacy system's values are read with.

    `legacy` is None if no legacy system is configured. `connections` are all, by provider_id.
    """

    read_at: datetime
    workspace: Workspace
    legacy: LegacyConfiguration | None
    connections: Mapping[str, ProviderConnection]
    devices: Sequence[Device]


class FleetFigures(NamedTuple):
    """How many devices are in which state, and how long ago they were heard.

    `states` are by workspace, or those of all under the empty name. `ages` counts the devices that
    were ever heard: the first entry those younger than the first bound, the last one those older
    than every bound. `age_sum_seconds` is the sum of their ages.
    """

    evaluated_at: datetime
    states: Mapping[str, Mapping[State, int]]
    ages: Sequence[int]
    age_sum_seconds: float


class WorkspaceInUse(NamedTuple):
    """A workspace that is not archived, and whose values it shows."""

    workspace_id: str
    active: bool
    read_owner: ReadOwner


class Reads(Protocol):
    """Queries, each from one consistent snapshot of the database."""

    async def load_health(
        self, workspaces: frozenset[str] | None, query: HealthQuery
    ) -> HealthPage:
        """Return the facts of active devices of active workspaces.

        `workspaces=None` means all (the worklist across workspaces).
        """

    async def list_in_use(self, workspaces: frozenset[str] | None) -> list[WorkspaceInUse]:
        """Return the workspaces that are not archived, in no order; None means all."""
        ...

    async def count_states(
        self, workspaces: Sequence[str] | None, now: datetime | None
    ) -> tuple[datetime, Mapping[str, Mapping[State, int]]]:
        """Return the instant, and how many active devices of each workspace are in each state.

        `workspaces=None` means all. A workspace without devices is left out. `now=None` means the
        database's time.
        """
        ...

    async def measure_fleet(
        self, workspaces: Sequence[str], *, age_bounds: Sequence[float], by_workspace: bool
    ) -> FleetFigures:
        """Return the states and ages of the active devices of these workspaces, as figures."""
        ...

    async def list_snapshots(
        self, workspace_id: str, *, after: str | None, limit: int
    ) -> tuple[datetime, list[SnapshotRow]]:
        """Return the database time of the read, and the rows in device order."""

    async def get_snapshot(
        self, workspace_id: str, device_id: str
    ) -> tuple[datetime, SnapshotRow] | None: ...
    async def load_fleet(self, workspace_id: str, query: FleetQuery) -> FleetRow | None:
        """Return the configuration and the devices; None if there is no such workspace."""

    async def list_events(
        self, workspace_id: str, device_id: str, *, before: EventPosition | None, limit: int
    ) -> list[EventRow]:
        """Return events, newest first by the time they were recorded at."""

    async def find_event_behind(
        self, workspace_id: str, device_id: str, signal: str, held: Held
    ) -> EventRow | None:
        """Return the event that brought this value of the signal; None if it is not kept."""
        ...

    async def load_device_day(
        self, workspace_id: str, device_id: str, query: DayQuery
    ) -> DeviceDayRow | None:
        """Return what happened to a device in a span of time; None if there is no such device."""
        ...

    async def list_assignments(
        self, workspace_id: str, device_id: str, *, limit: int
    ) -> list[DeviceAssignment]:
        """Return the assignments of a device, newest first."""
        ...

    async def list_cycles(
        self, workspace_id: str, *, before: CycleKey | None, limit: int
    ) -> list[CycleRow]:
        """Return cycles, newest slot first."""

    async def get_cycle(self, workspace_id: str, cycle_id: str) -> CycleRow | None: ...
    async def list_rejections(
        self, workspace_id: str, *, before: int | None, reason: str | None, limit: int
    ) -> list[RejectionRow]: ...
    async def list_starts(self, workspaces: frozenset[str] | None) -> list[PlannedWorkspace]:
        """Return the active workspaces with their newest starts; `workspaces=None` means all."""
        ...

    async def load_trends(self, workspace_id: str, query: TrendQuery) -> list[TrendPoint]:
        """Return the points of time in which devices were heard, in no order."""
        ...

    async def list_connection_states(self, workspace_id: str) -> list[ConnectionStateRow]:
        """Return the connections in use, by id."""
        ...

    async def load_shards(self) -> list[Mapping[str, Any]]:
        """Return all sessions with their heartbeats, as mappings that JSON can hold."""

    async def check_ready(self) -> int:
        """Return for how many days ahead there are event partitions.

        Raises EnvironmentFault when the database does not answer.
        """
