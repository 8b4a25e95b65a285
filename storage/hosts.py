"""A DSN with several hosts, split into one DSN for each.

Owns how a DSN names hosts. Pure. The caller tries the hosts in turn, each with a share of the time.
The driver tries them in turn too, but under one deadline for all. A first host that accepts the
connection and says nothing, or never answers a SYN, would use up that time at every attempt, and
the second would never be asked.
"""

from __future__ import annotations

from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

from storage.dsn import UNUSABLE


def each_host(dsn: str) -> list[str]:
    """Return one DSN for each host, in order. A DSN with one host or none is returned as it is.

    Hosts stand before the path (`h1:5432,h2:5433`) or in the query (`host=h1,h2&port=5432,5433`),
    as in libpq. Raises ValueError if the text is no DSN at all.
    """
    try:
        parts = urlsplit(dsn)
    except ValueError:
        raise ValueError(UNUSABLE) from None  # the error's text repeats the password
    credentials, at, netloc = parts.netloc.rpartition("@")
    query = {
        name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()
    }
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
