"""Frames of an open WebSocket connection: bytes in, whole messages and answers out. No I/O.

Almost every frame of a stream is a whole text message in a single frame. Those are cut out of the
received bytes in one loop. Every other frame (parts, binary, pings, pongs, close, damaged ones)
goes through wsproto, one frame at a time, and wsproto's rules hold for it.

Owns the bounds on what a hostile server may send: the size of a message, the frames of one pass,
and the frames that complete no message. Must never wait.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from trio_websocket import CloseReason
from wsproto.connection import ConnectionState
from wsproto.events import CloseConnection, Message, Ping, Pong

if TYPE_CHECKING:
    from wsproto.connection import Connection
    from wsproto.events import Event

MAX_MESSAGE_SIZE: Final = 1024 * 1024
# Every other task of the process waits while a pass is read, and while its messages are interpreted
# and merged: about 5 µs for each, and five times that for a refused one.
FRAMES_AT_ONCE: Final = 128
# A message of the largest size in parts of 1 kB has 1,024 parts; and nobody pings a hundred times a
# second.
MAX_IDLE_FRAMES: Final = 2048
IDLE_FRAMES_PER_SECOND: Final = 100.0

_WHOLE_TEXT: Final = 0x81  # the first byte of a text message in a single frame
_SHORT, _TWO_BYTES, _EIGHT_BYTES = 125, 126, 127  # what the second byte says of the payload's size
_TOO_BIG: Final = 1009
_POLICY: Final = 1008
_CUT: Final = 1006  # the connection ended without a close frame


class FrameReader:
    """Cuts received bytes into messages.

    Use: `feed` what the socket gave, `take` until `is_drained`, and send what `answers` returns.
    After `end` is set, nothing is read any more. `end` is why the connection ended.
    """

    def __init__(
        self,
        wire: Connection,
        *,
        max_message_size: int = MAX_MESSAGE_SIZE,
        frames_at_once: int = FRAMES_AT_ONCE,
    ) -> None:
        """`wire` is a client's connection that was just opened and holds no bytes.

        `max_message_size` must be more than the 64 kB of a plain frame, whose size is not checked.
        """
        self._wire = wire
        self._max_message_size = max_message_size
        self._frames_at_once = frames_at_once
        self._data = b""
        self._at = 0  # where the next frame begins
        self._begun = b""  # the beginning of a frame's header that wsproto has already
        self._owed = 0  # bytes of the present frame that wsproto has yet to get
        self._parts: list[bytes] = []
        self._size = 0  # of the parts, as the library counts: characters of text
        self._is_open = False  # a message has begun whose last part has not come
        self._answers = bytearray()
        self._idle_left = float(MAX_IDLE_FRAMES)
        self._now = self._counted_at = 0.0
        self.is_drained = True  # no frame that has come whole waits to be taken
        self.is_flooded = False  # it ended because of too many frames without a message
        self.pongs: list[bytes] = []  # payloads, for the caller to take out
        self.end: CloseReason | None = None

    def feed(self, data: bytes, now: float) -> None:
        """Add what the socket gave. `now` is monotonic. Call it only while `is_drained`.

        What is kept of the bytes before is less than one plain frame: 64 kB.
        """
        if self.end is None:
            self._data = self._data[self._at :] + data
            self._at = 0
            self._now = now
            self.is_drained = False

    def take(self) -> list[bytes]:
        """Return the messages of the next `frames_at_once` frames, in order.

        Text that is not UTF-8 is handed on as it came (docs/decisions/0027).
        """
        messages: list[bytes] = []
        room = self._frames_at_once
        while room > 0 and not self.is_drained:
            if not (self._owed or self._begun or self._is_open):
                room -= self._take_plain(messages, room)
            room -= 1
            if room >= 0 and not self._take_other(messages):
                self._end_pass()
        return messages

    def _end_pass(self) -> None:
        """Note that everything that has come whole was taken."""
        self.is_drained = True
        if self.end is not None:
            self._data, self._at = b"", 0

    def _take_plain(self, messages: list[bytes], room: int) -> int:
        """Take whole text messages up to the first other or unfinished frame; return how many."""
        data, at, end = self._data, self._at, len(self._data)
        append = messages.append
        taken = 0
        while taken < room and at + 2 <= end and data[at] == _WHOLE_TEXT:
            size = data[at + 1]
            if size <= _SHORT:
                begin = at + 2
            elif size == _TWO_BYTES and at + 4 <= end:
                size = data[at + 2] << 8 | data[at + 3]
                begin = at + 4
                if size <= _SHORT:
                    break  # the short form had to be used: wsproto refuses it
            else:
                break  # larger, masked, or not all of its header has come
            if begin + size > end:
                break
            at = begin + size
            append(data[begin:at])
            taken += 1
        self._at = at
        return taken

    def _take_other(self, messages: list[bytes]) -> bool:
        """Hand the next frame to wsproto, or as much of it as is here.

        Return False if nothing is left to take: for more, bytes must come, or the connection ended.
        """
        head = self._data[self._at : self._at + 14]
        if not head or (not (self._owed or self._begun or self._is_open) and _is_unfinished(head)):
            return False
        if not self._owed:
            self._owed = _missing_of(self._begun, head)
            self._begun = b"" if self._owed else self._begun + head
        part = self._data[self._at : self._at + self._owed] if self._owed else head
        self._at += len(part)
        self._owed = max(0, self._owed - len(part))
        self._wire.receive_data(part)
        for event in self._wire.events():
            self._note(event, messages)
            if self.end is not None:
                return False
        return True

    def _note(self, event: Event, messages: list[bytes]) -> None:
        if isinstance(event, Message):
            self._add_part(event, messages)
        elif isinstance(event, Ping):
            self._count_idle()
            if self._wire.state is ConnectionState.OPEN:
                self._answers += self._wire.send(event.response())
        elif isinstance(event, Pong):
            self._count_idle()
            self.pongs.append(bytes(event.payload))
        elif isinstance(event, CloseConnection):
            self._note_close(event)

    def _add_part(self, event: Message[Any], messages: list[bytes]) -> None:
        data: str | bytes = event.data
        self._size += len(data)
        # Bytes that were not UTF-8 become again what they were.
        part = data if isinstance(data, bytes) else data.encode("utf-8", "surrogateescape")
        self._parts.append(part)
        self._is_open = not event.message_finished
        if self._size > self._max_message_size:
            self._fail(_TOO_BIG, f"Exceeded maximum message size: {self._max_message_size} bytes")
        elif event.message_finished:
            messages.append(b"".join(self._parts))
            self._parts, self._size = [], 0
        elif event.frame_finished:  # a frame that arrives in pieces counts once
            self._count_idle()

    def _note_close(self, event: CloseConnection) -> None:
        state = self._wire.state
        if state is ConnectionState.REMOTE_CLOSING:
            self._answers += self._wire.send(event.response())
        if state in (ConnectionState.REMOTE_CLOSING, ConnectionState.CLOSED):
            self.end = CloseReason(event.code, event.reason or None)
        else:  # wsproto found an error
            self._fail(event.code, event.reason or "")

    def _count_idle(self) -> None:
        refilled = self._idle_left + (self._now - self._counted_at) * IDLE_FRAMES_PER_SECOND
        self._idle_left = min(refilled, MAX_IDLE_FRAMES) - 1
        self._counted_at = self._now
        if self._idle_left < 0:
            self.is_flooded = True
            self._fail(_POLICY, "too many frames without a message")

    def _fail(self, code: int, reason: str) -> None:
        """End the connection because of what the server sent, and tell it."""
        if self._wire.state is ConnectionState.OPEN:
            self._answers += self._wire.send(CloseConnection(code=code, reason=reason))
        self.end = CloseReason(code, reason)

    def note_cut(self) -> None:
        """Note that the socket ended without a close frame. What came before can still be taken."""
        if self.end is None:
            self.end = CloseReason(_CUT, None)

    def encode(self, event: Event) -> bytes:
        """Return the bytes of an event that we send. Only while `end` is None."""
        return self._wire.send(event)

    def answers(self) -> bytes:
        """Return the bytes that are due to the server, pongs or a close frame, and forget them."""
        due = bytes(self._answers)
        self._answers.clear()
        return due


def _is_unfinished(head: bytes) -> bool:
    """Return whether the next frame is plain so far, and has to be waited for."""
    if head[0] != _WHOLE_TEXT:
        return len(head) < 2
    if len(head) < 2 or head[1] <= _SHORT:
        return True
    return head[1] == _TWO_BYTES and (len(head) < 4 or head[2:4] > b"\x00\x7d")


def _missing_of(begun: bytes, head: bytes) -> int:
    """Return how many bytes of a frame are yet to come after `begun`.

    Returns 0 while its header does not yet say it. `head` are the bytes behind `begun`.
    """
    header = begun + head
    if len(header) < 2:
        return 0
    kind = header[1] & 0x7F
    extra = {_TWO_BYTES: 2, _EIGHT_BYTES: 8}.get(kind, 0)
    if len(header) < 2 + extra:
        return 0
    size = int.from_bytes(header[2 : 2 + extra], "big") if extra else kind
    mask = 4 if header[1] & 0x80 else 0
    return 2 + extra + mask + size - len(begun)
