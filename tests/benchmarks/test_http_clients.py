"""The clients of the benchmarks send every update once, in order, and take whole answers only."""

from __future__ import annotations

import socket
from contextlib import closing
from typing import TYPE_CHECKING

import orjson
import pytest

from benchmarks.http_clients import KeepAliveClient, make_requests, send_all
from benchmarks.load import Load

if TYPE_CHECKING:
    from collections.abc import Iterator

ANSWER = b"HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\n{}"


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def test_clients_share_no_device_and_keep_the_order() -> None:
    load = Load(120, 30)
    sent = []
    for requests in make_requests(load, "key", 7, 4):
        bodies = [orjson.loads(request.partition(b"\r\n\r\n")[2]) for request in requests]
        assert all(len(body["updates"]) <= 7 for body in bodies)
        sent.append([item for body in bodies for item in body["updates"]])
    devices = [{item["device_id"] for item in items} for items in sent]
    assert sum(map(len, devices)) == len(set().union(*devices)) == 30
    by_device = sorted(
        (item for items in sent for item in items), key=lambda i: str(i["device_id"])
    )
    wanted = sorted(load.make(), key=lambda update: update.device_id)
    assert [(item["device_id"], item["readings"][0]["value"]) for item in by_device] == [
        (update.device_id, update.readings[0][1]) for update in wanted
    ]


def test_clients_share_no_workspace_either() -> None:
    sent = [
        {
            item["workspace_id"]
            for request in requests
            for item in orjson.loads(request.partition(b"\r\n\r\n")[2])["updates"]
        }
        for requests in make_requests(Load(120, 30), "key", 5, 2, size=5)
    ]
    assert [len(names) for names in sent] == [3, 3]
    assert sent[0].isdisjoint(sent[1])


def test_the_next_request_waits_for_the_whole_answer(listening: socket.socket) -> None:
    client = KeepAliveClient(listening.getsockname()[1], [b"first", b"second"])
    with closing(client.socket), closing(listening.accept()[0]) as peer:
        assert client.send_next()
        for piece in (ANSWER[:9], ANSWER[9:-1]):
            peer.sendall(piece)
            assert not client.receive()
        assert peer.recv(100) == b"first"
        peer.sendall(ANSWER[-1:])
        assert client.receive()
        assert client.answers == [b"{}"]


def test_a_refusal_ends_the_run(listening: socket.socket) -> None:
    client = KeepAliveClient(listening.getsockname()[1], [b"first"])
    with closing(client.socket), closing(listening.accept()[0]) as peer:
        peer.sendall(b"HTTP/1.1 503 \r\nContent-Length: 2\r\n\r\n{}")
        with pytest.raises(RuntimeError, match="503"):
            send_all([client])
