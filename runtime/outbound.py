"""The rule for outgoing connections: which addresses this process may dial.

Pure. This module owns the classes of addresses and the operator's allowance
(`LASTHEARD_OUTBOUND_ALLOW`). The rule judges addresses, never names: a name can resolve to any
address, and to another one at the next look-up. Therefore the rule is applied after resolution, to
the very address that is dialled next (runtime/dialling.py).

The tables are written out here because those of `ipaddress` change with Python's patch releases.
Source: the IANA special-purpose address registries, and the clouds' documents for metadata.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

from runtime.faults import EnvironmentFault

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

SETTING: Final = "LASTHEARD_OUTBOUND_ALLOW"

_HOST_NAME: Final = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*"
)
_NUMBER: Final = re.compile(r"(0x[0-9a-f]*|[0-9]+)")
_PERCENT_ENCODED_PERCENT: Final = "%25"


class Reach(Enum):
    """How an address may be dialled."""

    GLOBAL = "global"  # always allowed
    PRIVATE = "private"  # only if the allowance names the host or the network
    NEVER = "never"


class OutboundRefused(EnvironmentFault):
    """An address that must not be dialled. The text names the setting and the address."""

    permanent = True


class UnknownName(OutboundRefused):
    """A host name that the name servers do not know, so there is no address to dial."""


def _networks(*texts: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


_NEVER: Final = _networks(
    "169.254.0.0/16",  # link-local: most clouds' metadata
    "100.100.100.200/32",  # metadata, Alibaba
    "168.63.129.16/32",  # metadata, Azure: the host's agent
    "192.0.0.0/24",  # protocol assignments; .192 is metadata, Oracle
    "0.0.0.0/8",  # "this host": Linux connects 0.0.0.0 to loopback
    "192.0.2.0/24",  # documentation, as are the next two
    "198.51.100.0/24",
    "203.0.113.0/24",
    "192.88.99.0/24",  # relays of 6to4
    "224.0.0.0/4",  # multicast
    "240.0.0.0/4",  # reserved, and broadcast
    "fe80::/10",  # link-local
    "fec0::/10",  # site-local, withdrawn
    "fd00:ec2::/32",  # metadata and other services of the host, AWS
    "fd20:ce::254/128",  # metadata, Google
    "fd00:42::42/128",  # metadata, Scaleway
    "2001::/23",  # protocol assignments, Teredo's hidden IPv4 addresses among them
    "2001:db8::/32",  # documentation, as is the next one
    "3fff::/20",
    "2002::/16",  # 6to4: an IPv4 address inside
)
_PRIVATE: Final = _networks(
    "10.0.0.0/8",
    "100.64.0.0/10",  # shared by carriers, and by clusters
    "127.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "198.18.0.0/15",  # benchmarks
    "::1/128",
    "fc00::/7",
)
# IPv6 addresses outside this network and outside _PRIVATE are reserved, multicast, or a form that
# hides an IPv4 address (mapped ::ffff:0:0/96, compatible ::/96, NAT64 64:ff9b::/96 and
# 64:ff9b:1::/48).
_GLOBAL_IPV6: Final = IPv6Network("2000::/3")


def reach_of(address: Address) -> Reach:
    """Return how this address may be dialled. A zone id (`%eth0`) makes no difference."""
    if any(_contains(network, address) for network in _NEVER):
        return Reach.NEVER
    if any(_contains(network, address) for network in _PRIVATE):
        return Reach.PRIVATE
    if isinstance(address, IPv6Address) and not _contains(_GLOBAL_IPV6, address):
        return Reach.NEVER
    return Reach.GLOBAL


def literal_address(host: str) -> Address | None:
    """Return the address that this host text denotes, or None for a name.

    Reads every form that `getaddrinfo` reads without a look-up: `0x7f.1` and `2130706433` are
    127.0.0.1.
    """
    bare = host.strip("[]").replace(_PERCENT_ENCODED_PERCENT, "%").removesuffix(".")
    try:
        return ipaddress.ip_address(bare)
    except ValueError:
        pass
    if not bare or not all(_NUMBER.fullmatch(part) for part in bare.lower().split(".")):
        return None  # inet_aton would accept trailing words
    try:
        return IPv4Address(socket.inet_aton(bare))
    except OSError:
        return None


@dataclass(frozen=True, slots=True)
class Allowance:
    """The private hosts and networks that the operator has named. Immutable.

    A host name stands for any private address that it resolves to. Link-local and metadata
    addresses stay refused for it.
    """

    hosts: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Allowance:
        """Parse names, addresses and networks (CIDR), separated by commas.

        Raises ValueError with the wrong entry.
        """
        entries = [entry.strip() for entry in text.split(",") if entry.strip()]
        parsed = [_parse_entry(entry) for entry in entries]
        return cls(
            hosts=frozenset(entry for entry in parsed if isinstance(entry, str)),
            networks=tuple(entry for entry in parsed if not isinstance(entry, str)),
        )

    def judge(self, host: str, address: Address) -> None:
        """Raise OutboundRefused if this address of this host may not be dialled."""
        match reach_of(address):
            case Reach.GLOBAL:
                return
            case Reach.NEVER:
                raise OutboundRefused(
                    f"{address} is never dialled: it is a link-local, metadata, reserved or "
                    f"translated address, and {SETTING} cannot allow it"
                )
            case Reach.PRIVATE:
                if not self._names(host, address):
                    raise OutboundRefused(
                        f"{address} is a private or loopback address: it is dialled only if "
                        f"{SETTING} names the host or its network"
                    )

    def judge_literal(self, host: str) -> None:
        """Judge a host that is an address in itself; a name is not judged.

        Raises OutboundRefused.
        """
        address = literal_address(host)
        if address is not None:
            self.judge(host, address)

    def _names(self, host: str, address: Address) -> bool:
        return _plain_name(host) in self.hosts or any(
            _contains(each, address) for each in self.networks
        )


def _contains(network: Network, address: Address) -> bool:
    return address.version == network.version and address in network


def _plain_name(host: str) -> str:
    return host.lower().removesuffix(".")


def _is_within(network: Network, other: Network) -> bool:
    return type(network) is type(other) and network.subnet_of(other)  # type: ignore[arg-type]


def _parse_entry(entry: str) -> Network | str:
    try:
        network = ipaddress.ip_network(entry)
    except ValueError as error:
        return _parse_name(entry, error)
    if any(_is_within(network, never) for never in _NEVER):
        raise ValueError(f"{entry} can never be allowed: leave it out")
    return network


def _parse_name(entry: str, error: ValueError) -> str:
    name = _plain_name(entry)
    if "/" in name and "://" not in name:
        raise ValueError(_explain_network(entry, error))
    if not _HOST_NAME.fullmatch(name):
        raise ValueError(
            f"{entry} is neither a host name, nor an address, nor a network like 10.20.0.0/16: "
            "leave out scheme, port and path, and write letters other than a-z in the xn--… form"
        )
    if literal_address(name) is not None or _NUMBER.fullmatch(name.rpartition(".")[2]):
        raise ValueError(f"{entry} is not an address in its usual form, like 10.20.30.40")
    return name


def _explain_network(entry: str, error: ValueError) -> str:
    try:
        meant = ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return f"{entry} is not a network: {error}"
    return f"{entry} is not a network, but an address in one: write {meant} for the network"
