"""Which files a frame passes, and how often a request waits for PostgreSQL, in a running service.

    python -m tests.processes.passage [CHECKOUT]

The service may be of another checkout: it is asked over its sockets only, and its files are traced
by tests/processes/traced.py. The vendor is a socket that sends one frame at a time.

A file is counted if one of its functions runs between the sending of a frame and the log record
`telematics_update_accepted`, which follows the commit, *for each of several frames*. So what else
runs now and then, such as a heartbeat, is not counted. Round trips are the fewest of several
requests, for the same reason.
"""

from __future__ import annotations

import sys
import tempfile
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson
import trio

from runtime.logs import configure_logging
from tests.postgres import running_postgres
from tests.processes.child import PATIENCE_SECONDS, open_child
from tests.processes.shard import PREFIX, Shard, open_shard
from tests.providers.servers import websocket_server
from tests.storage.proxy import open_proxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from trio_websocket import WebSocketConnection, WebSocketRequest

    from tests.storage.proxy import Proxy

FRAMES: Final = 8
REQUESTS: Final = 20
WORKSPACE: Final = "harbour"
BUS: Final = "bus_1"
_ROOT: Final = Path(__file__).resolve().parents[2]
_ACCEPTED: Final = "telematics_update_accepted"
_SECRET: Final = "LASTHEARD_SECRET_PASSAGE"
# Apart from each other by no round number, so that no regular task meets every frame.
_PAUSE_SECONDS: Final = 0.37
_FIRST_MS: Final = 1_767_225_600_000


class Passage(NamedTuple):
    """`files` in the order in which a frame reached them, `round_trips` by request."""

    files: Sequence[str]
    round_trips: dict[str, int]

    def lines(self) -> Iterator[str]:
        yield f"files a frame passes from socket to commit: {len(self.files)}"
        yield from (f"  {name}" for name in self.files)
        for name, count in self.round_trips.items():
            yield f"round trips of {name}: {count}"


class Vendor:
    """The provider's side of one stream."""

    def __init__(self) -> None:
        self._subscribed = trio.Event()
        self._connection: WebSocketConnection | None = None
        self._sent = 0

    async def serve(self, request: WebSocketRequest) -> None:
        self._connection = await request.accept()
        await self._connection.get_message()
        self._subscribed.set()
        await trio.sleep_forever()

    async def wait_subscribed(self) -> None:
        with trio.fail_after(PATIENCE_SECONDS):
            await self._subscribed.wait()

    async def send_frame(self) -> None:
        """Send a value that is newer than the last."""
        assert self._connection is not None
        self._sent += 1
        point = {
            "vid": BUS,
            "label": "soc",
            "time": _FIRST_MS + self._sent * 1_000,
            "value": 50.0 + self._sent,
        }
        await self._connection.send_message(
            orjson.dumps({"type": "vehicles", "payload": point}).decode()
        )


async def find_passage(dsn: str, checkout: Path, frames: int = FRAMES) -> Passage:
    """Run the checkout's service on this empty database. Raises AssertionError if it fails."""
    with tempfile.TemporaryDirectory(prefix="lastheard-passage-") as folder:
        trace = Path(folder) / "trace"
        vendor = Vendor()
        async with (
            websocket_server(vendor.serve) as address,
            open_proxy(dsn) as proxy,
            open_service(checkout, proxy.dsn, trace) as shard,
        ):
            await configure(shard, address)
            await vendor.wait_subscribed()
            spans = [await _pass_frame(shard, vendor) for _ in range(frames)]
            round_trips = await _count_round_trips(shard, proxy)
        return Passage(files_in_every(spans, trace.read_text(encoding="utf-8")), round_trips)


@asynccontextmanager
async def open_service(checkout: Path, dsn: str, trace: Path) -> AsyncIterator[Shard]:
    """The checkout's service, its schema migrated and a key made by its own commands."""
    run = (sys.executable, str(_ROOT / "tests/processes/traced.py"), str(checkout))
    await _run(*run, "", "migrate", dsn=dsn)
    scopes = [part for scope in ("read", "control") for part in ("--scope", scope)]
    key = await _run(*run, "", "token", "create", "passage", *scopes, dsn=dsn)
    settings = {"secret_passage": "s3cret", "stream_window_seconds": "0.1"}
    async with open_shard(dsn, key.strip(), command=(*run, str(trace)), **settings) as shard:
        await shard.wait_ready()
        yield shard


async def _run(*command: str, dsn: str) -> str:
    """What a command prints, which must succeed."""
    async with open_child(*command, environment={"LASTHEARD_DSN": dsn}) as child:
        assert await child.wait_ended() == 0, child.tail()
        return child.out


async def configure(shard: Shard, address: str) -> None:
    """One workspace with one stream to the vendor, and one vehicle on it."""
    path = f"/workspaces/{WORKSPACE}"
    await _send(shard, "PUT", path, name="Harbour", active=True, poll_interval_seconds=3600)
    await _send(
        shard,
        "PUT",
        f"{path}/providers/live",
        provider_type="viriciti",
        transport="stream",
        base_url=address,
        credential=f"env:{_SECRET}",
    )
    bus = {
        "device_id": BUS,
        "provider_id": "live",
        "external_id": BUS,
        "vehicle_id": "1",
        "vehicle_name": "Bus 1",
    }
    await _send(shard, "POST", f"{path}/devices/import", devices=[bus])


async def _send(shard: Shard, method: str, path: str, **body: Any) -> None:
    answer = await shard.client.request(method, PREFIX + path, json=body)
    assert answer.is_success, answer.text


async def _pass_frame(shard: Shard, vendor: Vendor) -> tuple[int, int]:
    """When a frame was sent, and when the log said that its update is stored, in nanoseconds."""
    await trio.sleep(_PAUSE_SECONDS)
    accepted = len(shard.child.events(_ACCEPTED))
    began = time.monotonic_ns()
    await vendor.send_frame()
    await shard.child.wait_until(
        lambda: len(shard.child.events(_ACCEPTED)) > accepted, "the frame's update is stored"
    )
    return began, time.monotonic_ns()


def files_in_every(spans: Sequence[tuple[int, int]], trace: str) -> list[str]:
    """The files that occur in each span, in the order of the one with the fewest others."""
    entries = [
        (int(at), name) for at, _, name in (line.partition(" ") for line in trace.splitlines())
    ]
    found = [
        list(dict.fromkeys(name for at, name in entries if began <= at <= ended))
        for began, ended in spans
    ]
    return [name for name in min(found, key=len) if all(name in names for names in found)]


async def _count_round_trips(shard: Shard, proxy: Proxy) -> dict[str, int]:
    paths = {"a health request": "health", "a page of snapshots": "snapshots"}
    return {
        name: min([await _count(shard, proxy, path) for _ in range(REQUESTS)])
        for name, path in paths.items()
    }


async def _count(shard: Shard, proxy: Proxy, path: str) -> int:
    before = proxy.round_trips
    answer = await shard.get(f"{PREFIX}/workspaces/{WORKSPACE}/{path}")
    assert answer.status_code == 200, answer.text
    return proxy.round_trips - before


def measure(checkout: Path) -> Passage:
    """The same with a PostgreSQL of its own. For synchronous code."""
    with running_postgres() as dsn:
        return trio.run(find_passage, dsn, checkout)


if __name__ == "__main__":
    configure_logging(level="warning")
    for line in measure(Path(sys.argv[1]) if len(sys.argv) > 1 else _ROOT).lines():
        print(line)
