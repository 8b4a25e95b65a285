"""Everything that the API needs from the rest of the process, passed in by the composition root.

It owns no behaviour: protocols, callables and numbers only. So the API can be built over PostgreSQL
or over the in-memory twin without knowing which.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from api.addresses import TrustedProxies
from api.frame import FrameLimits
from api.gate import GateLimits
from api.legacy_answers import LegacyAnswers
from api.pages.live_limits import StreamLimits
from api.senders import Senders
from api.settings_pages import EVERYWHERE, SettingsPages
from api.traffic import HttpTraffic
from runtime.measures import UNMEASURED, Measures

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from pydantic import BaseModel
    from structlog.typing import FilteringBoundLogger

    from api.exposition import Exposition
    from api.jwt_access import JwtAccess
    from api.key_uses import KeyUses
    from api.pages.live_board import LiveBoard
    from ports.changes import ChangeHistory
    from ports.cutovers import Cutovers
    from ports.indicators import Indicators
    from ports.ingest import Ingest
    from ports.keys import Keys
    from ports.legacy import LegacySystems
    from ports.legacy_syncs import LegacySyncStore, RegistrySyncs
    from ports.notices import Nudges
    from ports.parity import ParityReads
    from ports.providers import Provider
    from ports.quarantine import Quarantine
    from ports.reads import Reads
    from ports.registry import Credentials, Registry
    from ports.sign_ins import SignIns
    from ports.trials import Trials
    from runtime.outbound import Allowance


class DatabaseTime(Protocol):
    """The time that all shards share, as of `runtime.clock.SharedClock`."""

    def now(self) -> datetime:
        """Return an aware datetime in UTC. Raises an EnvironmentFault while it is not known."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiServices:
    """The stores, actors and limits that the API uses. `providers` are by provider_type.

    `outbound` has the places that providers may connect to. All shards share `cursor_key`, so that
    any of them can serve the next page. `runtime_report` and `readiness` are called in a request
    and must not block. `readiness` has the checks of this process (ingest alive, lanes not full …);
    the API adds those of the database.
    """

    registry: Registry
    reads: Reads
    indicators: Indicators
    changes: ChangeHistory
    cutovers: Cutovers
    parity: ParityReads
    legacy: LegacySystems
    legacy_syncs: LegacySyncStore
    registry_syncs: RegistrySyncs
    quarantine: Quarantine
    keys: Keys
    key_uses: KeyUses
    sign_ins: SignIns
    ingest: Ingest
    nudges: Nudges
    providers: Mapping[str, Provider]
    outbound: Allowance
    credentials: Credentials
    trials: Trials
    clock: DatabaseTime
    runtime_report: Callable[[], Mapping[str, Any]]
    process_model: type[BaseModel]  # describes the report
    readiness: Callable[[], Mapping[str, bool]]
    cursor_key: bytes
    log: FilteringBoundLogger
    jwts: JwtAccess | None = None  # None: no issuer is configured, so only keys are taken
    ingest_timeout_seconds: float = 10.0
    is_paused: bool = False  # this process was started to collect nothing
    min_poll_interval_seconds: int = 60  # demos and tests lower it to 2
    senders: Senders = field(default_factory=Senders)
    legacy_answers: LegacyAnswers = field(default_factory=LegacyAnswers)
    traffic: HttpTraffic = field(default_factory=HttpTraffic)
    probe_traffic: HttpTraffic = field(default_factory=HttpTraffic)
    limits: FrameLimits = field(default_factory=FrameLimits)
    gate_limits: GateLimits = field(default_factory=GateLimits)
    proxies: TrustedProxies = field(default_factory=TrustedProxies)
    measures: Measures = UNMEASURED
    exposition: Exposition | None = None  # None: there is no /metrics
    metrics_open: bool = False  # /metrics asks for no key
    settings_pages: SettingsPages = EVERYWHERE
    live: LiveBoard | None = None  # None: no page is live
    stream_limits: StreamLimits = field(default_factory=StreamLimits)
