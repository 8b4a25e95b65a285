"""Of a forwarding header only what trusted proxies wrote is believed."""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest

from api.addresses import UNKNOWN_ADDRESS, TrustedProxies, counting_name

if TYPE_CHECKING:
    from api.addresses import ForwardedHeader

NETWORKS = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
PROXY, CLIENT = "10.1.1.1", "198.51.100.7"


def find(peer: str, *lines: str, header: ForwardedHeader = "x-forwarded-for") -> str:
    headers = [(header.encode(), line.encode("latin-1")) for line in lines]
    return TrustedProxies(NETWORKS, header).find_client(peer, headers)


@pytest.mark.parametrize(
    ("peer", "lines", "client"),
    [
        (CLIENT, [], CLIENT),
        (PROXY, [], PROXY),
        (PROXY, [CLIENT], CLIENT),
        # Somebody else's header is not believed.
        (CLIENT, ["203.0.113.9"], CLIENT),
        # What stands left of the first untrusted address is that client's own invention.
        (PROXY, [f"203.0.113.9, {CLIENT}"], CLIENT),
        (PROXY, [f"203.0.113.9, {CLIENT}, 10.2.2.2"], CLIENT),
        (PROXY, ["203.0.113.9", CLIENT], CLIENT),
        # All of them trusted: the farthest.
        (PROXY, ["10.3.3.3, 10.2.2.2"], "10.3.3.3"),
        # No address: the proxy that wrote it.
        (PROXY, ["unknown"], PROXY),
        (PROXY, ["203.0.113.9, unknown, 10.2.2.2"], "10.2.2.2"),
        (PROXY, [""], PROXY),
        (PROXY, ["\xff"], PROXY),
        # Ports, and IPv6 by its /64.
        (PROXY, [f"{CLIENT}:4711"], CLIENT),
        (PROXY, ["[2001:db8:1:2::9]:4711"], "2001:db8:1:2::/64"),
        (PROXY, ["2001:db8:1:2::9"], "2001:db8:1:2::/64"),
        ("fd00::1", [CLIENT], CLIENT),
        (f"::ffff:{PROXY}", [CLIENT], CLIENT),
        ("", [CLIENT], UNKNOWN_ADDRESS),
    ],
)
def test_the_right_most_untrusted_address_is_the_client(
    peer: str, lines: list[str], client: str
) -> None:
    assert find(peer, *lines) == client


@pytest.mark.parametrize(
    ("line", "client"),
    [
        (f"for={CLIENT};proto=https", CLIENT),
        (f'for=203.0.113.9, proto=https;For="{CLIENT}:80"', CLIENT),
        ('for="[2001:db8:1:2::9]:4711"', "2001:db8:1:2::/64"),
        ("for=_hidden", PROXY),
        ("proto=https", PROXY),
    ],
)
def test_the_forwarded_header_is_read_where_it_is_the_one_in_use(line: str, client: str) -> None:
    assert find(PROXY, line, header="forwarded") == client
    assert find(PROXY, line) in (PROXY, UNKNOWN_ADDRESS)


def test_a_very_long_header_is_read_from_its_end_only() -> None:
    assert find(PROXY, "203.0.113.9, " + "10.2.2.2, " * 10_000 + CLIENT) == CLIENT


def test_without_trusted_proxies_no_header_is_believed() -> None:
    assert TrustedProxies().find_client(PROXY, [(b"x-forwarded-for", CLIENT.encode())]) == PROXY


def test_an_ipv6_address_is_counted_with_its_network() -> None:
    assert (
        counting_name("2001:db8::1")
        == counting_name("2001:db8::2")
        != counting_name("2001:db8:0:1::1")
    )
