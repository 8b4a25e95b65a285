"""Legacy systems that say what a test tells them to."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import trio

from legacy.shape import ShapeInvalid, parse_shape
from ports.legacy import LegacyConfiguration, LegacyRegistry, LegacyValues

if TYPE_CHECKING:
    from collections.abc import Mapping

    from domain.parity import DeviceView
    from ports.legacy import LegacyUnfit, LegacyUnreachable, ShapeFault

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
# The least that a workspace needs in order to have a legacy system.
SHAPE: Final[Mapping[str, Any]] = {
    "values": {
        "path": "/state",
        "items": "items",
        "device_id": "id",
        "received_at": "heard",
        "signals": {"soc_percent": {"value": "soc", "observed_at": "at"}},
    }
}
CONFIGURATION = LegacyConfiguration("http://127.0.0.1:9", None, SHAPE)


class ScriptedLegacy:
    """ports.legacy.LegacySystems with one answer for all workspaces, or `fault`.

    `asked` has the workspace of each call. `held` is waited for, within a call that has begun.
    `values_of` and `faults` are for single workspaces.
    """

    def __init__(self) -> None:
        self.registry = LegacyRegistry((), (), NOON)
        self.values = LegacyValues({}, (), NOON)
        self.fault: LegacyUnreachable | LegacyUnfit | None = None
        self.values_of: dict[str, LegacyValues] = {}
        self.faults: dict[str, LegacyUnreachable | LegacyUnfit] = {}
        self.held: trio.Event | None = None
        self.asked: list[str] = []

    def show(self, views: dict[str, DeviceView], at: datetime = NOON) -> None:
        self.values = LegacyValues(views, (), at)

    def check(self, configuration: LegacyConfiguration) -> list[ShapeFault]:
        try:
            parse_shape(configuration.shape)
        except ShapeInvalid as invalid:
            return invalid.faults
        return []

    async def load_registry(self, workspace_id: str, _: LegacyConfiguration) -> LegacyRegistry:
        await self._arrive(workspace_id)
        return self.registry

    async def load_values(self, workspace_id: str, _: LegacyConfiguration) -> LegacyValues:
        await self._arrive(workspace_id)
        return self.values_of.get(workspace_id, self.values)

    async def _arrive(self, workspace_id: str) -> None:
        self.asked.append(workspace_id)
        await trio.lowlevel.checkpoint()
        if self.held is not None:
            await self.held.wait()
        fault = self.faults.get(workspace_id, self.fault)
        if fault is not None:
            raise fault
