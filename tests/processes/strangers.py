"""Clients without a good key, as a process: `python -m tests.processes.strangers PORT SECONDS`.

From 127.0.0.2, 200 connections send requests with wrong keys as fast as they are answered; half of
them always use the same key. From 127.0.0.3, 1,100 connections send half a head and wait. Each
closed connection is opened again. Prints one JSON line of counts, and ends by itself.
"""

from __future__ import annotations

import json
import resource
import secrets
import sys
from collections import Counter
from contextlib import suppress
from typing import Final

import trio

WRONG_KEYS: Final = 200
HALF_OPEN: Final = 1100
PAUSE_SECONDS: Final = 0.05  # before a closed connection is opened again
SAME_KEY: Final = f"lh_{'0' * 16}_{'0' * 64}"


async def connect(source: str, port: int) -> trio.SocketStream:
    stream = trio.socket.socket()
    try:
        await stream.bind((source, 0))
        await stream.connect(("127.0.0.1", port))
    except BaseException:
        stream.close()
        raise
    return trio.SocketStream(stream)


async def send_wrong_keys(port: int, counts: Counter[str], *, same: bool) -> None:
    while True:
        with suppress(OSError, trio.BrokenResourceError):
            async with await connect("127.0.0.2", port) as stream:
                await _send_wrong_keys(stream, counts, same=same)
        await trio.sleep(PAUSE_SECONDS)


async def _send_wrong_keys(stream: trio.SocketStream, counts: Counter[str], *, same: bool) -> None:
    while True:
        key = SAME_KEY if same else f"lh_{secrets.token_hex(8)}_{secrets.token_hex(32)}"
        head = "GET /api/telematics-mvp/workspaces HTTP/1.1\r\nHost: a\r\n"
        head += f"Authorization: Bearer {key}\r\n\r\n"
        await stream.send_all(head.encode())
        answer = await stream.receive_some(65536)
        if not answer:
            return
        counts[answer[9:12].decode()] += 1


async def hold_half_open(port: int, counts: Counter[str]) -> None:
    while True:
        with suppress(OSError, trio.BrokenResourceError):
            async with await connect("127.0.0.3", port) as stream:
                counts["half_open"] += 1
                await stream.send_all(
                    b"GET /api/telematics-mvp/workspaces HTTP/1.1\r\nHost: a\r\nX-Slow: "
                )
                await stream.receive_some(1)  # until it is closed
        await trio.sleep(PAUSE_SECONDS)


async def run(port: int, seconds: float) -> Counter[str]:
    counts: Counter[str] = Counter()
    with trio.move_on_after(seconds):
        async with trio.open_nursery() as nursery:
            for number in range(WRONG_KEYS):
                nursery.start_soon(
                    lambda same: send_wrong_keys(port, counts, same=same), number % 2 == 0
                )
            for _ in range(HALF_OPEN):
                nursery.start_soon(hold_half_open, port, counts)
    return counts


if __name__ == "__main__":
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print(json.dumps(trio.run(run, int(sys.argv[1]), float(sys.argv[2]))), flush=True)
