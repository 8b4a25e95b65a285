"""The simulator's one port: HTTP of both providers, the live stream and the control interface.

Owns the listener, the clock's tick and the way from a connection to its tenant. There is one task
per connection and one for time; none per vehicle.
"""

from __future__ import annotations

from collections import Counter, deque
from functools import partial
from typing import TYPE_CHECKING, Any

import trio
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection
from wsproto.utilities import RemoteProtocolError

from simulator import control, rfms, viriciti
from simulator.clock import MachineClock, SimulatorClock
from simulator.config import Vendor
from simulator.exchange import ClientGone, Exchange, Request, VendorAnswer, json_answer
from simulator.legacy import PREFIX, LegacySystem
from simulator.provider import SimulatedProvider, StreamLogEntry
from simulator.session import StreamSession
from simulator.story import tell

if TYPE_CHECKING:
    from typing import Never

    from simulator.config import SimulatorConfig, Tenant


class CannotStart(Exception):
    """The simulator cannot be started; the message is fit for a command line."""


class CannotListen(CannotStart):
    """The address cannot be bound."""


class Simulator:
    """Everything that one process serves. `serve` makes it; its caller may read it."""

    def __init__(
        self, config: SimulatorConfig, clock: SimulatorClock, host: str, port: int
    ) -> None:
        self.config = config
        self.port = port
        self.http_url = f"http://{host}:{port}"
        self.ws_url = f"ws://{host}:{port}"
        self.providers = [SimulatedProvider(tenant, config.seed) for tenant in config.tenants]
        self.legacy = (
            None
            if config.legacy is None
            else LegacySystem(self.providers, config.legacy, config.seed)
        )
        self.connections: deque[StreamLogEntry] = deque(maxlen=config.max_connection_entries)
        self._by_key = {
            (provider.tenant.vendor, provider.tenant.credential): provider
            for provider in self.providers
        }
        self._clock = clock
        self._started_at = clock.wall()
        self._started_monotonic = clock.monotonic()
        self._turned_away: Counter[str] = Counter()
        self._endings: Counter[str] = Counter()

    def base_url_of(self, tenant: Tenant) -> str:
        """Return the address of the tenant's provider, as a connection to it has it."""
        return self.http_url if tenant.vendor is Vendor.VIRICITI else f"{self.http_url}/rfms"

    def elapsed(self) -> float:
        """Return seconds since the start; every `…_after` counts in them."""
        return self._clock.monotonic() - self._started_monotonic

    def provider_of(self, tenant: str) -> SimulatedProvider:
        """Return the tenant's provider. Raises KeyError for a tenant that is not simulated."""
        return {provider.tenant.name: provider for provider in self.providers}[tenant]

    def statistics(self, *, brief: bool = False) -> dict[str, Any]:
        tenants = {
            provider.tenant.name: provider.statistics(brief=brief) for provider in self.providers
        }
        return {
            "seed": self.config.seed,
            "started_at": self._started_at,
            "elapsed_seconds": self.elapsed(),
            "readings_sent": sum(counts.get("readings_sent", 0) for counts in tenants.values()),
            "turned_away": dict(self._turned_away),
            "stream_endings": dict(self._endings),
            "streams_logged": len(self.connections),
            "tenants": tenants,
        }

    def story(self) -> dict[str, list[dict[str, Any]]]:
        """Return the true story of every tenant, as one object for each episode."""
        told = {}
        for provider in self.providers:
            name = provider.tenant.name
            streams = [entry for entry in self.connections if entry.tenant == name]
            episodes = tell(provider.roster, self._started_at, streams)
            told[name] = [episode._asdict() for episode in episodes]
        return told

    async def keep_time(self) -> Never:
        """Let all fleets report at every tick, for ever.

        After a long tick the next one does more work; ticks never queue up.
        """
        while True:
            await trio.sleep(self.config.tick_seconds)
            elapsed, wall = self.elapsed(), self._clock.wall()
            for provider in self.providers:
                provider.tick(elapsed, wall)
            if self.legacy is not None:
                self.legacy.tick(wall)

    async def serve_connection(self, stream: trio.SocketStream) -> None:
        """Serve one connection to its end. A client that breaks off is counted, and is no error."""
        exchange = Exchange(stream, self.config.write_deadline_seconds)
        try:
            while (request := await exchange.receive()) is not None:
                if request.wants_websocket and request.path == viriciti.LIVE_PATH:
                    await self._serve_stream(exchange, request)
                    return
                answer = await self._answer(request)
                if answer is None:
                    return
                await exchange.send(answer)
        except ClientGone:
            self._turned_away["client_gone"] += 1
        finally:
            await trio.aclose_forcefully(stream)

    async def _answer(self, request: Request) -> VendorAnswer | None:
        if request.path.startswith("/sim/"):
            return control.answer(self, request)
        if self.legacy is not None and request.path.startswith(PREFIX):
            return self.legacy.answer(request, self._clock.wall())
        provider = self._provider_for(request)
        if provider is None:
            return self._refuse_unknown_key(request)
        await trio.sleep(provider.latency(self.elapsed()))
        return provider.answer(request, self.elapsed(), self._clock.wall())

    def _provider_for(self, request: Request) -> SimulatedProvider | None:
        if request.path.startswith("/rfms/"):
            return self._by_key.get((Vendor.RFMS, rfms.read_token(request) or ""))
        return self._by_key.get((Vendor.VIRICITI, viriciti.read_key(request) or ""))

    def _refuse_unknown_key(self, request: Request) -> VendorAnswer:
        if request.path.startswith("/rfms/"):
            answer = rfms.unauthorised(request)
        elif request.path.startswith("/api/"):
            answer = viriciti.unauthorised()
        else:
            answer = json_answer(404, {"error": "nothing is simulated here"})
        self._turned_away[str(answer.status)] += 1
        return answer

    async def _serve_stream(self, exchange: Exchange, request: Request) -> None:
        """Do the handshake, or refuse it; then run the session until it ends."""
        provider = self._provider_for(request)
        if provider is None:
            await exchange.send(self._refuse_unknown_key(request))
            return
        await trio.sleep(provider.latency(self.elapsed()))
        refusal = provider.refuse_stream(self.elapsed(), self._clock.wall())
        protocol = _accept(exchange, request) if refusal is None else None
        if protocol is None:
            await exchange.send(refusal or viriciti.refusal(400, "not a websocket handshake"))
            return
        await exchange.send_raw(protocol.send(AcceptConnection()))
        await self._run_session(provider, exchange, protocol)

    async def _run_session(
        self, provider: SimulatedProvider, exchange: Exchange, protocol: WSConnection
    ) -> None:
        session = StreamSession(
            exchange.stream,
            protocol,
            provider.live,
            write_seconds=self.config.write_deadline_seconds,
            max_outbox_bytes=self.config.max_outbox_bytes,
        )
        entry = provider.open_stream(
            session, self.elapsed(), self._clock.wall(), self._clock.monotonic()
        )
        self.connections.append(entry)
        try:
            await session.run(exchange.leftover)
        finally:
            provider.close_stream(session, entry, self._clock.wall(), self._clock.monotonic())
            self._endings[str(session.ending)] += 1


def _accept(exchange: Exchange, request: Request) -> WSConnection | None:
    """Return a protocol that has read the client's handshake.

    None if that is no websocket handshake (RFC 6455 §4.2.1).
    """
    protocol = WSConnection(ConnectionType.SERVER)
    raw = exchange.raw_request
    if raw is None or request.method != "GET":
        return None
    try:
        protocol.initiate_upgrade_connection(list(raw.headers), raw.target)
    except RemoteProtocolError:
        return None
    return protocol


async def serve(
    config: SimulatorConfig,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    clock: SimulatorClock | None = None,
    task_status: trio.TaskStatus[Simulator] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled. A port of 0 lets the system choose.

    The started value has the bound port (`port`, `http_url`, `ws_url`). When cancelled, open
    streams get a closing handshake of at most a second. Raises CannotListen.
    """
    try:
        listeners = await trio.open_tcp_listeners(port, host=host)
    except OSError as error:
        why = error.strerror or error
        raise CannotListen(
            f"cannot listen on {host} port {port}: {why}; choose another --port"
        ) from error
    bound = listeners[0].socket.getsockname()[1]
    simulator = Simulator(config, clock or MachineClock(), host, bound)
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(trio.serve_listeners, simulator.serve_connection, listeners))
        nursery.start_soon(simulator.keep_time)
        task_status.started(simulator)
