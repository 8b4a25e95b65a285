"""What the actors of one workspace run by: its configuration, looked up fast, replaced as a whole when it changes.

Owns the view, not the truth: the database has that, and every unit checks identity again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from actors.ports import Fleet
    from domain.model import Device, Ownership, ProviderConnection, Workspace


class FleetView:
    """The newest `Fleet` of one workspace and its devices by (provider, external id)."""

    def __init__(self, fleet: Fleet, ownership: Ownership) -> None:
        self.version = 1
        self._changed = trio.Event()
        self.ownership = ownership  # under what claim this workspace is collected: its cycle and its streams together
        self._load(fleet)

    def _load(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self._devices: dict[str, dict[str, Device]] = {}
        for device in fleet.devices:
            self._devices.setdefault(device.provider_id, {})[device.external_id] = device

    def replace(self, fleet: Fleet) -> None:
        """Take a newer configuration and wake who waits for one. To ask for a run makes it newer, too."""
        self._load(fleet)
        self.version += 1
        self._changed.set()
        self._changed = trio.Event()

    async def wait_changed(self, seen: int) -> int:
        """The version, as soon as it is not the `seen` one, so that a change during a cycle is not lost.

        No deadline of its own: most configurations never change.
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
        return next((c for c in self.fleet.connections if c.provider_id == provider_id), None)

    def devices_of(self, provider_id: str) -> dict[str, Device]:
        """external_id -> device, active ones only. Replaced, never changed in place."""
        return self._devices.get(provider_id, {})
