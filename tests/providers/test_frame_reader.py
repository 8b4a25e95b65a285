"""Frames are read in bulk, and not otherwise than the library reads them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wsproto import ConnectionType
from wsproto.connection import Connection
from wsproto.events import CloseConnection

from providers.websocket_frames import FRAMES_AT_ONCE, MAX_IDLE_FRAMES, FrameReader
from tests.providers.frame_streams import (
    FIN,
    MAX_SIZE,
    PING,
    PONG,
    Read,
    as_frame,
    byte_streams,
    hear,
    new_wire,
    read_with_wsproto,
    text,
)

if TYPE_CHECKING:
    from collections.abc import Iterable


def read_in_bulk(pieces: Iterable[bytes], frames_at_once: int = FRAMES_AT_ONCE) -> Read:
    """Read as MessageStream does."""
    reader = FrameReader(new_wire(), max_message_size=MAX_SIZE, frames_at_once=frames_at_once)
    messages: list[bytes] = []
    server, answered = Connection(ConnectionType.SERVER), []
    for piece in pieces:
        reader.feed(piece, 0.0)
        while not reader.is_drained:
            messages += reader.take()
            heard, _ = hear(server, reader.answers())
            answered += heard
        if reader.end is not None:
            break
    end = None if reader.end is None else int(reader.end.code)
    return Read(messages, list(reader.pongs), answered, end)


@given(byte_streams(), st.sampled_from([1, 2, 5, FRAMES_AT_ONCE]))
@settings(deadline=None, max_examples=400)
def test_any_bytes_in_any_pieces_are_read_as_by_wsproto(
    pieces: list[bytes], frames_at_once: int
) -> None:
    assert read_in_bulk(pieces, frames_at_once) == read_with_wsproto(pieces)


@given(st.lists(st.binary(max_size=40), max_size=20))
@settings(deadline=None, max_examples=200)
def test_random_bytes_are_read_as_by_wsproto(pieces: list[bytes]) -> None:
    assert read_in_bulk(pieces) == read_with_wsproto(pieces)


def reader_of(data: bytes) -> FrameReader:
    reader = FrameReader(new_wire())
    reader.feed(data, 0.0)
    return reader


def test_a_pass_is_bounded_and_nothing_is_left_out() -> None:
    sent = [b"%d" % number for number in range(3 * FRAMES_AT_ONCE)]
    reader, passes = reader_of(b"".join(map(text, sent))), []
    while not reader.is_drained:
        passes.append(reader.take())
    assert [len(messages) for messages in passes] == [*[FRAMES_AT_ONCE] * 3, 0]
    assert [message for messages in passes for message in messages] == sent


@pytest.mark.parametrize("opcode", [PING, PONG])
def test_frames_without_messages_count_for_a_pass_too(opcode: int) -> None:
    reader = reader_of(as_frame(FIN | opcode, b"") * 2 * FRAMES_AT_ONCE)
    reader.take()
    assert not reader.is_drained


@pytest.mark.parametrize("opcode", [PING, PONG])
def test_a_flood_ends_the_connection_and_a_trickle_does_not(opcode: int) -> None:
    flood = reader_of(as_frame(FIN | opcode, b"") * (MAX_IDLE_FRAMES + 1))
    while not flood.is_drained:
        flood.take()
    assert (flood.is_flooded, flood.end and flood.end.code) == (True, 1008)
    trickle = FrameReader(new_wire())
    for second in range(100):
        trickle.feed(as_frame(FIN | opcode, b"") * 100, float(second))
        while not trickle.is_drained:
            trickle.take()
    assert trickle.end is None


def test_messages_before_an_error_are_handed_on() -> None:
    reader = reader_of(text(b"good") + b"\xff\xff" + text(b"never read"))
    assert reader.take() == [b"good"]
    assert reader.is_drained
    assert hear(Connection(ConnectionType.SERVER), reader.answers()) == ([], 1002)
    reader.feed(text(b"behind the end"), 1.0)
    assert reader.take() == []


def test_a_message_within_a_message_is_an_error() -> None:
    reader = reader_of(as_frame(0x01, b"begun") + text(b"{}"))
    assert reader.take() == []
    assert reader.end is not None
    assert reader.end.code == 1002


def test_a_close_frame_is_answered_with_its_code() -> None:
    reader = reader_of(as_frame(0x88, (1001).to_bytes(2, "big") + b"maintenance"))
    assert reader.take() == []
    assert reader.end is not None
    assert (reader.end.code, reader.end.reason) == (1001, "maintenance")
    assert hear(Connection(ConnectionType.SERVER), reader.answers()) == ([], 1001)


def test_a_ping_behind_our_close_frame_gets_no_answer() -> None:
    reader = FrameReader(new_wire())
    reader.encode(CloseConnection(1000))
    reader.feed(as_frame(FIN | PING, b"?"), 0.0)
    reader.take()
    assert reader.answers() == b""
    assert reader.end is None


def test_an_unfinished_frame_in_small_pieces_costs_little() -> None:
    """Else a server could make each of its packets cost as much as a message of 1 MB."""
    reader = FrameReader(new_wire())
    reader.feed(b"\x81\x7f" + (1_000_000).to_bytes(8, "big"), 0.0)
    began = time.process_time()
    for _ in range(10_000):
        reader.take()
        reader.feed(b"x", 0.0)
    assert time.process_time() - began < 5
    assert reader.end is None
