"""The facts behind a health report: pages of devices, and how many are in which state.

Owns which statement answers a question. The health rule is domain.health; SQL only compares with
its cutoffs.

A statement brings all that may move: devices, connections, cycles, the instant and, if asked for,
the counts. It sees one snapshot of the database, so these agree without a transaction.
Configuration is kept between two questions, and each statement tells whether it has changed since
(storage/configurations.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from domain.ageing import SPANS
from domain.health_state import State
from ports.reads import DeviceFilter, FleetFigures, HealthPage, HealthQuery, WorklistPosition
from storage.configurations import ConfigurationKey, Configurations
from storage.health_rows import read_shared, to_counts, to_health_facts
from storage.queries import picked, sql

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime, timedelta

    from storage.configurations import FleetConfiguration
    from storage.gateway import Connection, Database

# They look rows up by given keys alone, so their plans are kept.
KEPT_PLANS: Final = frozenset({"page_of_workspace", "page_of_keys"})
_UNHEARD = frozenset({State.AWAITING_FIRST_DATA, State.CONFIGURED_NO_DATA})

# by whether states or silence choose the devices, and whether all devices are counted
_PAGES: Final = {
    (False, False): "page_by_device",
    (False, True): "page_by_device_counted",
    (True, False): "page_by_state",
    (True, True): "page_by_state_counted",
}


class FleetCounts(NamedTuple):
    """How many devices of each workspace are in each state, at one instant.

    Those of all workspaces stand under the empty name, unless each was asked for. `changes` is that
    of the configuration.
    """

    counted_at: datetime
    changes: int
    by_fleet: Mapping[str, Mapping[State, int]]


class ReadPage(NamedTuple):
    """A page, and `changes` of the configuration that it is judged by."""

    page: HealthPage
    changes: int


class ReadWorklist(NamedTuple):
    """The keys of a worklist in its order, from one snapshot."""

    read_at: datetime
    changes: int
    keys: Sequence[WorklistPosition]


class HealthStatements:
    """Runs the statements of storage/sql/health.sql. `allowed=None` means all workspaces."""

    def __init__(self, database: Database) -> None:
        self._configurations = Configurations(database)

    async def load_page(self, allowed: Sequence[str] | None, query: HealthQuery) -> ReadPage:
        """Return a page of facts, with counts of the same snapshot if the query wants counts.

        One round trip, and one more if the configuration is not known; when it changed meanwhile,
        again as one transaction.
        """
        by_state = query.states is not None or query.order == "silence"
        name = _PAGES[by_state, query.with_counts]
        if name == "page_by_device" and allowed and len(allowed) == 1 and not _is_filtered(query):
            name = "page_of_workspace"
        wanted = _page_parameters(query)
        return await self._read_page(name, allowed, query, wanted)

    async def _read_page(
        self,
        name: str,
        allowed: Sequence[str] | None,
        query: HealthQuery,
        parameters: Mapping[str, Any],
    ) -> ReadPage:
        """Return the page of a statement with these parameters beside those of the fleet."""

        async def ask(connection: Connection, kept: FleetConfiguration) -> ReadPage | None:
            wanted = {**fleet_parameters(allowed, kept, query.now), **parameters}
            rows = await connection.fetch(*picked(name, wanted))
            if rows[0]["changes"] != kept.changes:
                return None
            return ReadPage(_to_page(rows, kept), kept.changes)

        key = configuration_key(allowed, query)
        return await self._configurations.run(key, name, ask, keeps_plans=name in KEPT_PLANS)

    async def count(
        self, allowed: Sequence[str] | None, query: HealthQuery, *, by_workspace: bool
    ) -> FleetCounts:
        """Return the counts of the devices that the query asks about, whatever its filters.

        By the rule of the pages, so the two cannot differ.
        """

        async def ask(connection: Connection, kept: FleetConfiguration) -> FleetCounts | None:
            return await _count(connection, allowed, query, kept, by_workspace=by_workspace)

        return await self._configurations.run(
            configuration_key(allowed, query), "count_health", ask
        )

    async def measure_fleet(
        self, allowed: list[str], *, age_bounds: Sequence[float], by_workspace: bool
    ) -> FleetFigures:
        """Return the states and ages of the devices of these workspaces."""
        query = HealthQuery(with_inactive=True)

        async def ask(connection: Connection, kept: FleetConfiguration) -> FleetFigures | None:
            found = await _count(connection, allowed, query, kept, by_workspace=by_workspace)
            if found is None:
                return None
            ages = await connection.fetch(
                sql("count_ages"), allowed, list(age_bounds), found.counted_at
            )
            return _to_figures(found, ages, len(age_bounds) + 1)

        return await self._configurations.run(configuration_key(allowed, query), "count_ages", ask)

    async def list_worklist(
        self, allowed: Sequence[str] | None, query: HealthQuery, ahead: timedelta
    ) -> ReadWorklist:
        """Return the keys of a worklist, with all devices that time alone may add within `ahead`.

        A socket that comes back tightens the limits of its devices, so the limits are those of a
        connection whose socket is there.
        """

        async def ask(connection: Connection, kept: FleetConfiguration) -> ReadWorklist | None:
            wanted = {**fleet_parameters(allowed, kept, query.now), **_page_parameters(query)}
            rows = await connection.fetch(
                *picked("list_keys_by_state", wanted | _look_ahead(kept, ahead))
            )
            if rows[0]["changes"] != kept.changes:
                return None
            keys = [
                WorklistPosition(row["rank"], row["workspace_id"], row["device_id"])
                for row in rows
                if row["device_id"] is not None
            ]
            return ReadWorklist(rows[0]["evaluated_at"], kept.changes, keys)

        key = configuration_key(allowed, query)
        return await self._configurations.run(key, "list_keys_by_state", ask)

    async def load_devices(
        self, allowed: Sequence[str] | None, query: HealthQuery, keys: Sequence[WorklistPosition]
    ) -> ReadPage:
        """Return the facts of these devices, in this order, as far as they are active.

        With counts of the same snapshot if the query wants counts.
        """
        name = "page_of_keys_counted" if query.with_counts else "page_of_keys"
        wanted = {
            "key_workspaces": [key.workspace_id for key in keys],
            "key_devices": [key.device_id for key in keys],
        }
        return await self._read_page(name, allowed, query, wanted)

    def devices_of(self, allowed: Sequence[str] | None, query: HealthQuery) -> int | None:
        """Return how many devices the fleet had when it was last asked about; None: not known."""
        kept = self._configurations.find(configuration_key(allowed, query))
        return None if kept is None else kept.devices


def fleet_parameters(
    allowed: Sequence[str] | None, kept: FleetConfiguration, now: datetime | None
) -> dict[str, Any]:
    """Return the parameters of every statement of health about these workspaces."""
    workspaces = None if allowed is None else list(allowed)
    shown = kept.shown_of()
    return {
        **kept.classes,
        "workspaces": workspaces,
        "only_workspace": shown[0] if len(shown) == 1 else None,
        "rows_of": shown,
        "now": now,
        "by_workspace": False,
    }


def _look_ahead(kept: FleetConfiguration, ahead: timedelta) -> dict[str, Any]:
    """Return the limits with which devices are late so much earlier, and none lives on calls."""
    names = ("delayed_behind", "stale_behind", "grace_behind")
    limits = {name: [behind - ahead for behind in kept.classes[name]] for name in names}
    return limits | {
        "delayed_on_calls_behind": limits["delayed_behind"],
        "stale_on_calls_behind": limits["stale_behind"],
    }


async def _count(
    connection: Connection,
    allowed: Sequence[str] | None,
    query: HealthQuery,
    kept: FleetConfiguration,
    *,
    by_workspace: bool,
) -> FleetCounts | None:
    """Return the counts; None if the configuration has changed."""
    wanted = fleet_parameters(allowed, kept, query.now) | {"by_workspace": by_workspace}
    (row,) = await connection.fetch(*picked("count_health", wanted))
    if row["changes"] != kept.changes:
        return None
    return FleetCounts(row["evaluated_at"], row["changes"], read_counts(row))


def read_counts(row: Any) -> dict[str, Mapping[State, int]]:
    """Return the counts of a row that has them, by workspace or under the empty name."""
    found: dict[str, dict[str, int]] = orjson.loads(row["counts"])
    return {name: to_counts(counts) for name, counts in found.items()}


def configuration_key(allowed: Sequence[str] | None, query: HealthQuery) -> ConfigurationKey:
    names = None if allowed is None else tuple(allowed)
    return ConfigurationKey(names, query.with_inactive, query.by_read_owner)


def _page_parameters(query: HealthQuery) -> dict[str, Any]:
    """States, filters, order and keyset of a page."""
    states = None if query.states is None else [state.value for state in query.states]
    silence = query.order == "silence"
    after = query.after
    return {
        "states": states,
        "with_unheard": query.states is None or not _UNHEARD.isdisjoint(query.states),
        "is_filtered": _is_filtered(query),
        "by_silence": silence,
        "after_since": after.since if after and silence else None,
        "after_workspace_id": after and after.workspace_id,
        "after_device_id": after and after.device_id,
        "limit": query.limit,
        "device_id": query.device_id,
        **filter_parameters(query.devices),
    }


def _is_filtered(query: HealthQuery) -> bool:
    return query.devices != DeviceFilter() or query.device_id is not None


def filter_parameters(devices: DeviceFilter) -> dict[str, Any]:
    """Return the conditions of a page on devices and their time away."""
    span = None if devices.age is None else SPANS[devices.age]
    return {
        "tag": devices.tag,
        "connection": devices.provider_id,
        "search": devices.search,
        "heard": span and span.is_heard,
        "away_at_least": span and span.at_least_seconds,
        "away_less_than": span and span.less_than_seconds,
    }


def _to_page(rows: Sequence[Any], kept: FleetConfiguration) -> HealthPage:
    first = rows[0]  # there is one, since the instant stands beside an empty page too
    counts = read_counts(first).get("", to_counts({})) if "counts" in first else to_counts({})
    found = to_health_facts(rows, kept, read_shared(rows))
    return HealthPage(
        first["evaluated_at"], counts, found, kept.left_to_legacy, first["evaluated_at"]
    )


def _to_figures(found: FleetCounts, ages: Sequence[Any], buckets: int) -> FleetFigures:
    counted = {row["bucket"]: row["devices"] for row in ages}
    return FleetFigures(
        found.counted_at,
        found.by_fleet,
        tuple(counted.get(bucket, 0) for bucket in range(buckets)),
        sum(row["seconds"] for row in ages),
    )
