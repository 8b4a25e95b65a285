"""Nobody is blamed for our own outage before the provider has answered again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.acceptance.harness import QUICK, eventually, open_harness, until
from tests.acceptance.maker import VIN, WORKSPACE, configure_maker, open_maker, record
from tests.providers.servers import Asked, Reply

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from tests.acceptance.harness import Harness
    from tests.acceptance.maker import Maker

INTERVAL = 4
STALE_SECONDS = 3.0 * INTERVAL  # what a polled connection of this interval has at least
LOOKS = 5  # at health, while the provider is being asked
LOOK_EVERY_SECONDS = 0.2


class SlowMaker:
    """A maker that answers once `may_answer` is set, with `later` from the outage on."""

    def __init__(self, maker: Maker, later: Reply | None) -> None:
        self._maker = maker
        self._later = later
        self.is_late = False
        self.may_answer = trio.Event()
        self.may_answer.set()

    async def answer(self, _: bytes, __: Asked) -> Reply:
        """Answer with a new record each time, so that what it ends in lasts."""
        await self.may_answer.wait()
        if self.is_late and self._later is not None:
            return self._later
        self._maker.records = [record(0.1, {"hybridBatteryPackRemainingCharge": 61.5})]
        return Reply(200, self._maker.body())


async def look(harness: Harness) -> Any:
    (item,) = (await harness.shard.health(WORKSPACE))["items"]
    return item


@pytest.mark.parametrize(
    ("later", "reason", "party"),
    [
        (None, "reporting", "none"),
        (Reply(204, b""), "device_silent", "device"),
        (Reply(503, b""), "provider_outage", "provider"),
    ],
    ids=["it sends", "nothing new", "a failure"],
)
async def test_our_outage_is_ours_until_a_call_has_ended(
    dsn: str, tmp_path: Path, later: Reply | None, reason: str, party: str
) -> None:
    async with open_maker() as maker, open_harness(dsn, tmp_path) as harness:
        slow = SlowMaker(maker, later)
        maker.reply = slow.answer
        await configure_maker(harness, maker, interval=INTERVAL, thresholds=QUICK)
        await until(lambda: _is_fresh(harness))
        await harness.close_shard()
        slow.is_late, slow.may_answer = True, trio.Event()
        await trio.sleep(STALE_SECONDS)
        await harness.open_shard("shard-1")
        back_at = await harness.now()

        looks = 0
        while True:
            item = await look(harness)
            if await _has_answered(harness, back_at):
                break
            looks += 1
            assert (item["state"], item["party"]) == ("stale", "ours"), item["evidence"]
            if looks == LOOKS:
                slow.may_answer.set()
            await trio.sleep(LOOK_EVERY_SECONDS)
        assert looks
        slow.may_answer.set()

        async def verdict() -> tuple[str, str]:
            item = await look(harness)
            return item["reason"], item["party"]

        await eventually(verdict, (reason, party))


async def _has_answered(harness: Harness, since: datetime) -> bool:
    """Return whether a call over the connection has ended since then, answered or failed."""
    rows = await harness.fetch("SELECT 1 FROM connection_state WHERE call_ended_at > $1", since)
    return bool(rows)


async def _is_fresh(harness: Harness) -> bool:
    item = await look(harness)
    return (item["device_id"], item["state"]) == (VIN, "healthy")
