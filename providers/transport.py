"""HTTP connections that are opened by the one dialler.

Owns the seam between httpx and runtime/dialling.py. httpx 0.28 takes no network backend, but
httpcore's pool below it does, so the pool that httpx made is replaced. It must never open a
connection in another way: no proxy, no Unix socket, no retry.
`tests/providers/test_transport_pins.py` holds what this relies on in both libraries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpcore
import httpx
import trio
from httpcore._backends.trio import TrioStream

from runtime.outbound import OutboundRefused

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable

    from httpcore import SOCKET_OPTION

    from runtime.dialling import Dialler


class DialledTransport(httpx.AsyncHTTPTransport):
    """httpx's own transport over a pool that gets every connection from the dialler.

    A request raises OutboundRefused for an address that must not be dialled.
    """

    def __init__(self, dialler: Dialler, ssl_context: ssl.SSLContext, limits: httpx.Limits) -> None:
        super().__init__(verify=ssl_context, limits=limits, trust_env=False)
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=ssl_context,
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            network_backend=_DialledBackend(dialler),
        )


class _DialledBackend(httpcore.AsyncNetworkBackend):
    def __init__(self, dialler: Dialler) -> None:
        self._dialler = dialler

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect through the dialler.

        Raises OutboundRefused, and httpcore's own errors when the host cannot be reached.
        """
        del local_address, socket_options  # DialledTransport's pool sets neither
        try:
            with trio.fail_after(float("inf") if timeout is None else timeout):
                return TrioStream(await self._dialler.dial(host, port))
        except OutboundRefused:
            raise
        except (trio.TooSlowError, TimeoutError) as error:
            raise httpcore.ConnectTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        raise httpcore.ConnectError("Unix sockets are never dialled")

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)
