"""A customer's own sender in a verdict run: a push connection over /ingest, and moved units.

Owns the sender's vehicles, what goes wrong with them and when, and their true story, in the form of
the simulator's.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from time import time
from typing import TYPE_CHECKING, Any, Final

import httpx
import trio

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.verdict_acts import Plan
    from benchmarks.verdict_service import Shards

NAME: Final = "pushed"
PROVIDER: Final = "own"
VEHICLES: Final = 12
STEP: Final = 2.0
PATH: Final = f"/workspaces/{NAME}"
# One vehicle for each trouble of its own. The others send whenever the sender does.
SILENT, REFUSED, MOVED, MOVED_TO_SILENCE = (f"bus-{number}" for number in range(4))


class Sender:
    """A sender that falls silent for a while. Two of its vehicles get another unit meanwhile."""

    def __init__(self, plan: Plan, stale: float) -> None:
        self._part = plan.seconds / 12
        self._length = max(2 * stale, self._part)
        self._units = {f"bus-{number}": f"unit-{number}" for number in range(VEHICLES)}
        self._former: set[str] = set()  # units that were replaced, and go on sending
        self._mute: set[str] = set()  # units that send nothing
        self._story: list[dict[str, object]] = []

    @property
    def story(self) -> list[dict[str, object]]:
        """Return what was wrong with which unit; with all of them where it names none."""
        return list(self._story)

    async def configure(self, shards: Shards, thresholds: Mapping[str, float], every: int) -> None:
        body = {"name": NAME, "poll_interval_seconds": every, "thresholds": thresholds}
        await shards.put(PATH, body)
        connection = {"provider_type": "push", "transport": "push", "expected_update_seconds": 1}
        await shards.put(f"{PATH}/providers/{PROVIDER}", connection)
        devices = [
            {
                "device_id": device,
                "provider_id": PROVIDER,
                "external_id": unit,
                "vehicle_id": f"vehicle-{device}",
                "vehicle_name": device,
            }
            for device, unit in self._units.items()
        ]
        await shards.post(f"{PATH}/devices/import", {"devices": devices})

    async def run(self, shards: Shards) -> None:
        """Send for ever, but for one span of silence."""
        began = trio.current_time()
        silent_from = began + 4 * self._part
        silent_until = silent_from + self._length
        self._tell(None, "sender_silent", "customer", silent_from, silent_until)
        self._tell(self._units[SILENT], "silent", "device", began + self._part, None)
        self._tell(self._units[REFUSED], "refused_values", "device", began + self._part, None)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._move_units, shards)
            while True:
                now = trio.current_time()
                if not silent_from <= now < silent_until:
                    await self._send(shards, is_troubled=now >= began + self._part)
                await trio.sleep_until(now + STEP)

    def _tell(
        self, unit: str | None, cause: str, party: str, since: float, until: float | None
    ) -> None:
        """Add an episode; instants are monotonic."""
        ahead = time() - trio.current_time()
        self._story.append(
            {
                "vehicle_id": unit,
                "cause": cause,
                "party": party,
                "since": since + ahead,
                "until": None if until is None else until + ahead,
                "stops_data": True,
            }
        )

    async def _send(self, shards: Shards, *, is_troubled: bool) -> None:
        """Send one update of each unit that is not mute."""
        units = {*self._units.values(), *self._former} - self._mute
        if is_troubled:
            units.discard(self._units[SILENT])
        at = datetime.now(UTC).isoformat()
        refused = self._units[REFUSED] if is_troubled else None
        updates = [
            {
                "workspace_id": NAME,
                "provider_id": PROVIDER,
                "external_id": unit,
                "readings": _readings(at, 250.0 if unit == refused else 60.0),
            }
            for unit in sorted(units)
        ]
        # A shard may be stopped at this very moment, or none may run.
        with suppress(httpx.HTTPError, IndexError, KeyError), trio.move_on_after(STEP * 2):
            await shards.post("/ingest", {"updates": updates})

    async def _move_units(self, shards: Shards) -> None:
        """Give two vehicles another unit: one that sends, and one that never does."""
        await trio.sleep(self._part)
        for device in (MOVED, MOVED_TO_SILENCE):
            unit = f"other-{device}"
            if device == MOVED_TO_SILENCE:
                self._mute.add(unit)
            await shards.post(f"{PATH}/devices/{device}/swap", {"external_id": unit})
            self._former.add(self._units[device])
            self._units[device] = unit
        self._tell(unit, "unit_never_heard", "device", trio.current_time(), None)


def _readings(at: str, soc: float) -> list[dict[str, Any]]:
    return [{"signal": "soc_percent", "value": soc, "observed_at": at}]
