"""The facts behind a health report, in two statements: what limits there are, then who keeps them.

Owns the way from stored rows to HealthFacts. The health rule is domain.health; SQL only compares
with its cutoffs.

The second statement brings all that may move: counts, devices, connections, cycles and the instant.
A statement sees one snapshot of the database, so these agree without a transaction. Configuration
comes from the first, and the second tells whether it has changed since.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import orjson

from domain.ageing import SPANS
from domain.health_facts import CollectorRecord, HealthFacts
from domain.health_state import State, cutoffs
from domain.model import Device
from domain.thresholds import resolve_thresholds
from ports.reads import FleetFigures, HealthPage, HealthQuery
from storage.documents import read_values
from storage.queries import bound, sql
from storage.rows import (
    Prefixed,
    to_connection,
    to_connection_record,
    to_device,
    to_override,
    to_workspace,
)
from storage.unit.steps import named_columns

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from datetime import timedelta

    from domain.health_facts import ConnectionRecord
    from domain.model import ProviderConnection, Workspace
    from ports.reads import DeviceFilter
    from storage.gateway import Connection, Database

T = TypeVar("T")

_INHERIT = -1.0  # stands for "no override" in SQL, where null equals nothing
_ANY_TIME = datetime(9999, 1, 1, tzinfo=UTC)  # so late that no limit lies before the first year
_COLLECTOR = (
    "last_good_cycle_at",
    "last_cycle_started_at",
    "last_cycle_outcome",
    "last_slot_start_at",
    "earlier_cycle_started_at",
    "owner",
    "owner_expires_at",
    "oldest_waiting_seconds",
)
# Columns of device_state that HealthFacts takes under the same names.
_DEVICE_FACTS = (
    "last_update_received_at",
    "last_observed_at",
    "last_changed_at",
    "statement",
    "statement_begun_at",
    "statement_at",
    "statement_detail",
    "last_rejected_at",
    "last_rejection_reason",
    "last_outdated_at",
    "held_back_seconds",
)


class _Class(NamedTuple):
    """Devices of one connection with equal thresholds, as page_health takes them.

    The override that makes the class, and how far its cutoffs lie before any instant. Those "on
    calls" are for devices whose newest data came while the socket of their stream was away.
    """

    workspace_id: str
    provider_id: str
    delayed_after: float
    stale_after: float
    grace: float
    delayed_behind: timedelta
    stale_behind: timedelta
    grace_behind: timedelta
    delayed_on_calls_behind: timedelta
    stale_on_calls_behind: timedelta


class FleetConfiguration(NamedTuple):
    """How a fleet is configured: the answer of the first statement.

    `classes` are the columns that page_health takes. `changes` grows with every change to any of
    the workspaces.
    """

    changes: int
    left_to_legacy: frozenset[str]
    workspaces: dict[str, Workspace]
    connections: dict[tuple[str, str], ProviderConnection]
    changed_at: dict[tuple[str, str], datetime | None]  # connections were switched on or off
    classes: Mapping[str, list[Any]]


async def load_health(
    database: Database,
    allowed: list[str] | None,
    query: HealthQuery,
) -> HealthPage:
    """Return counts and page of the workspaces `allowed`; None means all.

    Two round trips; when configuration changed between them, again as one transaction.
    """
    return _to_page(*await _fetch(database, allowed, query, by_workspace=False))


async def count_states(
    database: Database, allowed: list[str] | None, now: datetime | None
) -> tuple[datetime, dict[str, Mapping[State, int]]]:
    """Return the instant, and the counts by state of each of the workspaces with devices.

    By the statements of the report, so the two cannot differ. Inactive workspaces are counted too.
    """
    query = HealthQuery(limit=0, now=now, with_inactive=True)
    (first, *_), _ = await _fetch(database, allowed, query, by_workspace=True)
    found: dict[str, dict[str, int]] = orjson.loads(first["counts"])
    return first["evaluated_at"], {name: to_counts(counts) for name, counts in found.items()}


async def measure_fleet(
    database: Database, allowed: list[str], *, age_bounds: Sequence[float], by_workspace: bool
) -> FleetFigures:
    """Return the states and ages of the devices of the workspaces `allowed`.

    The states come by the statements of the report, so the two cannot differ.
    """
    query = HealthQuery(limit=0, now=None, with_inactive=True)

    async def work(connection: Connection) -> FleetFigures | None:
        found = await _judge(connection, allowed, query, by_workspace=by_workspace)
        if found is None:
            return None
        first = found[0][0]
        ages = await connection.fetch(
            sql("count_ages"), allowed, list(age_bounds), first["evaluated_at"]
        )
        return _to_figures(first, ages, len(age_bounds) + 1)

    return await _run_unchanged(database, "count_ages", work)


def _to_figures(first: Any, ages: Sequence[Any], buckets: int) -> FleetFigures:
    found: dict[str, dict[str, int]] = orjson.loads(first["counts"])
    counted = {row["bucket"]: row["devices"] for row in ages}
    return FleetFigures(
        first["evaluated_at"],
        {name: to_counts(counts) for name, counts in found.items()},
        tuple(counted.get(bucket, 0) for bucket in range(buckets)),
        sum(row["seconds"] for row in ages),
    )


async def _fetch(
    database: Database, allowed: list[str] | None, query: HealthQuery, *, by_workspace: bool
) -> tuple[Sequence[Any], FleetConfiguration]:
    """Return the rows of page_health, one at least, and the configuration that they are judged by.

    `by_workspace` asks for the counts of each workspace instead of those of all.
    """
    return await _run_unchanged(
        database,
        "page_health",
        partial(_judge, allowed=allowed, query=query, by_workspace=by_workspace),
    )


async def _run_unchanged(
    database: Database, name: str, work: Callable[[Connection], Awaitable[T | None]]
) -> T:
    """Run `work`, which returns None when configuration changed meanwhile; then run it again."""
    found = await database.run(work, name=name, in_transaction=False)
    if found is None:
        found = await database.run(work, name=name, readonly=True)
    assert found is not None  # noqa: S101 nothing changes within a snapshot
    return found


async def _judge(
    connection: Connection, allowed: list[str] | None, query: HealthQuery, *, by_workspace: bool
) -> tuple[Sequence[Any], FleetConfiguration] | None:
    classes = await connection.fetch(
        sql("list_threshold_classes"), allowed, query.with_inactive, query.by_read_owner
    )
    configuration = read_configuration(classes)
    wanted = page_parameters(query, configuration, allowed=allowed, by_workspace=by_workspace)
    rows = await connection.fetch(*bound("page_health", **wanted))
    unchanged = rows[0]["changes"] == configuration.changes
    return (rows, configuration) if unchanged else None


def page_parameters(
    query: HealthQuery,
    configuration: FleetConfiguration,
    *,
    allowed: list[str] | None,
    by_workspace: bool,
) -> dict[str, Any]:
    """Return the parameters of page_health for a report."""
    return {
        **configuration.classes,
        **_position(query),
        "workspaces": allowed,
        "now": query.now,
        "by_workspace": by_workspace,
        "rows_of": None,
        "since": None,
        "with_as_of": False,
    }


def read_configuration(rows: Sequence[Any]) -> FleetConfiguration:
    """From the classes of devices with equal thresholds; one row at least, which may name none."""
    workspaces: dict[str, Workspace] = {}
    connections: dict[tuple[str, str], ProviderConnection] = {}
    changed_at: dict[tuple[str, str], datetime | None] = {}
    classes = []
    for row in rows:
        key = workspace_id, _ = row["workspace_id"], row["provider_id"]
        if workspace_id is None:
            continue
        if workspace_id not in workspaces:
            workspaces[workspace_id] = to_workspace(Prefixed(row, "w_"))
        if key not in connections:
            connections[key] = to_connection(Prefixed(row, "p_"))
            changed_at[key] = row["p_active_changed_at"]
        classes.append(_to_class(row, workspaces[workspace_id], connections[key]))
    return FleetConfiguration(
        rows[0]["changes"],
        frozenset(rows[0]["left_to_legacy"] or ()),
        workspaces,
        connections,
        changed_at,
        named_columns(classes, _Class._fields),
    )


def _to_class(row: Any, workspace: Workspace, connection: ProviderConnection) -> _Class:
    override = to_override(row)
    names = (workspace.workspace_id, "", connection.provider_id, "", "", "")
    anyone = Device(*names, _ANY_TIME, None, override)
    limits, on_calls = (
        cutoffs(resolve_thresholds(workspace, connection, anyone, lives_on_calls=lives), _ANY_TIME)
        for lives in (False, True)
    )
    own = (override.delayed_after_seconds, override.stale_after_seconds, override.grace_seconds)
    delayed_after, stale_after, grace = (_INHERIT if one is None else one for one in own)
    delayed_behind, stale_behind, grace_behind = (_ANY_TIME - limit for limit in limits)
    return _Class(
        workspace_id=workspace.workspace_id,
        provider_id=connection.provider_id,
        delayed_after=delayed_after,
        stale_after=stale_after,
        grace=grace,
        delayed_behind=delayed_behind,
        stale_behind=stale_behind,
        grace_behind=grace_behind,
        delayed_on_calls_behind=_ANY_TIME - on_calls.delayed_before,
        stale_on_calls_behind=_ANY_TIME - on_calls.stale_before,
    )


def _position(query: HealthQuery) -> dict[str, Any]:
    """States, order and keyset of page_health.

    By device the first part of the key is the same for all.
    """
    states = None if query.states is None else [state.value for state in query.states]
    silence = query.order == "silence"
    after = query.after
    return {
        "states": states,
        "by_silence": silence,
        "after_since": after.since if after and silence else None,
        "after_workspace_id": after and after.workspace_id,
        "after_device_id": after and after.device_id,
        "limit": query.limit,
        "device_id": query.device_id,
        **_filter(query.devices),
    }


def _filter(devices: DeviceFilter) -> dict[str, Any]:
    """The conditions of page_health on devices and their time away."""
    span = None if devices.age is None else SPANS[devices.age]
    return {
        "tag": devices.tag,
        "connection": devices.provider_id,
        "search": devices.search,
        "heard": span and span.is_heard,
        "away_at_least": span and span.at_least_seconds,
        "away_less_than": span and span.less_than_seconds,
    }


def _to_page(rows: Sequence[Any], configuration: FleetConfiguration) -> HealthPage:
    first = rows[0]  # there is one, since the counts stand beside an empty page too
    counts = to_counts(orjson.loads(first["counts"]).get("", {}))
    found = to_health_facts(rows, configuration, read_shared(rows))
    return HealthPage(first["evaluated_at"], counts, found, configuration.left_to_legacy)


class SharedFacts(NamedTuple):
    """What devices of a page share: the collector of a workspace, the record of a connection."""

    collectors: Mapping[str, CollectorRecord]
    records: Mapping[tuple[str, str], ConnectionRecord]


def read_shared(rows: Sequence[Any]) -> SharedFacts:
    """Return what the devices of one answer of page_health share."""
    return SharedFacts(
        {row["workspace_id"]: _to_collector(row) for row in rows if row["is_first"]},
        {
            (row["workspace_id"], row["provider_id"]): to_connection_record(row)
            for row in rows
            if row["is_first_of_connection"]
        },
    )


def to_health_facts(
    rows: Sequence[Any], configuration: FleetConfiguration, shared: SharedFacts
) -> list[HealthFacts]:
    """Return the facts of those rows of page_health that name a device."""
    return [_to_facts(row, configuration, shared) for row in rows if row["device_id"] is not None]


def to_counts(counted: Mapping[str, int]) -> dict[State, int]:
    return dict.fromkeys(State, 0) | {State(name): n for name, n in counted.items()}


def _to_collector(row: Any) -> CollectorRecord:
    found = orjson.loads(row["unknown_ids"] or "[]")
    unknown_ids = tuple((provider_id, external_id) for provider_id, external_id in found)
    waiting = orjson.loads(row["stream_waiting_seconds"] or "{}")
    return CollectorRecord(
        **{name: row[name] for name in _COLLECTOR},
        unknown_ids=unknown_ids,
        is_paused=row["is_paused"] or False,
        stream_waiting_seconds=waiting,
    )


def _to_facts(row: Any, configuration: FleetConfiguration, shared: SharedFacts) -> HealthFacts:
    device = to_device(row)
    key = (device.workspace_id, device.provider_id)
    return HealthFacts(
        workspace=configuration.workspaces[device.workspace_id],
        connection=configuration.connections[key],
        device=device,
        connection_record=shared.records[key],
        collector=shared.collectors[device.workspace_id],
        version=row["version"],
        document=read_values(row["document"]),
        **{name: row[name] for name in _DEVICE_FACTS},
        connection_changed_at=configuration.changed_at[key],
        refused_signals=orjson.loads(row["refused_signals"] or "{}"),
    )
