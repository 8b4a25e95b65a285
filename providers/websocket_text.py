"""Text messages with bytes that are not UTF-8: one costs itself, not the connection.

The standard (RFC 6455, 8.1) and the library (wsproto 1.3) end the connection at such a byte. But
one vehicle's name in Latin-1 would then cost the whole fleet its stream, again after each
reconnect. So the message is handed on with each wrong byte as half a surrogate pair, which no
reader of JSON takes: the frame is counted as malformed, and its vehicle can still be told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wsproto.frame_protocol import CloseReason, Frame, MessageDecoder, ParseFailed

if TYPE_CHECKING:
    from wsproto.connection import Connection


class TolerantDecoder(MessageDecoder):
    """A decoder that takes any bytes as text. A message in UTF-8 costs nothing more."""

    def process_frame(self, frame: Frame) -> Frame:
        """Return the frame with its text. Raises ParseFailed as the library does otherwise."""
        try:
            return super().process_frame(frame)
        except ParseFailed as failure:
            if failure.code is not CloseReason.INVALID_FRAME_PAYLOAD_DATA:
                raise
            return self._take_anyway(frame)

    def _take_anyway(self, frame: Frame) -> Frame:
        """Decode once more what was refused; the decoder still has what it had before."""
        decoder, opcode = self.decoder, self.opcode
        assert decoder is not None  # noqa: S101 the failure was its own
        assert opcode is not None  # noqa: S101
        decoder.errors = "surrogateescape"  # also for the other parts of this message
        finished = frame.frame_finished and frame.message_finished
        text = decoder.decode(bytes(frame.payload), finished)  # type: ignore[arg-type]
        if finished:
            self.opcode = self.decoder = None
        return Frame(opcode, text, frame.frame_finished, finished)


def take_any_text(connection: Connection) -> None:
    """Let a connection take text that is not UTF-8. Call it before its first frame is read."""
    connection._proto._message_decoder = TolerantDecoder()
