"""A DSN, judged before anything uses it: the settings refuse what the driver could not read.

Owns the sentences about a DSN. A password with a character that means something in an address moves the borders of
all parts: half of it becomes a host, a port or a parameter, and a parser that quotes what it cannot read prints it. So
no sentence here, and none about a DSN anywhere, repeats any of it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

FORM: Final = "postgresql://user:password@host[,host]/database"
UNUSABLE: Final = (
    "the DSN cannot be used as it is: check its hosts, ports, parameters and the files they name, and write "
    "every / ? # [ ] @ % in user and password percent-encoded"
)
_ENCODED: Final = "in user and password write / as %2F, ? as %3F, # as %23, @ as %40, % as %25"
_HOST: Final = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%\w]+\]|[\w.~%-]*)(?::(?P<port>[^:]*))?")
_KNOWN: Final = frozenset(
    (
        *("host", "port", "user", "password", "dbname", "database", "passfile", "service", "target_session_attrs"),
        *("sslmode", "sslcert", "sslkey", "sslrootcert", "sslcrl", "sslpassword", "sslnegotiation"),
        *("ssl_min_protocol_version", "ssl_max_protocol_version", "krbsrvname", "gsslib"),
        *("application_name", "options", "search_path"),
    )
)
_CHOICES: Final = {
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "target_session_attrs": ("any", "primary", "standby", "read-write", "read-only", "prefer-standby"),
}


def check_dsn(dsn: str) -> None:
    """Raise ValueError unless the DSN can be read. The text names the part, and repeats nothing of it."""
    scheme, separator, rest = dsn.partition("://")
    if not separator or scheme.lower() not in ("postgresql", "postgres"):
        raise ValueError(f"a DSN begins with postgresql://, as in {FORM}")
    fault = next(_faults(rest), None) or _fault_of_parser(dsn)
    if fault is not None:
        raise ValueError(fault)


def _faults(rest: str) -> Iterator[str]:
    """In an order in which each can rely on those before it."""
    if re.search(r"[\s\x00-\x1f\x7f]", rest):
        yield "it holds a space, a line break or a control character: write it percent-encoded, a space as %20"
    if "#" in rest:
        yield f"it holds a #, which ends an address: {_ENCODED}"
    if re.search(r"%(?![0-9A-Fa-f]{2})|%00", rest):
        yield f"it holds a % that begins no percent-encoded character: {_ENCODED}"
    authority, behind = re.fullmatch(r"([^/?]*)(.*)", rest, re.DOTALL).groups()  # type: ignore[union-attr]  # matches all
    if "@" in behind:
        yield f"an @ stands behind the first / or ?, where the hosts have ended: {_ENCODED}"
    login, _, hosts = authority.rpartition("@")
    if "@" in login:
        yield f"it holds more than one @, which ends user and password: {_ENCODED}"
    if "[" in login or "]" in login:
        yield "user or password hold a [ or ]: write [ as %5B and ] as %5D"
    database, _, query = behind.partition("?")
    if "/" in database[1:]:
        yield "the database's name holds a /: write it as %2F"
    yield from _faults_of_hosts(hosts)
    yield from _faults_of_parameters(query)


def _faults_of_hosts(hosts: str) -> Iterator[str]:
    for number, host in enumerate(hosts.split(","), start=1):
        found = _HOST.fullmatch(host)
        if found is None:
            yield f"host {number} cannot be read: give a name, an address, or one in [ ] with colons in it"
        elif found["port"] and not _is_port(found["port"]):
            yield f"the port of host {number} is no number from 1 to 65535; {_ENCODED}"


def _faults_of_parameters(query: str) -> Iterator[str]:
    for number, parameter in enumerate(query.split("&") if query else (), start=1):
        name, equals, value = parameter.partition("=")
        if not equals or name not in _KNOWN:
            yield (
                f"parameter {number} behind the ? is not known: known are {', '.join(sorted(_KNOWN))} "
                "(other settings of a session: options=-c%20name%3Dvalue). Within a value write & as %26"
            )
        elif name in _CHOICES and unquote(value) not in _CHOICES[name]:
            yield f"{name} must be one of {', '.join(_CHOICES[name])}"
        elif name == "port" and not all(_is_port(port) for port in unquote(value).split(",")):
            yield "a port behind the ? is no number from 1 to 65535"


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= 65535


def _fault_of_parser(dsn: str) -> str | None:
    """What the library's own parser refuses, in our words: its error repeats the whole address."""
    try:
        urlsplit(dsn)
        unquote(dsn, errors="strict")
    except ValueError:
        return "it holds characters that cannot stand in an address: write them percent-encoded, as UTF-8"
    return None
