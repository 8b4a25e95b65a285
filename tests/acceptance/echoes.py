"""A vendor that repeats the credential of each call in its answers, encoded.

Each fleet has its own path and its own encoding. The HTTP side answers in another manner with each
call, in turn. The WebSocket side sends all of its frames on each connection, and then closes it.
"""

from __future__ import annotations

import json
from base64 import b64encode, urlsafe_b64encode
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import trio

from domain.model import MAX_SAMPLE_BYTES
from tests.providers.servers import tcp_server, websocket_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from trio_websocket import WebSocketRequest

Encode = Callable[[str], str]

ENCODINGS: Final[Mapping[str, Encode]] = {
    "plain": str,
    "json": lambda text: "".join(f"\\u{ord(character):04x}" for character in text),
    "slashes": lambda text: text.replace("/", "\\/"),
    "percent": lambda text: quote(text, safe=""),
    "partly": lambda text: quote(text, safe="/+~").lower(),
    "everything": lambda text: "".join(f"%{byte:02x}" for byte in text.encode()),
    "base64": lambda text: b64encode(text.encode()).decode(),
    "urlsafe": lambda text: urlsafe_b64encode(b"-" + text.encode()).decode().rstrip("="),
    "header": lambda text: b64encode(b"12Basic " + b64encode(text.encode())).decode(),
}
VIN: Final = "WDB00000000000001"
BUS: Final = "bus_0001"
NOW: Final = "2026-03-01T12:00:00Z"
MANNERS: Final = {
    "vehiclestatuses": (0, 1, 2, 3, 4, 5, 6),
    "state": (0, 1, 2, 3, 4),
    "live": (0, 4),
}


class Vendor:
    """The vendor's servers. `answered` counts the answers by fleet, kind of call and manner."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        self._echoes = {slug: ENCODINGS[slug](secret) for slug, secret in secrets.items()}
        self._turns: defaultdict[str, int] = defaultdict(int)
        self.answered: Counter[tuple[str, str, int]] = Counter()
        self.http_url = ""
        self.stream_url = ""

    async def serve_http(self, stream: trio.SocketStream) -> None:
        """Answer the one request of a connection."""
        head = bytearray()
        while b"\r\n\r\n" not in head:
            chunk = await stream.receive_some(65_536)
            if not chunk:
                return
            head += chunk
        path = head.split(b" ")[1].decode()
        slug = path.split("/")[1]
        if slug not in self._echoes:
            return
        kind = next((kind for kind in ("vehiclestatuses", "state", "live") if kind in path), "link")
        turn = self._turns[slug + kind]
        self._turns[slug + kind] += 1
        manners = MANNERS.get(kind, (6,))
        manner = manners[turn % len(manners)]
        await stream.send_all(self._answer(kind, manner, self._echoes[slug], slug))
        self.answered[slug, kind, manner] += 1

    def _answer(self, kind: str, manner: int, echo: str, slug: str) -> bytes:
        page, state = (
            _page(f'{{"vin":"{VIN}","createdDateTime":"{_across(echo, 53)}"}}'),
            _state(_across(echo, 30)),
        )
        named = _page(_record(VIN, echo), _record(echo, "CHARGING"))
        linked = named[:-1] + f',"moreDataAvailableLink":"/{slug}/{quote(echo)}"}}'
        match manner:
            case 0:
                return _http(
                    f"403 {echo}", f'{{"error":"{echo}","seen":"{echo}"}}', f"application/{echo}"
                )
            case 1:
                return _http("200 OK", f"<p>{echo}</p>", f"text/html; seen={echo}")
            case 2:
                return _http("200 OK", page if kind == "vehiclestatuses" else state)
            case 3:
                return _http(
                    "200 OK",
                    named if kind == "vehiclestatuses" else f'{{"{echo}":{{}},"{BUS}":"{echo}"}}',
                )
            case 4:
                return f"HTTP/1.1 {echo}\r\n{echo}\r\n\r\n".encode()
            case 5:
                return _http(f"302 Found\r\nLocation: http://127.0.0.1/{quote(echo)}", "")
            case _:
                return (
                    _http("200 OK", linked)
                    if kind == "vehiclestatuses"
                    else _http(f"500 {echo}", f'["{echo}"]')
                )

    async def serve_stream(self, request: WebSocketRequest) -> None:
        slug = request.path.split("/")[1]
        echo = self._echoes[slug]
        connection = await request.accept()
        for frame in (
            f"no json: {_across(echo, 9)}",
            f'{{"type":"error","payload":"{echo}"}}',
            _frame(echo, 1000),
            _frame(echo, 99999999999999),
        ):
            await connection.send_message(frame)
        await trio.sleep(0.5)  # longer than the coalescing window
        await connection.aclose(1011, echo[:100])
        self.answered[slug, "frames", 0] += 1

    def has_shown_everything(self, fleets: Mapping[str, str]) -> bool:
        wanted = {(kind, manner) for kind, manners in MANNERS.items() for manner in manners} | {
            ("frames", 0)
        }
        return all(self.answered[slug, *shown] for slug in fleets for shown in wanted)


@asynccontextmanager
async def open_vendor(secrets: Mapping[str, str]) -> AsyncIterator[Vendor]:
    """Open a vendor. `secrets`: the secret of each fleet; a fleet has the name of its encoding."""
    vendor = Vendor(secrets)
    async with (
        tcp_server(vendor.serve_http) as port,
        websocket_server(vendor.serve_stream) as stream_url,
    ):
        vendor.http_url, vendor.stream_url = f"http://127.0.0.1:{port}", stream_url
        yield vendor


def parts_of(echo: str, length: int = 8) -> set[str]:
    """Return every run of `length` characters. Finding one means that a part of a secret leaked."""
    return {echo[place : place + length] for place in range(len(echo) - length + 1)}


def _across(echo: str, before: int) -> str:
    """Pad the echo so that the cut of a sample, with `before` bytes in front, falls into it."""
    return "." * (MAX_SAMPLE_BYTES - before - len(echo) // 2) + echo


def _page(*records: str) -> str:
    statuses = f'{{"vehicleStatuses":[{",".join(records)}]}}'
    return f'{{"vehicleStatusResponse":{statuses},"requestServerDateTime":"{NOW}"}}'


def _record(vin: str, word: str) -> str:
    charging = f'"snapshotData":{{"batteryPackChargingStatus":"{word}"}}'
    return f'{{"vin":"{vin}","createdDateTime":"{NOW}","hrTotalVehicleDistance":5000,{charging}}}'


def _frame(vid: str, time: int) -> str:
    reading = f'"label":"soc","time":{time},"value":5'
    return f'{{"type":"vehicles","payload":{{"vid":"{vid}",{reading}}}}}'


def _state(time: str) -> str:
    return json.dumps({BUS: {"soc": {"time": "@", "value": 5}}}).replace("@", time)


def _http(status: str, body: str, media_type: str = "application/json") -> bytes:
    length = f"Content-Length: {len(body.encode())}\r\nConnection: close"
    return f"HTTP/1.1 {status}\r\nContent-Type: {media_type}\r\n{length}\r\n\r\n{body}".encode()
