"""Everything the HTTP side stands on, handed in by whoever composes the process.

It owns no behaviour: protocols, callables and numbers only, so that the API can be built over PostgreSQL or over the
in-memory twin without knowing which.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from api.addresses import TrustedProxies
from api.frame import FrameLimits
from api.gate import GateLimits
from api.traffic import HttpTraffic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from structlog.typing import FilteringBoundLogger

    from actors.ports import Provider
    from api.ports import Credentials, Ingest, Keys, Nudges, Reads, Registry
    from runtime.outbound import Allowance


class DatabaseTime(Protocol):
    """`runtime.clock.SharedClock` is one: the time that all shards share."""

    def now(self) -> datetime:
        """Aware, in UTC. Raises an EnvironmentFault while it is not known."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiServices:
    """`providers` by provider_type; `outbound` says where they may connect to. `cursor_key` is shared
    by all shards, so that a page can come from any of them.

    `runtime_report` and `readiness` are called in the request and must not block; `readiness` says what is true of
    this process (ingest alive, lanes not full …), the API adds what is true of the database.
    """

    registry: Registry
    reads: Reads
    keys: Keys
    ingest: Ingest
    nudges: Nudges
    providers: Mapping[str, Provider]
    outbound: Allowance
    credentials: Credentials
    clock: DatabaseTime
    runtime_report: Callable[[], Mapping[str, Any]]
    readiness: Callable[[], Mapping[str, bool]]
    cursor_key: bytes
    log: FilteringBoundLogger
    ingest_timeout_seconds: float = 10.0
    min_poll_interval_seconds: int = 60  # demos and tests lower it to 2
    traffic: HttpTraffic = field(default_factory=HttpTraffic)
    probe_traffic: HttpTraffic = field(default_factory=HttpTraffic)
    limits: FrameLimits = field(default_factory=FrameLimits)
    gate_limits: GateLimits = field(default_factory=GateLimits)
    proxies: TrustedProxies = field(default_factory=TrustedProxies)
