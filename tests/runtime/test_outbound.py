"""Which addresses may be dialled: the table, and what the operator's setting opens."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.outbound import SETTING, Allowance, OutboundRefused, Reach, literal_address, reach_of

EVERYTHING = Allowance.parse("0.0.0.0/0, ::/0, depot.example")

NEVER = [
    "169.254.169.254",  # metadata of most clouds
    "169.254.170.2",
    "169.254.0.1",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "fd00:ec2::254",
    "fd00:ec2::23",
    "fd20:ce::254",
    "fd00:42::42",
    "fe80::1",
    "fe80::a9fe:a9fe",
    "fe80::1%eth0",
    "febf::1",
    "fec0::1",
    "0.0.0.0",
    "0.1.2.3",
    "::",
    "224.0.0.1",
    "239.255.255.255",
    "ff02::1",
    "240.0.0.1",
    "255.255.255.255",
    "192.0.2.1",
    "198.51.100.1",
    "203.0.113.1",
    "2001:db8::1",
    "100::1",
    "4000::1",  # not assigned
    "::ffff:169.254.169.254",  # mapped
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:8.8.8.8",
    "::127.0.0.1",  # compatible
    "2002:a9fe:a9fe::1",  # 6to4
    "2002:808:808::1",
    "64:ff9b::a9fe:a9fe",  # NAT64
    "64:ff9b::808:808",
    "64:ff9b:1::a00:1",
    "2001:0:a9fe:a9fe::1",  # Teredo
]
PRIVATE = [
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.0.1",
    "198.18.0.1",
    "::1",
    "fc00::1",
    "fd12:3456::1",
]
GLOBAL = [
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.1",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.167.255.255",
    "192.169.0.0",
    "223.255.255.255",
    "2606:4700::1111",
    "2a00:1450::1",
    "2001:4860::1",
]
TABLE = [
    *((address, Reach.NEVER) for address in NEVER),
    *((address, Reach.PRIVATE) for address in PRIVATE),
    *((address, Reach.GLOBAL) for address in GLOBAL),
]


@pytest.mark.parametrize(("address", "reach"), TABLE)
def test_every_address_has_a_reach(address: str, reach: Reach) -> None:
    assert reach_of(ip_address(address)) is reach


@given(st.ip_addresses(v=4).map(lambda inner: ip_address(f"::ffff:{inner}")))
def test_no_mapped_address_is_ever_dialled(address: object) -> None:
    assert reach_of(address) is Reach.NEVER  # type: ignore[arg-type]


@pytest.mark.parametrize("address", NEVER)
def test_no_setting_allows_an_address_that_is_never_dialled(address: str) -> None:
    with pytest.raises(OutboundRefused, match=f"{SETTING} cannot allow"):
        EVERYTHING.judge("depot.example", ip_address(address))


@pytest.mark.parametrize("address", PRIVATE)
def test_a_private_address_is_dialled_only_where_it_is_named(address: str) -> None:
    with pytest.raises(OutboundRefused) as caught:
        Allowance.parse("other.example, 10.1.0.0/16").judge("depot.example", ip_address(address))
    assert caught.value.permanent
    assert address in str(caught.value)
    assert SETTING in str(caught.value)
    EVERYTHING.judge("depot.example", ip_address(address))
    Allowance.parse(address).judge("depot.example", ip_address(address))


@pytest.mark.parametrize("address", GLOBAL)
def test_a_global_address_needs_no_setting(address: str) -> None:
    Allowance().judge("maker.example", ip_address(address))


@pytest.mark.parametrize(
    ("setting", "host", "address", "allowed"),
    [
        ("depot.example", "depot.example", "10.0.0.1", True),
        ("depot.example", "DEPOT.example.", "127.0.0.1", True),  # whatever it leads to
        ("Depot.Example.", "depot.example", "fd12::1", True),
        ("depot.example", "sub.depot.example", "10.0.0.1", False),
        ("depot.example", "evil-depot.example", "10.0.0.1", False),
        ("127.0.0.1", "localhost", "127.0.0.1", True),
        ("127.0.0.1", "localhost", "::1", False),
        ("10.20.0.0/16", "anything.example", "10.20.255.1", True),
        ("10.20.0.0/16", "anything.example", "10.21.0.1", False),
        (" 10.20.0.0/16 ,, ::1 ", "localhost", "::1", True),
        ("0.0.0.0/0", "localhost", "::1", False),
    ],
)
def test_the_setting_names_hosts_and_networks(
    setting: str, host: str, address: str, allowed: bool
) -> None:
    allowance = Allowance.parse(setting)
    if allowed:
        allowance.judge(host, ip_address(address))
    else:
        with pytest.raises(OutboundRefused):
            allowance.judge(host, ip_address(address))


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("http://10.0.0.1", "neither a host name"),
        ("depot.example:8080", "neither a host name"),
        ("*.example", "neither a host name"),
        ("depot example", "neither a host name"),
        ("müller.example", "xn--"),
        ("-depot", "neither a host name"),
        ("10.20.30.40/8", "write 10.0.0.0/8"),
        ("10.20.0.0/33", "not a network"),
        ("0x7f.1", "usual form"),
        ("2130706433", "usual form"),
        ("10.20.30.256", "usual form"),
        ("169.254.169.254", "can never be allowed"),
        ("fe80::/64", "can never be allowed"),
    ],
)
def test_a_wrong_entry_is_named_with_its_remedy(entry: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        Allowance.parse(f"10.0.0.0/8, {entry}")
    assert entry in str(caught.value)


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1.", "127.0.0.1"),
        ("127.1", "127.0.0.1"),
        ("0x7f.1", "127.0.0.1"),
        ("0X7F000001", "127.0.0.1"),
        ("017700000001", "127.0.0.1"),
        ("0177.0.0.01", "127.0.0.1"),
        ("2130706433", "127.0.0.1"),
        ("2852039166", "169.254.169.254"),
        ("[::1]", "::1"),
        ("fe80::1%25eth0", "fe80::1%eth0"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("depot.example", None),
        ("1.2.3.4 depot", None),
        ("1..2", None),
        ("", None),
        ("10.example", None),
        ("4294967296", None),
    ],
)
def test_an_address_is_known_however_it_is_spelled(host: str, address: str | None) -> None:
    assert literal_address(host) == (None if address is None else ip_address(address))


def test_only_a_literal_address_is_judged_without_resolution() -> None:
    Allowance().judge_literal("localhost")
    with pytest.raises(OutboundRefused):
        Allowance().judge_literal("0x7f.1")
