"""One websocket connection to the live stream: its reader, its writer, its end.

Owns the socket from the accepted handshake on, the bounded outbox (overflow policy: disconnect, as
a vendor does with a slow reader) and the ways in which a connection can end. Frames come from
`LiveStream`; this module does not know their meaning.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

import trio
from wsproto.connection import ConnectionState
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, TextMessage
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from simulator.frames import Frame, FrameKind, control_frame, error_frame
from simulator.subscription import Command, InvalidMessage, Subscription, read_message

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from wsproto import WSConnection

    from simulator.stream import LiveStream

MAX_MESSAGE_CHARACTERS: Final = 8 * 1024 * 1024
CLOSE_SECONDS: Final = 1.0  # for the peer's half of the closing handshake
_CHUNK_BYTES: Final = 65_536
_GOING_AWAY: Final = 1001
_TOO_BIG: Final = 1009


class Ending(StrEnum):
    """Why a connection ended."""

    CLIENT_CLOSED = "client_closed"
    CLIENT_GONE = "client_gone"
    CLOSED_BY_FAULT = "closed_by_fault"
    CUT_BY_FAULT = "cut_by_fault"
    SLOW_READER = "slow_reader"
    MESSAGE_TOO_BIG = "message_too_big"
    SHUTDOWN = "shutdown"


_WITH_HANDSHAKE: Final = {
    Ending.CLIENT_CLOSED: 1000,
    Ending.CLOSED_BY_FAULT: _GOING_AWAY,
    Ending.SHUTDOWN: _GOING_AWAY,
    Ending.MESSAGE_TOO_BIG: _TOO_BIG,
}


class StreamSession:
    """One session. `run` it once: it returns when the connection is over; `ending` says why.

    `deliver` never blocks. A write that takes longer than `write_seconds`, or an outbox of more
    than `max_outbox_bytes`, ends the session as a slow reader.
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        protocol: WSConnection,
        live: LiveStream,
        *,
        write_seconds: float,
        max_outbox_bytes: int,
    ) -> None:
        self._stream = stream
        self._protocol = protocol
        self._live = live
        self._write_seconds = write_seconds
        self._max_outbox_bytes = max_outbox_bytes
        self._outbox: list[Frame] = []
        self._outbox_bytes = 0
        self._wake = trio.Event()
        self._scope = trio.CancelScope()
        self._message = ""
        self._asked: dict[str, object] = {}
        self._subscriptions = 0
        self._is_amid_frame = False
        self.disconnect_at = float("inf")  # elapsed seconds; a fault plans the end and its kind
        self.planned_ending = Ending.CLOSED_BY_FAULT
        self.ending: Ending | None = None
        self.frames_written = 0

    # From the fleet

    def deliver(self, frame: Frame) -> None:
        """Queue one frame. After `flush` the writer sends all queued frames at once."""
        if self.ending is not None:
            return
        self._outbox.append(frame)
        self._outbox_bytes += len(frame.data)
        if self._outbox_bytes > self._max_outbox_bytes:
            self.end(Ending.SLOW_READER)

    def flush(self) -> None:
        if self._outbox:
            self._wake.set()

    def end(self, ending: Ending) -> None:
        """End the session for this reason; the first reason counts.

        If it ends with a closing handshake, the outbox is sent before that.
        """
        if self.ending is not None:
            return
        self.ending = ending
        if ending in _WITH_HANDSHAKE:
            self._wake.set()
        else:
            self._scope.cancel()

    # The connection's life

    async def run(self, leftover: bytes) -> None:
        """Serve the session until it ends.

        `leftover` are bytes that came behind the handshake. When cancelled from outside, a closing
        handshake is done first.
        """
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write)
                    await self._read(leftover, nursery)
        finally:
            self._live.unsubscribe(self)
            self._live.discarded += len(self._outbox)
            self.ending = self.ending or Ending.SHUTDOWN
            await self._close()

    async def _close(self) -> None:
        """Close the connection. Shielded and bounded: at most a second, also during a shutdown."""
        with trio.move_on_after(CLOSE_SECONDS, shield=True):
            # A close frame behind half a frame would be read as its payload.
            if self.ending in _WITH_HANDSHAKE and not self._is_amid_frame:
                await self._say_goodbye(_WITH_HANDSHAKE[self.ending])
        await trio.aclose_forcefully(self._stream)

    async def _say_goodbye(self, code: int) -> None:
        """Send our half of the closing handshake and wait for the peer's.

        After that the server closes the socket (RFC 6455 §7.1.1).
        """
        try:
            await self._stream.send_all(self._protocol.send(CloseConnection(code=code)))
            while self._protocol.state is not ConnectionState.CLOSED:
                data = await self._stream.receive_some(_CHUNK_BYTES)
                if not data:
                    return
                self._protocol.receive_data(bytes(data))
                list(self._protocol.events())
        except (
            trio.BrokenResourceError,
            trio.ClosedResourceError,
            LocalProtocolError,
            RemoteProtocolError,
        ):
            return

    # Writing

    async def _write(self) -> None:
        """Send all queued frames at once, at each flush.

        Waits for the next flush without a deadline: an idle stream is normal.
        """
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            batch, self._outbox, self._outbox_bytes = self._outbox, [], 0
            if not await self._send(b"".join(frame.data for frame in batch)):
                self._live.discarded += len(batch)
                break
            self._live.account(batch)
            self.frames_written += len(batch)
            if self.ending is not None:
                break
        self._scope.cancel()

    async def _send(self, data: bytes) -> bool:
        self._is_amid_frame = True
        try:
            with trio.fail_after(self._write_seconds):
                await self._stream.send_all(data)
        except trio.TooSlowError:
            self.end(Ending.SLOW_READER)
            return False
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.end(Ending.CLIENT_GONE)
            return False
        self._is_amid_frame = False
        return True

    # Reading

    async def _read(self, leftover: bytes, nursery: trio.Nursery) -> None:
        """Read messages until the client is gone.

        No deadline: a client that only listens sends nothing.
        """
        data = leftover
        while self.ending is None:
            try:
                self._protocol.receive_data(data)
                for event in self._protocol.events():
                    self._handle_event(event, nursery)
                data = bytes(await self._stream.receive_some(_CHUNK_BYTES))
            except (trio.BrokenResourceError, trio.ClosedResourceError, RemoteProtocolError):
                data = b""
            if not data:
                self.end(Ending.CLIENT_GONE)

    def _handle_event(self, event: Event, nursery: trio.Nursery) -> None:
        match event:
            case TextMessage():
                self._message += event.data
                if len(self._message) > MAX_MESSAGE_CHARACTERS:
                    self.end(Ending.MESSAGE_TOO_BIG)
                elif event.message_finished:
                    text, self._message = self._message, ""
                    self._handle_message(text, nursery)
            case BytesMessage():
                self._enqueue(error_frame("text frames only"))
            case Ping():
                self._enqueue(Frame(self._protocol.send(event.response()), FrameKind.CONTROL))
            case CloseConnection():
                self.end(Ending.CLIENT_CLOSED)
            case _:
                pass

    def _enqueue(self, frame: Frame) -> None:
        self.deliver(frame)
        self._wake.set()

    def _handle_message(self, text: str, nursery: trio.Nursery) -> None:
        match read_message(text, self._live.roster.vehicles):
            case InvalidMessage(message, details):
                self._enqueue(error_frame(message, **details))
            case Command("acl"):
                self._enqueue(
                    control_frame(
                        {"type": "acl", "payload": {"vehicles": list(self._live.roster.vehicles)}}
                    )
                )
            case Command():
                self._enqueue(control_frame(self._asked))
            case Subscription(query, vehicles, unknown):
                self._asked = query
                self._enqueue(control_frame(query))
                if unknown:
                    self._enqueue(error_frame("not authorised", vids=list(unknown)))
                if vehicles is not None:
                    self._subscriptions += 1
                    nursery.start_soon(self._authorise, vehicles, self._subscriptions)

    async def _authorise(self, vehicles: Mapping[str, Iterable[str]], number: int) -> None:
        """Subscribe a moment after the echo; a newer subscription replaces one that still waits."""
        await trio.sleep(self._live.tenant.authorisation_delay_seconds)
        if number == self._subscriptions and self.ending is None:
            self._live.subscribe(self, vehicles)
