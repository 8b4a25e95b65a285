"""The address that a request comes from, and the name under which that address is counted.

Owns the rule for forwarded addresses: a header is believed only when it comes from a trusted proxy,
and only as far as trusted proxies wrote it. It must never believe another header: that would let a
client choose its own address.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from ipaddress import IPv4Network, IPv6Network

    Address = IPv4Address | IPv6Address
    Network = IPv4Network | IPv6Network

ForwardedHeader = Literal["x-forwarded-for", "forwarded"]
UNKNOWN_ADDRESS = "unknown"
MAX_HOPS = 16
IPV6_PREFIX = 64  # a customer gets a /64 or more, so one machine can use all addresses of a /64

_FORWARDED_FOR = re.compile(r'(?:^|;)\s*for\s*=\s*"?([^";]*)"?', re.IGNORECASE)


class TrustedProxies:
    """The networks whose forwarding header is believed, and the name of that header."""

    def __init__(
        self, networks: Sequence[Network] = (), header: ForwardedHeader = "x-forwarded-for"
    ) -> None:
        self._networks = tuple(networks)
        self._header = header.encode("ascii")

    def trusts(self, address: str) -> bool:
        parsed = parse_address(address)
        return parsed is not None and any(parsed in network for network in self._networks)

    def find_client(self, peer: str, headers: Iterable[tuple[bytes, bytes]]) -> str:
        """Return the name to count a request under: that of the client's address."""
        return counting_name(self.find_address(peer, headers))

    def find_address(self, peer: str, headers: Iterable[tuple[bytes, bytes]]) -> str:
        """Return the right-most address that no trusted proxy has: the client's.

        An entry that is not an address ends the search, and the proxy that wrote it is the client.
        """
        if not self._networks or not self.trusts(peer):
            return peer
        found = peer
        for hop in reversed(self._hops(headers)):
            if parse_address(hop) is None:
                break
            found = hop
            if not self.trusts(hop):
                break
        return found

    def _hops(self, headers: Iterable[tuple[bytes, bytes]]) -> list[str]:
        """Return the header's addresses as written, the nearest proxy last, at most MAX_HOPS.

        Several header lines are one list (RFC 9110, 5.3).
        """
        lines = [value.decode("latin-1") for name, value in headers if name.lower() == self._header]
        entries = ",".join(lines).rsplit(",", MAX_HOPS)[-MAX_HOPS:]
        if self._header == b"forwarded":
            entries = [
                found[1] if (found := _FORWARDED_FOR.search(entry)) else "" for entry in entries
            ]
        return [_without_port(entry.strip()) for entry in entries]


@lru_cache(maxsize=4096)
def parse_address(text: str) -> Address | None:
    """Return the address in `text`, or None. IPv4 written as IPv6 (`::ffff:…`) becomes IPv4."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address


@lru_cache(maxsize=4096)
def counting_name(text: str) -> str:
    """Return the name that an address is counted under: itself, or for IPv6 its /64."""
    address = parse_address(text)
    if address is None:
        return UNKNOWN_ADDRESS
    if isinstance(address, IPv4Address):
        return str(address)
    return str(ip_network((int(address), IPV6_PREFIX), strict=False))


def _without_port(entry: str) -> str:
    """Return `1.2.3.4:80` or `[::1]:80` without the port (RFC 7239, 6)."""
    if entry.startswith("["):
        return entry[1:].partition("]")[0]
    host, colon, port = entry.partition(":")
    return host if colon and port.isdigit() else entry
