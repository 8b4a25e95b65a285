"""Byte streams of a WebSocket server, whole and damaged, and how the library alone reads them."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from hypothesis import strategies as st
from wsproto import ConnectionType
from wsproto.connection import Connection, ConnectionState
from wsproto.events import CloseConnection, Message, Ping, Pong

from providers.websocket_text import take_any_text

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_SIZE = 70_000  # of a message in these tests; more than that of a plain frame
TEXT, BINARY, PART, CLOSE, PING, PONG = 0x1, 0x2, 0x0, 0x8, 0x9, 0xA
FIN = 0x80


class Read(NamedTuple):
    """What a client makes of a byte stream. `answered` are the payloads of its pongs."""

    messages: list[bytes]
    pongs: list[bytes]
    answered: list[bytes]
    end: int | None


def as_frame(first: int, payload: bytes) -> bytes:
    """A frame with the shortest form of its length, not masked."""
    size = len(payload)
    if size < 126:
        return bytes([first, size]) + payload
    if size < 65_536:
        return bytes([first, 126]) + size.to_bytes(2, "big") + payload
    return bytes([first, 127]) + size.to_bytes(8, "big") + payload


def text(payload: bytes) -> bytes:
    """A text message in a single frame."""
    return as_frame(FIN | TEXT, payload)


_json = st.just(b'{"type":"vehicles","payload":{"vid":"bus_1","label":"soc","value":5}}')
_sizes = st.sampled_from([0, 1, 2, 124, 125, 126, 127, 128, 300, 40_000, 65_535, 65_536])
_sized = st.builds(lambda size: (b"0123456789" * (size // 10 + 1))[:size], _sizes)
_payloads = st.one_of(_json, st.binary(max_size=20), _sized)
_short = st.binary(max_size=125)
_whole = st.builds(text, _payloads)
_control = st.builds(as_frame, st.sampled_from([FIN | PING, FIN | PONG]), _short)


@st.composite
def _in_parts(draw: st.DrawFn) -> bytes:
    """A message of several frames, perhaps with pings between them."""
    frames = [as_frame(draw(st.sampled_from([TEXT, BINARY])), draw(_payloads))]
    more = st.one_of(_control, st.builds(as_frame, st.just(PART), _payloads))
    frames += draw(st.lists(more, max_size=3))
    return b"".join(frames) + as_frame(FIN | PART, draw(_payloads))


_codes = st.sampled_from([0, 999, 1000, 1001, 1005, 1006, 1007, 1011, 1015, 2000, 3000, 4999, 5000])
_closes = st.builds(
    lambda code, reason: as_frame(FIN | CLOSE, code.to_bytes(2, "big") + reason),
    _codes,
    st.sampled_from([b"", b"maintenance", b"\xff", "grün".encode()]),
)
_damaged = st.one_of(
    st.binary(min_size=1, max_size=12),  # bytes that are no frame, mostly
    st.builds(as_frame, st.integers(0, 255), _short),  # any opcode, reserved bits, unfinished
    st.builds(lambda data: b"\x81\x85abcd" + data[:5].ljust(5), _short),  # masked
    st.just(b"\x81\x7e\x00\x05hello"),  # a length in a longer form than it needs
    st.just(b"\x81\x7f" + (200).to_bytes(8, "big") + b"x" * 200),
    st.just(b"\x81\x7f\xff" + b"\x00" * 7),  # a length without end
    st.just(as_frame(FIN | PING, b"x" * 126)),  # a control frame that is too long
    st.just(as_frame(PING, b"in parts")),
    st.just(as_frame(FIN | PART, b"of nothing")),
    st.just(as_frame(TEXT, b"a part, and then another message") + text(b"{}")),
    st.just(as_frame(FIN | CLOSE, b"x")),
    st.just(as_frame(FIN | CLOSE, b"")),
)
_frames = st.one_of(_whole, _whole, _whole, _control, _in_parts(), st.just(as_frame(0x82, b"\xff")))


@st.composite
def byte_streams(draw: st.DrawFn) -> list[bytes]:
    """The pieces in which a stream arrives: good frames, then perhaps what ends it, and more."""
    frames = draw(st.lists(_frames, max_size=12))
    frames += draw(st.lists(st.one_of(_damaged, _closes), max_size=1))
    frames += draw(st.lists(_frames, max_size=2))
    data = b"".join(frames)
    cuts = draw(st.lists(st.integers(0, len(data)), max_size=12))
    if draw(st.booleans()) and len(data) <= 300:
        cuts = list(range(len(data)))  # byte by byte
    places = sorted({0, len(data), *cuts})
    return [data[begin:end] for begin, end in pairwise(places)]


def new_wire() -> Connection:
    """An open client's connection of the library, as after a handshake."""
    wire = Connection(ConnectionType.CLIENT)
    take_any_text(wire)
    return wire


def read_with_wsproto(pieces: Iterable[bytes]) -> Read:
    """Read with the library's protocol alone, as trio-websocket uses it."""
    wire, read, parts, size = new_wire(), Read([], [], [], None), [], 0
    for piece in pieces:
        wire.receive_data(piece)
        for event in wire.events():
            if isinstance(event, Message):
                size += len(event.data)
                parts.append(_as_bytes(event.data))
                if size > MAX_SIZE:
                    return read._replace(end=1009)
                if event.message_finished:
                    read.messages.append(b"".join(parts))
                    parts, size = [], 0
            elif isinstance(event, Ping):
                read.answered.append(bytes(event.payload))
            elif isinstance(event, Pong):
                read.pongs.append(bytes(event.payload))
            elif isinstance(event, CloseConnection):
                return read._replace(end=int(event.code))
    assert wire.state is ConnectionState.OPEN
    return read


def _as_bytes(data: str | bytes) -> bytes:
    return data.encode("utf-8", "surrogateescape") if isinstance(data, str) else bytes(data)


def hear(wire: Connection, data: bytes) -> tuple[list[bytes], int | None]:
    """What a server hears of a client's bytes: the payloads of pongs, and its close code."""
    wire.receive_data(data)
    pongs, code = [], None
    for event in wire.events():
        if isinstance(event, Pong):
            pongs.append(bytes(event.payload))
        elif isinstance(event, CloseConnection):
            code = int(event.code)
    return pongs, code
