"""How long a socket has not been read empty: what the system holds for us, which no library counts.

A look asks the system how many bytes wait. Bytes that wait because we are slow are our backlog; a
provider that sends late leaves the socket empty in between. Never waits.
"""

from __future__ import annotations

import fcntl
import termios
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

_NO_BYTES = b"\0\0\0\0"


class SocketBacklog:
    """Since when each look at a socket has found bytes. Times are monotonic.

    One look that finds none ends the backlog. So the time is a lower bound: without a break we have
    been behind for at least so long.
    """

    def __init__(self, has_bytes: Callable[[], bool]) -> None:
        self._has_bytes = has_bytes
        self._since: float | None = None

    def look(self, now: float) -> float:
        """Look, and return for how many seconds each look has found bytes."""
        if not self._has_bytes():
            self._since = None
            return 0.0
        if self._since is None:
            self._since = now
        return now - self._since


def has_bytes_in(stream: trio.abc.Stream) -> Callable[[], bool]:
    """Return the look at the socket below a stream. A stream without a socket never has bytes."""
    below = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
    if not isinstance(below, trio.SocketStream):
        return lambda: False
    socket = below.socket

    def has_bytes() -> bool:
        descriptor = socket.fileno()  # -1 once it is closed
        return descriptor >= 0 and fcntl.ioctl(descriptor, termios.FIONREAD, _NO_BYTES) != _NO_BYTES

    return has_bytes
