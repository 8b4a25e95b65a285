"""Configuration of one workspace as its actors see it: looked up fast, replaced as a whole.

Owns the view, not the truth: the database has the truth, and every unit checks identity again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from actors.cycle_ends import CycleEnds
from actors.spelling import Spelling
from domain.asking import under_flags
from domain.model import NO_OVERRIDE
from domain.thresholds import resolve_thresholds
from runtime.flag import Flag

if TYPE_CHECKING:
    from domain.model import Device, Ownership, ProviderConnection, Workspace
    from ports.sessions import Fleet


class FramesTaken:
    """How many frames the streams of a workspace received, and how many updates they made of them.

    A cycle takes the counts for its record, which begins them anew.
    """

    __slots__ = ("_frames", "_updates")

    def __init__(self) -> None:
        self._frames = 0
        self._updates = 0

    def add(self, frames: int, updates: int) -> int:
        """Count them, and return the frames."""
        self._frames += frames
        self._updates += updates
        return frames

    def take(self) -> dict[str, int]:
        """Return what was counted since the last call; an empty mapping for nothing."""
        frames, updates, self._frames, self._updates = self._frames, self._updates, 0, 0
        return {"frames": frames, "updates": updates} if frames or updates else {}


class FleetView:
    """The newest `Fleet` of one workspace and its devices by (provider, external id).

    `connections` are those of the fleet under its cutover flags: one that the flags leave out is
    inactive. The actors go by them.
    """

    def __init__(self, fleet: Fleet, ownership: Ownership) -> None:
        self.version = 1
        self._changed = Flag()
        self.frames = FramesTaken()
        self.ends = CycleEnds()
        self.ownership = ownership  # the claim under which its cycle and its streams collect
        self._load(fleet)

    def _load(self, fleet: Fleet) -> None:
        self.fleet = fleet
        flags = fleet.workspace.cutover
        self.connections = tuple(under_flags(one, flags) for one in fleet.connections)
        self._devices: dict[str, dict[str, Device]] = {}
        for device in fleet.devices:
            self._devices.setdefault(device.provider_id, {})[device.external_id] = device
        self._spellings = {
            connection.provider_id: Spelling(
                self.devices_of(connection.provider_id), is_vin=connection.ids_are_vins
            )
            for connection in fleet.connections
        }

    def replace(self, fleet: Fleet) -> None:
        """Take a newer configuration and wake the tasks that wait for one.

        A request for a run makes the configuration newer, too.
        """
        self._load(fleet)
        self.version += 1
        self._changed.wake()

    async def wait_changed(self, seen: int) -> int:
        """Wait until the version differs from `seen`, and return it.

        Returns at once if it already differs, so that a change during a cycle is not lost. No
        deadline of its own: most configurations never change.
        """
        while self.version == seen:
            await self._changed.wait()
        return self.version

    @property
    def workspace(self) -> Workspace:
        return self.fleet.workspace

    @property
    def workspace_id(self) -> str:
        return self.fleet.workspace.workspace_id

    def connection(self, provider_id: str) -> ProviderConnection | None:
        return next((c for c in self.connections if c.provider_id == provider_id), None)

    def devices_of(self, provider_id: str) -> dict[str, Device]:
        """Return the active devices by external id. The dict is replaced, never changed."""
        return self._devices.get(provider_id, {})

    def stale_limits(self) -> dict[str, float]:
        """Return the stale threshold of each active connection that is asked, in seconds.

        A device's own threshold is left out: the limit only says when to look closer.
        """
        return {
            one.provider_id: self._stale_limit(one, next(iter(devices.values())))
            for one in self.connections
            if one.is_asked and (devices := self.devices_of(one.provider_id))
        }

    def _stale_limit(self, connection: ProviderConnection, device: Device) -> float:
        plain = replace(device, override=NO_OVERRIDE)
        return resolve_thresholds(self.workspace, connection, plain).stale_after_seconds

    def spelling_of(self, provider_id: str) -> Spelling:
        """Return how to write the external ids that this connection sends."""
        return self._spellings.get(provider_id) or Spelling((), is_vin=False)
