"""A DSN with several hosts, taken apart into one DSN for each.

Owns how a DSN names hosts. Pure; whoever connects tries them in turn, each with a share of the time. The driver tries
them in turn too, but under one deadline for all: a first host that takes the connection and says nothing, or never
answers a SYN, would use it up at every attempt, and the second would never be asked.
"""

from __future__ import annotations

from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

from storage.dsn import UNUSABLE


def each_host(dsn: str) -> list[str]:
    """One DSN a host, in order; the DSN itself when it names one host or none. Raises ValueError for no DSN at all.

    Hosts stand before the path (`h1:5432,h2:5433`) or in the query (`host=h1,h2&port=5432,5433`), as in libpq.
    """
    try:
        parts = urlsplit(dsn)
    except ValueError:
        raise ValueError(UNUSABLE) from None  # its text repeats the password
    credentials, at, netloc = parts.netloc.rpartition("@")
    query = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
    hosts = (netloc or query.get("host", "")).split(",")
    ports = query.get("port", "").split(",")
    if len(hosts) < 2 or len(ports) not in (1, len(hosts)):
        return [dsn]
    if len(ports) == 1:
        ports *= len(hosts)
    dsns = []
    for host, port in zip(hosts, ports, strict=True):
        own = {**query, **({"port": port} if port else {}), **({} if netloc else {"host": host})}
        place = f"{credentials}{at}{host}" if netloc else parts.netloc
        dsns.append(urlunsplit(parts._replace(netloc=place, query=urlencode(own))))
    return dsns
