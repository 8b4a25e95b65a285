"""Every way out to a provider goes through the dialler: polls, state calls and streams."""

from __future__ import annotations

from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import TYPE_CHECKING

import httpx
import pytest
import trio

from domain.model import FaultClass, ProviderConnection
from ports.providers import ProviderFault
from providers.http import Call, HttpPool
from providers.rfms import Rfms
from providers.viriciti import ViriCiti
from runtime.dialling import Dialler
from runtime.outbound import SETTING, Allowance
from tests.providers.servers import Reply, http_server, tcp_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from runtime.outbound import Address

    Ask = Callable[[HttpPool, str], Awaitable[object]]

MAKER, LOOPBACK, METADATA = "8.8.8.8", "127.0.0.1", "169.254.169.254"
SECRET = "fleet-s3cret"


class Names:
    """A resolver whose answer changes with each look; the last one stays."""

    def __init__(self, *looks: str) -> None:
        self._looks = list(looks)
        self.dialled: list[str] = []

    async def resolve(self, host: str, port: int) -> Sequence[Address]:
        return [ip_address(self._looks.pop(0) if len(self._looks) > 1 else self._looks[0])]

    async def connect(self, host: str, port: int) -> trio.SocketStream:
        """Loopback is reached in earnest; the world outside answers nobody here."""
        self.dialled.append(host)
        if host != LOOPBACK:
            raise ConnectionRefusedError(f"nobody at {host}")
        return await trio.open_tcp_stream(host, port)

    def dialler(self, allow: str = "") -> Dialler:
        return Dialler(Allowance.parse(allow), resolve=self.resolve, connect=self.connect)


@asynccontextmanager
async def _silent_server() -> AsyncIterator[tuple[int, list[bytes]]]:
    """The port of a server that notes what each connection sends first, and never answers."""
    heard: list[bytes] = []

    async def hear(stream: trio.SocketStream) -> None:
        heard.append(b"")
        heard[-1] = bytes(await stream.receive_some(65_536))

    async with tcp_server(hear) as port:
        yield port, heard


def _connection(kind: str, base: str) -> ProviderConnection:
    if kind == "rfms":
        return ProviderConnection("acme", "p", kind, "poll", base, "env:KEY")
    return ProviderConnection(
        "acme", "p", kind, "stream", base, "env:KEY", {"connect_timeout_seconds": 1.0}
    )


async def _poll(http: HttpPool, base: str) -> object:
    return await Rfms(http).open_poller(_connection("rfms", base), SECRET).fetch([], None, None)


async def _ask_state(http: HttpPool, base: str) -> object:
    return (
        await ViriCiti(http)
        .open_poller(_connection("viriciti", base), SECRET)
        .fetch(["bus"], None, None)
    )


async def _stream(http: HttpPool, base: str) -> object:
    async with (
        ViriCiti(http).open_streamer(_connection("viriciti", base), SECRET).connect() as socket
    ):
        return await socket.receive()


WAYS: list[Ask] = [_poll, _ask_state, _stream]
ways = pytest.mark.parametrize("ask", WAYS, ids=lambda ask: ask.__name__)


@ways
async def test_a_name_that_turns_to_loopback_reaches_nobody(ask: Ask) -> None:
    names = Names(MAKER, LOOPBACK)
    async with _silent_server() as (port, heard), HttpPool(names.dialler()) as http:
        faults = []
        for _ in range(3):
            with pytest.raises(ProviderFault) as caught:
                await ask(http, f"http://maker.example:{port}")
            faults.append(caught.value)
        assert heard == []
    assert names.dialled == [MAKER]
    assert [fault.fault for fault in faults] == [
        FaultClass.OUTAGE,
        FaultClass.CONFIGURATION,
        FaultClass.CONFIGURATION,
    ]


@ways
@pytest.mark.parametrize(
    ("host", "address"),
    [
        (METADATA, METADATA),
        ("metadata.example", METADATA),
        ("2852039166", METADATA),
        ("[::ffff:169.254.169.254]", "::ffff:a9fe:a9fe"),
        ("127.0.0.1", LOOPBACK),
        ("localhost", LOOPBACK),
        ("0x7f.1", LOOPBACK),
    ],
)
async def test_a_forbidden_address_is_a_fault_of_the_configuration(
    ask: Ask, host: str, address: str
) -> None:
    names = Names(address)
    async with _silent_server() as (port, heard), HttpPool(names.dialler()) as http:
        with pytest.raises(ProviderFault) as caught:
            await ask(http, f"http://{host}:{port}")
        assert heard == []
    assert (caught.value.fault, caught.value.permanent) == (FaultClass.CONFIGURATION, True)
    assert SETTING in str(caught.value)
    assert str(ip_address(address)) in str(caught.value)
    assert SECRET not in str(caught.value)
    assert names.dialled == []


@ways
async def test_a_named_host_is_dialled_at_its_private_address(ask: Ask) -> None:
    names = Names(LOOPBACK)
    dialler = names.dialler(allow="maker.example")
    async with _silent_server() as (port, heard), HttpPool(dialler) as http:
        with pytest.raises(ProviderFault) as caught:
            await ask(http, f"http://maker.example:{port}")
        assert caught.value.fault in (FaultClass.OUTAGE, FaultClass.PROTOCOL)
        assert b"\r\nhost: maker.example" in heard[0].lower()


@ways
async def test_tls_is_spoken_with_the_name_and_not_the_address(ask: Ask) -> None:
    names = Names(LOOPBACK)
    dialler = names.dialler(allow="maker.example")
    async with _silent_server() as (port, heard), HttpPool(dialler) as http:
        with pytest.raises(ProviderFault):
            await ask(http, f"https://maker.example:{port}")
        assert b"maker.example" in heard[0]  # the server name in the first message of TLS


@ways
async def test_proxies_of_the_environment_are_not_used(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = Names(MAKER)
    async with _silent_server() as (port, heard), HttpPool(names.dialler()) as http:
        for name in (
            "HTTP_PROXY",
            "HTTPS_PROXY",
            "ALL_PROXY",
            "http_proxy",
            "https_proxy",
            "all_proxy",
        ):
            monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
        with pytest.raises(ProviderFault):
            await ask(http, "http://maker.example")
        assert heard == []
    assert names.dialled == [MAKER]


async def test_a_redirect_inwards_is_not_followed() -> None:
    names = Names(LOOPBACK)
    async with _silent_server() as (inside, heard):

        def redirect(_: object) -> Reply:
            return Reply(307, headers={"Location": f"http://127.0.0.1:{inside}/"})

        async with (
            http_server(redirect) as base,
            HttpPool(names.dialler(allow="127.0.0.1")) as http,
        ):
            with pytest.raises(ProviderFault) as caught:
                await http.fetch(Call(method="GET", url=httpx.URL(base), headers={}))
        assert heard == []
    assert caught.value.fault is FaultClass.CONFIGURATION


async def test_a_refused_address_costs_no_place_in_the_pool() -> None:
    names = Names(METADATA)
    async with HttpPool(names.dialler(), max_connections=2, pool_wait_seconds=0.05) as http:
        for _ in range(5):
            with pytest.raises(ProviderFault) as caught:
                await _poll(http, "http://maker.example")
            assert caught.value.fault is FaultClass.CONFIGURATION
        assert http.statistics().rebuilds == 0
