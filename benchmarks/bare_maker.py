"""The maker of the schedule benchmark: an rFMS server that answers every request with news.

Shares no code with the product. A request for `/NUMBER/DEVICES/…` gets one status of each of so
many vehicles, named as `vin_of` names them. The server counts its answers and keeps no other state.
`python -m benchmarks.bare_maker`.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime

import orjson

from benchmarks.workers import say


def vin_of(number: int, device: int) -> str:
    """Return the name of a vehicle: of workspace `number`, the device counted from 0."""
    return f"V{number:06d}{device:06d}"


class Maker(asyncio.Protocol):
    """One connection. Requests come one after the other, each whole in one read."""

    answers = 0  # of all connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        _, number, devices, _ = data.split(b" ", 2)[1].split(b"/", 3)
        Maker.answers += 1
        body = _page(int(number), int(devices))
        self._transport.write(
            b"HTTP/1.1 200 OK\r\n"
            b"content-type: application/json; rfms=vehiclestatuses.v4.0\r\n"
            b"content-length: %d\r\n\r\n%s" % (len(body), body)
        )


def _page(number: int, devices: int) -> bytes:
    """Return the newest status of each vehicle, with five values, none as it was before."""
    now = datetime.now(UTC)
    at, turn = now.isoformat(timespec="milliseconds"), int(now.timestamp() * 10)
    statuses = [
        {
            "vin": vin_of(number, device),
            "createdDateTime": at,
            "receivedDateTime": at,
            "hrTotalVehicleDistance": turn,
            "snapshotData": {
                "gnssPosition": {
                    "latitude": 52 + turn % 8_999 / 9_000,
                    "longitude": 4 + turn % 7_999 / 8_000,
                    "positionDateTime": at,
                },
                "wheelBasedSpeed": turn % 79,
                "hybridBatteryPackRemainingCharge": turn % 97,
            },
        }
        for device in range(devices)
    ]
    return orjson.dumps(
        {
            "vehicleStatusResponse": {"vehicleStatuses": statuses},
            "moreDataAvailable": False,
            "requestServerDateTime": at,
        }
    )


async def main() -> None:
    """Serve until the parent is gone; each of its words is answered with the count so far."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Maker, "127.0.0.1", 0)
    say(port=server.sockets[0].getsockname()[1])
    while await loop.run_in_executor(None, sys.stdin.readline):
        say(answers=Maker.answers)


if __name__ == "__main__":
    asyncio.run(main())
