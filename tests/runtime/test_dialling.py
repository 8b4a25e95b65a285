"""The dialler connects only to the address that was judged, and never waits without end."""

from __future__ import annotations

import socket
import threading
from collections import defaultdict
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from runtime.dialling import CONNECT_SECONDS, MAX_ADDRESSES, MAX_LOOKUPS, RESOLVE_SECONDS, Dialler
from runtime.outbound import Allowance, OutboundRefused, UnknownName

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio.testing import MockClock

    from runtime.outbound import Address

METADATA, LOOPBACK, DEPOT, MAKER, MAKER_2 = (
    "169.254.169.254",
    "127.0.0.1",
    "10.1.2.3",
    "8.8.8.8",
    "8.8.4.4",
)
MAKER_6 = "2606:4700::1111"


class Network:
    """The addresses of names, look by look (the last answer stays), and what was dialled."""

    def __init__(self, *looks: Sequence[str]) -> None:
        self._looks = [[ip_address(text) for text in look] for look in looks]
        self.dialled: list[str] = []
        self.seconds: defaultdict[str, float] = defaultdict(float)  # until an address answers
        self.refusing: set[str] = set()

    async def resolve(self, host: str, port: int) -> Sequence[Address]:
        return self._looks.pop(0) if len(self._looks) > 1 else self._looks[0]

    async def connect(self, host: str, port: int) -> trio.SocketStream:
        self.dialled.append(host)
        await trio.sleep(self.seconds[host])
        if host in self.refusing:
            raise ConnectionRefusedError(host)
        return _stream()


def _stream() -> trio.SocketStream:
    ours, theirs = socket.socketpair()
    theirs.close()
    ours.setblocking(False)
    return trio.SocketStream(trio.socket.from_stdlib_socket(ours))


async def _dial(network: Network, *, allow: str = "", host: str = "maker.example") -> None:
    dialler = Dialler(Allowance.parse(allow), resolve=network.resolve, connect=network.connect)
    stream = await dialler.dial(host, 443)
    await stream.aclose()


@pytest.mark.parametrize(
    ("addresses", "allow", "dialled"),
    [
        ([MAKER], "", [MAKER]),
        ([LOOPBACK, MAKER], "", [MAKER]),
        ([METADATA, DEPOT], "maker.example", [DEPOT]),
        ([DEPOT, MAKER], "10.0.0.0/8", [DEPOT]),
    ],
)
async def test_only_permitted_addresses_of_a_name_are_dialled(
    addresses: list[str], allow: str, dialled: list[str]
) -> None:
    network = Network(addresses)
    await _dial(network, allow=allow)
    assert network.dialled == dialled


@pytest.mark.parametrize(
    ("addresses", "allow", "named"),
    [
        ([METADATA], "maker.example, 0.0.0.0/0", METADATA),
        ([LOOPBACK], "", LOOPBACK),
        ([DEPOT, METADATA], "192.168.0.0/16", DEPOT),
    ],
)
async def test_a_name_without_a_permitted_address_is_refused(
    addresses: list[str], allow: str, named: str
) -> None:
    network = Network(addresses)
    with pytest.raises(OutboundRefused, match=named):
        await _dial(network, allow=allow)
    assert network.dialled == []


@pytest.mark.parametrize(
    "host", [METADATA, "2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "[::ffff:a9fe:a9fe]"]
)
async def test_metadata_is_refused_in_every_spelling(host: str) -> None:
    network = Network([])
    with pytest.raises(OutboundRefused):
        await _dial(network, host=host)
    assert network.dialled == []


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "127.1", "127.0.0.1."])
async def test_the_systems_resolver_agrees_on_odd_spellings(host: str) -> None:
    """Should getaddrinfo ever read one of them otherwise, the address is still judged after it."""
    dialler = Dialler(Allowance())
    with pytest.raises(OutboundRefused, match=LOOPBACK):
        await dialler.dial(host, 9)
    assert dialler.statistics().refused == 1


async def test_the_second_look_does_not_lead_to_loopback() -> None:
    """Rebinding: the name is public at the first look, and loopback at the second."""
    network = Network([MAKER], [LOOPBACK])
    await _dial(network)
    with pytest.raises(OutboundRefused, match=LOOPBACK):
        await _dial(network)
    assert network.dialled == [MAKER]


async def test_localhost_is_looked_up_and_refused() -> None:
    with pytest.raises(OutboundRefused, match="loopback"):
        await Dialler(Allowance()).dial("localhost", 9)


async def test_a_slow_address_is_joined_by_the_next(autojump_clock: MockClock) -> None:
    network = Network([MAKER, MAKER_2, MAKER_6])
    network.seconds[MAKER], network.seconds[MAKER_6] = 60.0, 1.0
    network.seconds[MAKER_2] = 60.0
    await _dial(network)
    assert network.dialled == [MAKER, MAKER_6, MAKER_2]  # the other family second
    assert trio.current_time() == pytest.approx(1.25)


async def test_a_refused_address_gives_way_at_once(autojump_clock: MockClock) -> None:
    network = Network([MAKER, MAKER_2])
    network.refusing = {MAKER}
    await _dial(network)
    assert (network.dialled, trio.current_time()) == ([MAKER, MAKER_2], 0.0)


async def test_a_name_that_refuses_everywhere_is_an_os_error() -> None:
    network = Network([f"8.8.8.{number}" for number in range(20)])
    network.refusing = {f"8.8.8.{number}" for number in range(20)}
    with pytest.raises(ConnectionRefusedError):
        await _dial(network)
    assert len(network.dialled) == MAX_ADDRESSES


async def test_connecting_ends_at_its_deadline(autojump_clock: MockClock) -> None:
    network = Network([MAKER])
    network.seconds[MAKER] = 3600.0
    with pytest.raises(TimeoutError):
        await _dial(network)
    assert trio.current_time() == CONNECT_SECONDS


async def test_a_connection_that_nobody_waits_for_is_closed(autojump_clock: MockClock) -> None:
    """It came about in the moment in which the caller gave up."""
    late = _stream()

    async def connect(host: str, port: int) -> trio.SocketStream:
        with trio.CancelScope(shield=True):
            await trio.sleep(1)
        return late

    with trio.move_on_after(0.1):
        await Dialler(Allowance(), connect=connect).dial(MAKER, 443)
    assert late.socket.fileno() == -1


async def test_of_two_connections_at_once_one_is_closed(autojump_clock: MockClock) -> None:
    streams = [_stream(), _stream()]

    async def connect(host: str, port: int) -> trio.SocketStream:
        with trio.CancelScope(shield=True):
            await trio.sleep(1)
        return streams[host == MAKER_2]

    dialler = Dialler(Allowance(), resolve=Network([MAKER, MAKER_2]).resolve, connect=connect)
    kept = await dialler.dial("maker.example", 443)
    assert [stream.socket.fileno() == -1 for stream in streams] == [kept is not s for s in streams]
    await kept.aclose()


async def test_resolving_ends_at_its_deadline(autojump_clock: MockClock) -> None:
    async def never(host: str, port: int) -> Sequence[Address]:
        await trio.sleep_forever()

    with pytest.raises(TimeoutError, match="resolved"):
        await Dialler(Allowance(), resolve=never).dial("maker.example", 443)
    assert trio.current_time() == RESOLVE_SECONDS


@pytest.mark.parametrize(
    ("code", "raised"), [(socket.EAI_NONAME, UnknownName), (socket.EAI_AGAIN, socket.gaierror)]
)
async def test_only_a_name_that_nobody_knows_is_misconfigured(
    monkeypatch: pytest.MonkeyPatch, code: int, raised: type[Exception]
) -> None:
    def look_up(*_: object, **__: object) -> list[object]:
        raise socket.gaierror(code, "no address")

    monkeypatch.setattr("runtime.dialling.socket.getaddrinfo", look_up)
    with pytest.raises(raised):
        await Dialler(Allowance()).dial("maker.example", 443)


async def test_lookups_that_hang_take_a_bounded_number_of_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    release, asked = threading.Event(), threading.Semaphore(0)

    def hang(*_: object, **__: object) -> list[object]:
        asked.release()
        release.wait(10.0)
        raise socket.gaierror("nobody answered")

    monkeypatch.setattr("runtime.dialling.socket.getaddrinfo", hang)
    monkeypatch.setattr("runtime.dialling.RESOLVE_SECONDS", 0.3)
    dialler = Dialler(Allowance())
    outcomes: list[type[BaseException]] = []

    async def ask(number: int) -> None:
        with pytest.raises(OSError, match="resolved") as caught:
            await dialler.dial(f"maker-{number}.example", 443)
        outcomes.append(caught.type)

    try:
        async with trio.open_nursery() as nursery:
            for number in range(3 * MAX_LOOKUPS):
                nursery.start_soon(ask, number)
        assert outcomes == [TimeoutError] * 3 * MAX_LOOKUPS
        assert dialler.statistics().lookups_in_flight == MAX_LOOKUPS  # abandoned, and still counted
        assert asked._value == MAX_LOOKUPS
    finally:
        release.set()


async def test_names_that_hang_keep_no_known_name_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def look_up(host: bytes, port: int, **_: object) -> list[object]:
        if host != b"maker.example":
            release.wait(10.0)
            raise socket.gaierror("nobody answered")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (MAKER, port))]

    monkeypatch.setattr("runtime.dialling.socket.getaddrinfo", look_up)
    monkeypatch.setattr("runtime.dialling.RESOLVE_SECONDS", 0.3)
    dialler = Dialler(Allowance(), connect=Network().connect)

    async def ask_in_vain(number: int) -> None:
        with pytest.raises(TimeoutError):
            await dialler.dial(f"nobody-{number}.example", 443)

    async def dial_and_close() -> None:
        await (await dialler.dial("maker.example", 443)).aclose()

    try:
        await dial_and_close()
        async with trio.open_nursery() as nursery:
            for number in range(2 * MAX_LOOKUPS):
                nursery.start_soon(ask_in_vain, number)
        async with trio.open_nursery() as nursery:  # many workspaces have the same maker
            for _ in range(MAX_LOOKUPS):
                nursery.start_soon(dial_and_close)
    finally:
        release.set()


async def test_only_so_many_names_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def look_up(host: bytes, port: int, **_: object) -> list[object]:
        if host.startswith(b"nobody"):
            release.wait(10.0)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (MAKER, port))]

    monkeypatch.setattr("runtime.dialling.socket.getaddrinfo", look_up)
    monkeypatch.setattr("runtime.dialling.RESOLVE_SECONDS", 0.3)
    monkeypatch.setattr("runtime.dialling.MAX_KNOWN_NAMES", 2)
    dialler = Dialler(Allowance(), connect=Network().connect)

    async def dial(host: str) -> None:
        await (await dialler.dial(host, 443)).aclose()

    async def ask_in_vain(number: int) -> None:
        with pytest.raises(TimeoutError):
            await dialler.dial(f"nobody-{number}.example", 443)

    try:
        for host in ("oldest.example", "kept.example", "newest.example"):
            await dial(host)
        async with trio.open_nursery() as nursery:
            for number in range(MAX_LOOKUPS):
                nursery.start_soon(ask_in_vain, number)
        await dial("kept.example")
        with pytest.raises(TimeoutError):  # it waits in line with the unknown names
            await dial("oldest.example")
    finally:
        release.set()


@pytest.mark.parametrize("host", ["nobody.invalid", "a" * 64 + ".example", "..", "maker example"])
async def test_a_name_that_is_none_is_a_fault_with_a_text(host: str) -> None:
    with pytest.raises((OSError, UnknownName), match=r".+"):
        await Dialler(Allowance()).dial(host, 443)
