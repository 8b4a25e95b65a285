"""Text messages with bytes that are not UTF-8: one costs itself, not the connection.

The standard (RFC 6455, 8.1) and the library (wsproto 1.3) end the connection at such a byte. But
one vehicle's name in Latin-1 would then cost the whole fleet its stream, again after each
reconnect. So the message is handed on with each wrong byte as half a surrogate pair, which no
reader of JSON takes: the frame is counted as malformed, and its vehicle can still be told.

This replaces a private part of the library. Where another version of it has no such part, the
connection stays strict (docs/decisions/0027-text-frames-that-are-not-utf-8.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wsproto.frame_protocol import CloseReason, Frame, MessageDecoder, ParseFailed

if TYPE_CHECKING:
    from codecs import IncrementalDecoder

    from wsproto.connection import Connection
    from wsproto.frame_protocol import Opcode


class TolerantDecoder(MessageDecoder):
    """A decoder that takes any bytes as text. A message in UTF-8 costs nothing more."""

    def process_frame(self, frame: Frame) -> Frame:
        """Return the frame with its text. Raises ParseFailed as the library does otherwise."""
        try:
            return super().process_frame(frame)
        except ParseFailed as failure:
            decoder, opcode = self.decoder, self.opcode
            is_text = failure.code is CloseReason.INVALID_FRAME_PAYLOAD_DATA
            if not is_text or decoder is None or opcode is None:
                raise
            return self._take_anyway(frame, decoder, opcode)

    def _take_anyway(self, frame: Frame, decoder: IncrementalDecoder, opcode: Opcode) -> Frame:
        """Decode once more what was refused; the decoder still has what it had before."""
        decoder.errors = "surrogateescape"  # also for the other parts of this message
        finished = frame.frame_finished and frame.message_finished
        text = decoder.decode(bytes(frame.payload), finished)  # type: ignore[arg-type]
        if finished:
            self.opcode = self.decoder = None
        return Frame(opcode, text, frame.frame_finished, finished)


def take_any_text(connection: Connection) -> None:
    """Let a connection take text that is not UTF-8. Call it before its first frame is read."""
    protocol: Any = getattr(connection, "_proto", None)
    if isinstance(getattr(protocol, "_message_decoder", None), MessageDecoder):
        protocol._message_decoder = TolerantDecoder()
