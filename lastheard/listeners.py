"""A listener of the service as a supervised child.

It is bound before the start goes on, and keeps its port after a restart. Owns the binding and the
message for an address that cannot be bound. The app that it serves is made in api/.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import trio

from api.server import serve_http
from runtime.exception_groups import first_leaf
from runtime.faults import EnvironmentFault
from runtime.supervisor import Restart

if TYPE_CHECKING:
    from quart_trio import QuartTrio

    from api.server import ListenerParts
    from runtime.supervisor import Supervisor

GRACEFUL_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Address:
    """An address to listen on. `remedy` says how to choose another; it ends the error message."""

    host: str
    port: int
    remedy: str


class AddressUnavailable(EnvironmentFault):
    """The configured address cannot be bound. It is permanent: a restart would not help."""

    permanent = True

    def __init__(self, address: Address, refusal: OSError) -> None:
        reason = refusal.strerror or refusal
        super().__init__(
            f"cannot listen on {address.host} port {address.port}: {reason}. {address.remedy}"
        )


class Listener:
    """One address that is served until `stop` is set. `port` is the bound port, and 0 before."""

    def __init__(self, name: str, address: Address, parts: ListenerParts) -> None:
        self.port = 0
        self.stop = trio.Event()
        self._name = name
        self._address = address
        self._parts = parts

    async def start(self, root: Supervisor, app: QuartTrio, *, essential: bool) -> None:
        """Serve `app` as a child of `root`. Returns when the address is bound.

        Raises AddressUnavailable when it cannot be bound.
        """
        bound = trio.Event()
        refusal: OSError | None = None
        serve_app = partial(
            serve_http,
            app,
            host=self._address.host,
            stop=self.stop,
            graceful_seconds=GRACEFUL_SECONDS,
            parts=self._parts,
        )

        async def serve() -> None:
            nonlocal refusal
            port = self.port or self._address.port
            try:
                async with trio.open_nursery() as nursery:
                    self.port = await nursery.start(partial(serve_app, port=port))
                    bound.set()
            except* OSError as group:
                if bound.is_set():
                    raise
                refusal = first_leaf(group)
                bound.set()

        root.start(self._name, serve, restart=Restart.TRANSIENT, essential=essential)
        await bound.wait()  # no deadline: binding succeeds or fails at once
        if refusal is not None:
            raise AddressUnavailable(self._address, refusal) from refusal
