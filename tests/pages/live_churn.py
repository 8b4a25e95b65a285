"""A fleet that changes all the time, from a seed: what happens between two looks at a live page.

Owns the moves. Each of them is what a provider, a person or the clock may do; none knows of pages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.api.harness import draft
from tests.api.legacy_reads import read_from

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from random import Random

    from tests.api.harness import Harness


class Churn:
    """The moves, on workspace `north`. `devices` are the active ones."""

    def __init__(self, harness: Harness, random: Random) -> None:
        self._harness = harness
        self._random = random
        self.devices = ["bus-1", "bus-2", "bus-3"]
        self._made = 3
        self._is_of_legacy = False

    async def move(self) -> str:
        """Do one thing, or let some time pass; return what was done."""
        rare: tuple[Callable[[], Awaitable[None]], ...] = (
            self.add_device,
            self.retire_device,
            self.change_policy,
            self.switch_workspace,
            self.switch_reading,
            self.change_device,
        )
        often = (self.report, self.report, self.report_half, self.run_cycle, self.wait, self.wait)
        chosen = self._random.choice(rare if self._random.random() < 0.15 else often)
        await chosen()
        return chosen.__name__

    async def report(self) -> None:
        for device_id in self._random.sample(self.devices, k=(len(self.devices) + 1) // 2):
            await self._harness.report(device_id, soc_percent=self._random.uniform(1, 99))

    async def report_half(self) -> None:
        """Send an update of which one reading is refused."""
        device_id = self._random.choice(self.devices)
        await self._harness.report(device_id, soc_percent=140.0, speed_kmh=30.0)

    async def run_cycle(self) -> None:
        if not self._is_of_legacy:
            await self._harness.run_cycle(is_answered=self._random.random() < 0.8)

    async def wait(self) -> None:
        self._harness.let_pass(self._random.choice([1, 5, 30, 120, 400, 1000]))

    async def add_device(self) -> None:
        self._made += 1
        name = f"bus-{self._made}"
        await self._harness.stores.registry.put_devices("north", [draft(name)])
        self.devices.append(name)

    async def retire_device(self) -> None:
        if len(self.devices) > 2:
            name = self.devices.pop(self._random.randrange(len(self.devices)))
            await self._harness.ask("DELETE", f"/workspaces/north/devices/{name}")

    async def change_policy(self) -> None:
        stale = self._random.choice([300.0, 900.0, 2000.0])
        body = {"delayed_after_seconds": stale / 3, "stale_after_seconds": stale}
        body["freshness_target_seconds"] = stale / 3
        await self._harness.ask("PATCH", "/workspaces/north", json=body)

    async def switch_workspace(self) -> None:
        active = self._random.random() < 0.7
        await self._harness.ask("PATCH", "/workspaces/north", json={"active": active})

    async def switch_reading(self) -> None:
        self._is_of_legacy = not self._is_of_legacy
        await read_from(self._harness, "legacy" if self._is_of_legacy else "core")

    async def change_device(self) -> None:
        name = self._random.choice(self.devices)
        body = {"stale_after_seconds": self._random.choice([200.0, 5000.0])}
        await self._harness.ask("PATCH", f"/workspaces/north/devices/{name}", json=body)
