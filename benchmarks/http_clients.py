"""Clients that send a load to `POST /ingest` as fast as they are answered, in one process.

They use little CPU while they send: bodies are made beforehand, sockets are plain ones that stay
open, and answers are read after the time has been taken. Each client has devices of its own and
sends their updates in order. They begin at the parent's word. `python -m benchmarks.http_clients
PORT KEY UPDATES DEVICES BATCH CLIENTS SIZE`; SIZE devices are one workspace each, or 0: all.
"""

from __future__ import annotations

import selectors
import socket
import sys
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson

from benchmarks.load import Load, workspace_of
from benchmarks.names import PROVIDER
from benchmarks.workers import say

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.load import Update

PATH = "/api/telematics-mvp/ingest"
ANSWER_SECONDS = 30.0
CHUNK = 1 << 20
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class KeepAliveClient:
    """One connection: a request is sent when the one before it was answered."""

    def __init__(self, port: int, requests: Sequence[bytes]) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=ANSWER_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.answers: list[bytes] = []  # bodies
        self._left = iter(requests)
        self._unread = bytearray()

    def send_next(self) -> bool:
        """Send the next request; return False if there is none."""
        request = next(self._left, None)
        if request is not None:
            self.socket.sendall(request)
        return request is not None

    def receive(self) -> bool:
        """Read what is there; return whether the answer is complete. Raises RuntimeError."""
        piece = self.socket.recv(CHUNK)
        if not piece:
            raise RuntimeError(f"the service closed the connection after {self._unread[:500]!r}")
        self._unread += piece
        end = self._unread.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = bytes(self._unread[:end]).lower()
        if not head.startswith(b"http/1.1 200 "):
            raise RuntimeError(f"the service answered {bytes(self._unread[:1000])!r}")
        length = int(head.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0])
        if len(self._unread) < end + 4 + length:
            return False
        self.answers.append(bytes(self._unread[end + 4 :]))
        self._unread.clear()
        return True


def send_all(clients: Sequence[KeepAliveClient]) -> None:
    """Send every request of every client, and wait for all answers. Raises RuntimeError."""
    with selectors.DefaultSelector() as selector:
        for client in clients:
            if client.send_next():
                selector.register(client.socket, selectors.EVENT_READ, client)
        while selector.get_map():
            ready = selector.select(ANSWER_SECONDS)
            if not ready:
                raise RuntimeError(f"no answer came for {ANSWER_SECONDS:g} s")
            for key, _ in ready:
                if key.data.receive() and not key.data.send_next():
                    selector.unregister(key.fileobj)


def make_requests(
    load: Load, key: str, batch: int, clients: int, size: int = 0
) -> list[list[bytes]]:
    """Return the requests of each client. No two of them have a device or a workspace in common.

    With a `size` of 0 all devices are in one workspace.
    """
    shares: list[list[Update]] = [[] for _ in range(clients)]
    client_of = {
        name: place // max(size, 1) % clients for place, name in enumerate(load.device_ids())
    }
    for update in load.make():
        shares[client_of[update.device_id]].append(update)
    return [[_to_request(part, key, size) for part in _cut(share, batch)] for share in shares]


def _cut(updates: Sequence[Update], batch: int) -> Iterator[Sequence[Update]]:
    for start in range(0, len(updates), batch):
        yield updates[start : start + batch]


def _to_request(updates: Sequence[Update], key: str, size: int) -> bytes:
    body = orjson.dumps({"updates": [_to_item(update, size) for update in updates]})
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _to_item(update: Update, size: int) -> dict[str, Any]:
    return {
        "workspace_id": workspace_of(update.device_id, size),
        "provider_id": PROVIDER,
        "device_id": update.device_id,
        "readings": [
            {"signal": signal, "value": value, "observed_at": _at(at)}
            for signal, value, at in update.readings
        ],
    }


def _at(milliseconds: int) -> str:
    at = _EPOCH + timedelta(milliseconds=milliseconds)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def main(port: int, key: str, load: Load, batch: int, count: int, size: int) -> None:
    """Connect, tell the parent, send everything when it answers, and tell what came back."""
    shares = make_requests(load, key, batch, count, size)
    clients = [KeepAliveClient(port, requests) for requests in shares]
    say(ready=True)
    sys.stdin.readline()
    began, cores = time.monotonic(), time.process_time()
    send_all(clients)
    seconds, cores = time.monotonic() - began, time.process_time() - cores
    results = [
        result["outcome"]
        for client in clients
        for answer in client.answers
        for result in orjson.loads(answer)["results"]
    ]
    say(seconds=seconds, cores=cores, outcomes=Counter(results))


if __name__ == "__main__":
    port, key, *numbers = sys.argv[1:]
    sizes = list(map(int, numbers))
    main(int(port), key, Load(*sizes[:2]), *sizes[2:])
