"""An open WebSocket connection that is read in bulk: all messages of a received chunk at once.

Owns the stream after the opening handshake, its reads and its writes. One task reads; others may
send and ping meanwhile. Deadlines are the caller's, except that of the answers to the server.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import trio
from wsproto.events import CloseConnection, Ping, TextMessage

from providers.websocket_backlog import SocketBacklog, has_bytes_in
from providers.websocket_frames import FrameReader

if TYPE_CHECKING:
    from trio_websocket import CloseReason
    from wsproto.events import Event

    from providers.websocket_handshake import Opened

RECEIVE_BYTES: Final = 65_536
# The reader reads nothing while it sends a pong. A server that takes none of them for so long, but
# sends on, would else hold it for ever.
ANSWER_SECONDS: Final = 10.0
_NORMAL: Final = 1000


class StreamEnded(Exception):
    """The connection has ended, and why.

    `is_flooded` says that the server sent too many frames without a message.
    """

    def __init__(self, reason: CloseReason, *, is_flooded: bool) -> None:
        super().__init__(str(reason))
        self.reason = reason
        self.is_flooded = is_flooded


class MessageStream:
    """Messages of one connection. The server's pings are answered, and pongs found, by `receive`.

    So a reader must call it all the time. It must be one task; other methods may be called by
    others meanwhile.
    """

    def __init__(self, stream: trio.abc.Stream, opened: Opened) -> None:
        self._stream = stream
        self._reader = FrameReader(opened.wire)
        self._reader.feed(opened.received, trio.current_time())
        self._sending = trio.StrictFIFOLock()
        self._is_cut = False  # nothing may be sent any more
        self._pings: dict[
            bytes, trio.Event
        ] = {}  # by payload, in the order in which they were sent
        self._backlog = SocketBacklog(self._has_unread)
        self._has_bytes = has_bytes_in(stream)

    async def receive(self) -> list[bytes]:
        """Return the next messages, in order; at least one, at most FRAMES_AT_ONCE.

        Other tasks run in each call. Messages that came before the end are returned first; then it
        raises StreamEnded.
        """
        if not self._reader.is_drained:
            await trio.lowlevel.checkpoint()
        while True:
            messages = self._reader.take()
            await self._answer()
            if messages:
                return messages
            await self._read_on()

    async def _read_on(self) -> None:
        """Let other tasks run, and read the next bytes if no whole frame waits here."""
        if not self._reader.is_drained:
            await trio.lowlevel.checkpoint()
            return
        await self._check_open()
        try:
            data = await self._stream.receive_some(RECEIVE_BYTES)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            data = b""
        now = trio.current_time()
        self._backlog.look(now)
        if data:
            self._reader.feed(bytes(data), now)
        else:
            self._end()

    async def _answer(self) -> None:
        """Send what the server is due, and wake the pings whose pongs have come.

        If it cannot be sent within ANSWER_SECONDS, the connection has ended.
        """
        for payload in self._reader.pongs:
            self._note_pong(payload)
        self._reader.pongs.clear()
        answers = self._reader.answers()
        if self._reader.end is not None:
            self._wake_all()
        if answers:
            with trio.move_on_after(ANSWER_SECONDS) as scope:
                await self._send_bytes(answers)
            if scope.cancelled_caught:
                self._end()

    def _note_pong(self, payload: bytes) -> None:
        """Wake the ping with this payload and all earlier ones, which a server may skip."""
        if payload not in self._pings:
            return
        for sent in list(self._pings):
            self._pings.pop(sent).set()
            if sent == payload:
                return

    def _end(self) -> None:
        """Note that the connection has ended, and was not closed by a close frame."""
        self._is_cut = True
        self._reader.note_cut()
        self._wake_all()

    def _wake_all(self) -> None:
        """Wake every ping: no pong will come."""
        for event in self._pings.values():
            event.set()
        self._pings.clear()

    async def send(self, message: str) -> None:
        """Send a text message. Raises StreamEnded.

        If it is cancelled while it sends, the connection has ended.
        """
        await self._send(TextMessage(message))

    async def ping(self) -> None:
        """Make a round trip. Raises StreamEnded if the connection ends before the pong.

        Without a reader, or if no pong comes, it waits for ever: set a deadline. If it is cancelled
        while it sends, the connection has ended.
        """
        payload, ponged = os.urandom(4), trio.Event()
        self._pings[payload] = ponged
        try:
            await self._send(Ping(payload))
            await ponged.wait()
        finally:
            self._pings.pop(payload, None)
        await self._check_open()

    async def _send(self, event: Event) -> None:
        await self._check_open()
        if not await self._send_bytes(self._reader.encode(event)):
            await self._check_open()

    async def _check_open(self) -> None:
        """Raise StreamEnded if the connection has ended. A checkpoint only then."""
        if self._reader.end is not None:
            await trio.lowlevel.checkpoint()
            raise StreamEnded(self._reader.end, is_flooded=self._reader.is_flooded)

    async def _send_bytes(self, data: bytes) -> bool:
        """Send bytes; return False if the connection has ended.

        Cancelled or not, nothing follows a frame of which perhaps only a part was sent.
        """
        async with self._sending:
            if self._is_cut:
                return False
            try:
                await self._stream.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                self._end()
                return False
            except BaseException:
                self._end()
                raise
        return True

    async def say_goodbye(self) -> None:
        """Send a close frame and wait for the server's. Nothing else may be in use any more.

        Messages that come meanwhile are dropped. Does nothing if the connection has ended.
        """
        if self._reader.end is not None:
            return
        try:
            await self._send(CloseConnection(_NORMAL))
            while True:
                await self.receive()
        except StreamEnded:
            return

    def _has_unread(self) -> bool:
        return not self._reader.is_drained or self._has_bytes()

    def behind_seconds(self) -> float:
        """Return for how long bytes have waited to be read without a break, at least.

        Looks at the socket, so it costs a system call.
        """
        return self._backlog.look(trio.current_time())
