"""Both sides of a comparison: what core and the legacy system show of each device.

Owns which device of the legacy system is which of ours. The legacy system is asked first: what core
received meanwhile makes core newer, never older.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from domain.identity import external_key
from domain.legacy_views import NOT_READABLE, index_views
from ports.legacy import LegacyUnfit, LegacyUnreachable

if TYPE_CHECKING:
    from collections.abc import Container, Sequence
    from datetime import datetime

    from actors.fleet import FleetView
    from domain.parity import DeviceView
    from ports.legacy import LegacyConfiguration, LegacySystems, LegacyValues
    from ports.parity import CoreView, ParityStore


class DevicePair(NamedTuple):
    """One device on both sides. None on a side that does not know it.

    `device_id` is the legacy system's name for a device that core does not know.
    """

    device_id: str
    core: CoreView | None
    legacy: DeviceView | None


class BothSides(NamedTuple):
    """What both systems show at one moment. `why` says why the legacy system showed nothing."""

    pairs: Sequence[DevicePair]
    answered_at: datetime | None
    why: str | None = None


class SidesReader:
    """Reads both sides of one workspace."""

    def __init__(self, view: FleetView, legacy: LegacySystems, parity: ParityStore) -> None:
        self._view = view
        self._legacy = legacy
        self._parity = parity

    async def load(self, configuration: LegacyConfiguration | None) -> BothSides:
        """Return both sides. A legacy system that does not answer, or unfitly, is a `why`.

        Raises DatabaseAway. The legacy system has a deadline of its own.
        """
        values, why = await self._ask(configuration)
        core = await self._parity.load_core_views(self._view.workspace_id)
        if values is None:
            return BothSides([DevicePair(one.device_id, one, None) for one in core], None, why)
        connections = self._view.connections
        vins = {one.provider_id for one in connections if one.ids_are_vins}
        off = {one.provider_id for one in connections if not one.active}
        return BothSides(pair_devices(core, values, vins, off), values.answered_at)

    async def _ask(
        self, configuration: LegacyConfiguration | None
    ) -> tuple[LegacyValues | None, str | None]:
        if configuration is None:
            return None, "no legacy system is configured"
        try:
            return await self._legacy.load_values(self._view.workspace_id, configuration), None
        except (LegacyUnreachable, LegacyUnfit) as fault:
            return None, str(fault)


def pair_devices(
    core: Sequence[CoreView],
    values: LegacyValues,
    vin_providers: Container[str],
    off: Container[str] = (),
) -> list[DevicePair]:
    """Return each device of either side once: core's in order, then those that core lacks.

    A device is found by its id, or else by its connection and external id, as ids are compared
    here. An item without a readable id may be any device, so no device is then known to be missing.
    Devices of connections that are `off` cannot be compared: that core does not ask is no fault.
    """

    by_id = dict(values.views)
    by_key = index_views(values.by_external_id, vin_providers.__contains__)
    absent = NOT_READABLE if any(item.device_id is None for item in values.unfit) else None
    pairs = []
    for one in core:
        theirs = by_id.pop(one.device_id, None)
        if theirs is None:
            key = external_key(one.external_id, is_vin=one.provider_id in vin_providers)
            theirs = by_key.pop((one.provider_id, key), absent)
        if one.provider_id in off:
            theirs = NOT_READABLE
        pairs.append(DevicePair(one.device_id, one, theirs))
    unknown = {**by_id, **{f"{provider}/{unit}": view for (provider, unit), view in by_key.items()}}
    return pairs + [DevicePair(name, None, view) for name, view in sorted(unknown.items())]
