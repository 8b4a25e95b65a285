"""How fleets are configured, as their health is judged by: kept between two questions.

Owns the cutoffs of each class of devices, and how many configurations are kept. Nothing here says
that a kept one still holds: each statement of health tells by `changes` whether it does, and then
the caller drops it.
"""

from __future__ import annotations

from collections import OrderedDict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, TypeVar

from domain.health_state import cutoffs
from domain.model import Device
from domain.thresholds import resolve_thresholds
from storage.queries import sql
from storage.rows import Prefixed, to_connection, to_override, to_workspace
from storage.unit.steps import named_columns

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from datetime import timedelta

    from domain.model import ProviderConnection, Workspace
    from storage.gateway import Connection, Database

T = TypeVar("T")

MAX_KEPT_CLASSES: Final = 50_000  # of all kept configurations; those unused for longest are dropped
_INHERIT = -1.0  # stands for "no override" in SQL, where null equals nothing
_ANY_TIME = datetime(9999, 1, 1, tzinfo=UTC)  # so late that no limit lies before the first year


class _Class(NamedTuple):
    """Devices of one connection with equal thresholds, as the statements of health take them.

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
    """How the devices of some workspaces are configured: the answer of list_threshold_classes.

    `classes` are the columns that the statements of health take. `changes` grows with every change
    to any of the workspaces.
    """

    changes: int
    left_to_legacy: frozenset[str]
    workspaces: dict[str, Workspace]
    connections: dict[tuple[str, str], ProviderConnection]
    changed_at: dict[tuple[str, str], datetime | None]  # connections were switched on or off
    classes: Mapping[str, list[Any]]
    devices: int  # how many there are

    def shown_of(self, wanted: frozenset[str] | None = None) -> list[str]:
        """Return the workspaces that have devices, in order; or those of them that are wanted."""
        return sorted(self.workspaces if wanted is None else wanted & self.workspaces.keys())


class ConfigurationKey(NamedTuple):
    """The parameters of list_threshold_classes. `allowed=None` means all workspaces."""

    allowed: tuple[str, ...] | None
    with_inactive: bool
    by_read_owner: bool


Ask: TypeAlias = "Callable[[Connection, FleetConfiguration], Awaitable[T | None]]"


class Configurations:
    """The configurations of the fleets that were asked about last, MAX_KEPT_CLASSES at most."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._kept: OrderedDict[ConfigurationKey, FleetConfiguration] = OrderedDict()
        self._classes = 0

    async def run(
        self, key: ConfigurationKey, name: str, ask: Ask[T], *, keeps_plans: bool = False
    ) -> T:
        """Return the answer of `ask`, which holds for the configuration that it was given.

        `ask` returns None if the rows that it read have other `changes`. Then it is asked again,
        in a transaction that begins with the reading of the configuration. `name` is for traces.
        `keeps_plans` is as in Database.run, for what `ask` does: the configuration is read by a
        connection that plans anew.
        """

        async def work(connection: Connection, kept: FleetConfiguration | None) -> T | None:
            configuration = kept or await read_configuration(connection, key)
            found = await ask(connection, configuration)
            if found is None:
                self.drop(key)
            elif configuration is not kept:
                self.keep(key, configuration)
            return found

        kept = self.find(key)
        found = await self._database.run(
            lambda connection: work(connection, kept),
            name=name,
            in_transaction=False,
            keeps_plans=keeps_plans and kept is not None,
        )
        if found is None:
            found = await self._database.run(
                lambda connection: work(connection, None), name=name, readonly=True
            )
        assert found is not None  # noqa: S101 nothing changes within a snapshot
        return found

    def find(self, key: ConfigurationKey) -> FleetConfiguration | None:
        """Return the kept one, which may have changed since."""
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def keep(self, key: ConfigurationKey, configuration: FleetConfiguration) -> None:
        self.drop(key)
        self._kept[key] = configuration
        self._classes += _weigh(configuration)
        while self._classes > MAX_KEPT_CLASSES:
            self.drop(next(iter(self._kept)))

    def drop(self, key: ConfigurationKey) -> None:
        dropped = self._kept.pop(key, None)
        if dropped is not None:
            self._classes -= _weigh(dropped)


def _weigh(configuration: FleetConfiguration) -> int:
    return 1 + len(configuration.classes["workspace_id"])


async def read_configuration(connection: Connection, key: ConfigurationKey) -> FleetConfiguration:
    allowed = None if key.allowed is None else list(key.allowed)
    rows = await connection.fetch(
        sql("list_threshold_classes"), allowed, key.with_inactive, key.by_read_owner
    )
    return _to_configuration(rows)


def _to_configuration(rows: Sequence[Any]) -> FleetConfiguration:
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
        sum(row["devices"] or 0 for row in rows),
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
