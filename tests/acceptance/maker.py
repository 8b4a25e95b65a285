"""A maker of trucks whose rFMS answer the test writes: one list of records, the same for each call.

It knows no cursor and no page: whatever is asked, it answers with the records of the moment.
"""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from tests.providers.servers import Asked, Reply, http_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.acceptance.harness import Harness

VIN: Final = "TESTVIN0000000001"
WORKSPACE: Final = "yard"
THRESHOLDS: Final[dict[str, float]] = {
    "freshness_target_seconds": 9.0,
    "delayed_after_seconds": 9.0,
    "stale_after_seconds": 20.0,
    "grace_seconds": 10.0,
}


class Maker:
    """The maker's server. `records` is its answer, unless `reply` gives another one."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []
        self.reply: Callable[[bytes, Asked], Reply | Awaitable[Reply]] = _as_json
        self.url = ""

    def answer(self, asked: Asked) -> Reply | Awaitable[Reply]:
        return self.reply(self.body(), asked)

    def body(self) -> bytes:
        """Return an answer with the records of the moment."""
        answer = {
            "vehicleStatusResponse": {"vehicleStatuses": self.records},
            "moreDataAvailable": False,
            "requestServerDateTime": said(0),
        }
        return json.dumps(answer).encode()


def _as_json(body: bytes, _: Asked) -> Reply:
    return Reply(200, body, {"Content-Type": "application/json"})


@asynccontextmanager
async def open_maker() -> AsyncIterator[Maker]:
    maker = Maker()
    async with http_server(maker.answer) as maker.url:
        yield maker


async def configure_maker(
    harness: Harness,
    maker: Maker,
    *vins: str,
    interval: int = 2,
    thresholds: dict[str, float] = THRESHOLDS,
) -> None:
    """Configure trucks of the maker, polled every `interval` s. Without names there is one."""
    secret = harness.folder / "maker.secret"
    secret.write_text("token")
    shard = harness.shard
    await shard.add_workspace(WORKSPACE, interval=interval, thresholds=thresholds, active=False)
    await shard.add_provider(
        WORKSPACE,
        "maker",
        provider_type="rfms",
        transport="poll",
        base_url=maker.url,
        credential=f"file:{secret}",
    )
    await shard.add_devices(WORKSPACE, "maker", vins or [VIN])
    await shard.add_workspace(WORKSPACE, interval=interval, thresholds=thresholds)


def said(seconds_ago: float) -> str:
    """Return the instant so long ago as makers write it."""
    at = datetime.now(UTC) - timedelta(seconds=seconds_ago)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def record(seconds_ago: float, snapshot: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Return a status that was created so long ago, with these fields of its snapshotData."""
    return {
        "vin": VIN,
        "triggerType": {"type": "TIMER", "context": "RFMS"},
        "createdDateTime": said(seconds_ago),
        "receivedDateTime": said(min(seconds_ago, 1.0)),
        "snapshotData": snapshot,
        **fields,
    }


def at_place(latitude: float, longitude: float, seconds_ago: float) -> dict[str, Any]:
    """Return a snapshotData with only a position."""
    position = {"latitude": latitude, "longitude": longitude, "positionDateTime": said(seconds_ago)}
    return {"gnssPosition": position}
