"""Checks of a DSN before anything uses it: the settings refuse one that the driver could not read.

Owns the messages about a DSN. If a password holds a character that has a meaning in an address, the
borders of all parts move: half of the password becomes a host, a port or a parameter, and a parser
that quotes what it cannot read prints it. So no message about a DSN, here or elsewhere, repeats any
part of it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

FORM: Final = "postgresql://user:password@host[,host]/database"
UNUSABLE: Final = (
    "the DSN cannot be used as it is: check its hosts, ports, parameters and the files they name, "
    "and write "
    "every / ? # [ ] @ % in user and password percent-encoded"
)
_ENCODED: Final = "in user and password write / as %2F, ? as %3F, # as %23, @ as %40, % as %25"
_HOST: Final = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%\w]+\]|[\w.~%-]*)(?::(?P<port>[^:]*))?")
_KNOWN: Final = frozenset(
    (
        *(
            "host",
            "port",
            "user",
            "password",
            "dbname",
            "database",
            "passfile",
            "service",
            "target_session_attrs",
        ),
        *("sslmode", "sslcert", "sslkey", "sslrootcert", "sslcrl", "sslpassword", "sslnegotiation"),
        *("ssl_min_protocol_version", "ssl_max_protocol_version", "krbsrvname", "gsslib"),
        *("application_name", "options", "search_path"),
    )
)
_CHOICES: Final = {
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "target_session_attrs": (
        "any",
        "primary",
        "standby",
        "read-write",
        "read-only",
        "prefer-standby",
    ),
}


def check_dsn(dsn: str) -> None:
    """Raise ValueError unless the DSN can be read.

    The message names the part at fault and repeats nothing of the DSN.
    """
    scheme, separator, rest = dsn.partition("://")
    if not separator or scheme.lower() not in ("postgresql", "postgres"):
        raise ValueError(f"a DSN begins with postgresql://, as in {FORM}")
    fault = next(_faults(rest), None) or _fault_of_parser(dsn)
    if fault is not None:
        raise ValueError(fault)


def _faults(rest: str) -> Iterator[str]:
    """Yield the faults in an order in which each check can rely on those before it."""
    if re.search(r"[\s\x00-\x1f\x7f]", rest):
        yield (
            "it holds a space, a line break or a control character: write it percent-encoded, "
            "a space as %20"
        )
    if "#" in rest:
        yield f"it holds a #, which ends an address: {_ENCODED}"
    if re.search(r"%(?![0-9A-Fa-f]{2})|%00", rest):
        yield f"it holds a % that does not begin a percent-encoded character: {_ENCODED}"
    found = re.fullmatch(r"([^/?]*)(.*)", rest, re.DOTALL)
    assert found is not None  # noqa: S101 the pattern matches any text
    authority, behind = found.groups()
    if "@" in behind:
        yield f"an @ comes after the first / or ?, which ends the hosts: {_ENCODED}"
    login, _, hosts = authority.rpartition("@")
    if "@" in login:
        yield f"it holds more than one @, which ends user and password: {_ENCODED}"
    if "[" in login or "]" in login:
        yield "the user or the password holds a [ or ]: write [ as %5B and ] as %5D"
    database, _, query = behind.partition("?")
    if "/" in database[1:]:
        yield "the database's name contains a /: write it as %2F"
    yield from _faults_of_hosts(hosts)
    yield from _faults_of_parameters(query)


def _faults_of_hosts(hosts: str) -> Iterator[str]:
    for number, host in enumerate(hosts.split(","), start=1):
        found = _HOST.fullmatch(host)
        if found is None:
            yield f"host {number} cannot be read: give a name or an address, IPv6 in [ ]"
        elif found["port"] and not _is_port(found["port"]):
            yield f"the port of host {number} is not a number from 1 to 65535; {_ENCODED}"


def _faults_of_parameters(query: str) -> Iterator[str]:
    for number, parameter in enumerate(query.split("&") if query else (), start=1):
        name, equals, value = parameter.partition("=")
        if not equals or name not in _KNOWN:
            yield (
                f"parameter {number} behind the ? is not known: known are "
                f"{', '.join(sorted(_KNOWN))} "
                "(other settings of a session: options=-c%20name%3Dvalue). Within a value write & "
                "as %26"
            )
        elif name in _CHOICES and unquote(value) not in _CHOICES[name]:
            yield f"{name} must be one of {', '.join(_CHOICES[name])}"
        elif name == "port" and not all(_is_port(port) for port in unquote(value).split(",")):
            yield "a port behind the ? is not a number from 1 to 65535"


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= 65535


def _fault_of_parser(dsn: str) -> str | None:
    """Return the fault that the library's own parser finds, or None.

    The message is ours, because the parser's error repeats the whole address.
    """
    try:
        urlsplit(dsn)
        unquote(dsn, errors="strict")
    except ValueError:
        return (
            "it holds characters that cannot stand in an address: "
            "write them percent-encoded, as UTF-8"
        )
    return None
