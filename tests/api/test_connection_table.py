"""The order in which connections are closed to make room for a new one."""

from __future__ import annotations

from dataclasses import dataclass, field

from api.connection_table import YOUNG_SECONDS, ConnectionEntry, ConnectionTable
from api.traffic import HttpTraffic


@dataclass
class Scene:
    """A table of connections that only record their closing."""

    max_connections: int = 4
    max_per_address: int = 100
    traffic: HttpTraffic = field(default_factory=HttpTraffic)
    closed: list[str] = field(default_factory=list)
    now: float = 1000.0

    def __post_init__(self) -> None:
        self.table = ConnectionTable(
            max_connections=self.max_connections,
            max_per_address=self.max_per_address,
            traffic=self.traffic,
            exempt=lambda address: address == "10.0.0.1",
        )

    def connect(self, name: str, address: str = "192.0.2.1") -> ConnectionEntry | None:
        self.now += 0.001
        entry = self.table.admit(address, self.now)
        if entry is not None:
            entry.connection = _Connection(name, self.closed)
        return entry

    def serve(self, entry: ConnectionEntry | None, *, key: bool) -> None:
        """Let a request come in and be answered."""
        self.begin(entry, key=key)
        assert entry is not None
        self.table.end_request(entry, self.now)

    def begin(self, entry: ConnectionEntry | None, *, key: bool) -> None:
        assert entry is not None
        self.now += 0.001
        self.table.begin_request(entry, self.now)
        if key:
            self.table.show_key(entry)


@dataclass
class _Connection:
    name: str
    closed: list[str]

    def close_now(self) -> None:
        self.closed.append(self.name)


def test_the_one_that_waits_longest_for_a_head_goes_first() -> None:
    scene = Scene()
    first = scene.connect("first")
    for name in ("second", "third", "fourth"):
        scene.connect(name)
    scene.serve(first, key=False)  # from now on the first one waits anew
    for name in ("fifth", "sixth"):
        assert scene.connect(name) is not None
    assert scene.closed == ["second", "third"]
    assert (scene.traffic.connections_evicted, scene.traffic.connections_open) == (2, 4)


def test_connections_with_a_good_key_are_closed_last() -> None:
    scene = Scene()
    scene.serve(scene.connect("known"), key=True)
    for number in range(10):
        scene.connect(str(number))
    assert scene.closed == [str(number) for number in range(7)]


def test_a_request_without_a_key_goes_before_one_with() -> None:
    scene = Scene()
    for name, key in (("a", True), ("b", False), ("c", True), ("d", True)):
        scene.begin(scene.connect(name), key=key)
    assert scene.connect("e") is not None
    assert scene.closed == ["b"]


def test_while_all_serve_good_keys_the_new_one_is_refused() -> None:
    scene = Scene()
    for name in "abcd":
        scene.begin(scene.connect(name), key=True)
    assert scene.connect("e") is None
    assert (scene.closed, scene.traffic.connections_refused) == ([], 1)


def test_an_address_at_its_limit_costs_only_itself() -> None:
    scene = Scene(max_connections=10, max_per_address=2)
    scene.connect("other", "192.0.2.9")
    for number in range(5):
        scene.connect(str(number))
    assert (scene.closed, scene.traffic.connections_refused_of_address) == ([], 3)
    scene.now += YOUNG_SECONDS
    assert scene.connect("later") is not None
    assert scene.closed == ["0"]


def test_addresses_of_one_ipv6_network_are_one() -> None:
    scene = Scene(max_connections=10, max_per_address=2)
    found = [scene.connect("x", f"2001:db8::{number}") for number in range(1, 5)]
    assert [entry is not None for entry in found] == [True, True, False, False]


def test_a_trusted_proxy_has_no_limit_of_its_own() -> None:
    scene = Scene(max_connections=10, max_per_address=2)
    assert all(scene.connect("x", "10.0.0.1") for _ in range(10))


def test_what_has_ended_is_forgotten_once() -> None:
    scene = Scene()
    entry = scene.connect("a")
    assert entry is not None
    scene.table.leave(entry)
    scene.table.leave(entry)
    scene.table.end_request(entry, scene.now)
    scene.table.show_key(entry)
    assert scene.traffic.connections_open == 0
    assert not scene.table.make_room()
