"""The two listeners of a shard, the API's and the probes', with their limits from the settings.

Owns the translation of settings into limits. api/gate.py and api/connection_table.py apply them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from api.addresses import TrustedProxies
from api.gate import GateLimits
from api.in_flight import InFlightLimits
from api.server import PROBE_LIMITS, ServerLimits, make_listener_parts
from lastheard.listeners import Address, Listener

if TYPE_CHECKING:
    from api.traffic import HttpTraffic
    from lastheard.settings import Settings

OTHER_DESCRIPTORS = 1000


def make_listeners(
    settings: Settings, traffic: HttpTraffic, probe_traffic: HttpTraffic
) -> tuple[Listener, Listener]:
    """Return the API's listener and the probes'. Load on the first does not delay the second."""
    limits = ServerLimits(
        max_connections=settings.http_max_connections,
        max_connections_per_address=settings.http_max_connections_per_address,
    )
    parts = make_listener_parts(limits, traffic, make_proxies(settings))
    api = Listener("http", _api_address(settings), parts)
    # When no descriptor is left, a connection to the API is closed for a probe's.
    probe_parts = make_listener_parts(PROBE_LIMITS, probe_traffic)
    probe_parts = replace(probe_parts, make_room=parts.make_room)
    probes = Listener("probes", _probe_address(settings), probe_parts)
    return api, probes


def descriptors_wanted(settings: Settings) -> int:
    """Return how many descriptors a shard may need: for all its connections, streams and files."""
    connections = settings.http_max_connections + PROBE_LIMITS.max_connections
    return connections + settings.max_provider_connections + settings.pool_size + OTHER_DESCRIPTORS


def make_proxies(settings: Settings) -> TrustedProxies:
    return TrustedProxies(settings.http_trusted_proxies, settings.http_forwarded_header)


def make_gate_limits(settings: Settings) -> GateLimits:
    return GateLimits(
        places=InFlightLimits(
            total=settings.http_max_in_flight,
            per_key=settings.http_max_in_flight_per_key,
            without_key=settings.http_max_in_flight_without_key,
            per_address=settings.http_max_in_flight_per_address,
        ),
        requests_per_second=settings.http_requests_per_second,
        wrong_keys_per_second=settings.http_wrong_keys_per_second,
    )


def _api_address(settings: Settings) -> Address:
    remedy = (
        "Choose another with --port or LASTHEARD_HTTP_PORT (0 picks a free one), or --host. A "
        "second shard on this machine also needs another --probe-port and its own "
        "LASTHEARD_SHARD_ID"
    )
    return Address(settings.http_host, settings.http_port, remedy)


def _probe_address(settings: Settings) -> Address:
    remedy = (
        "The probes need a port of their own, and each shard of one machine another: choose it "
        "with --probe-port or "
        "LASTHEARD_PROBE_PORT (0 picks a free one), or its host with LASTHEARD_PROBE_HOST"
    )
    return Address(settings.probe_host or settings.http_host, settings.probe_port, remedy)
