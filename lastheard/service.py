"""One shard, built by hand: all its parts in starting order, each child with its restart rule.

Owns which parts are started, their order, and how all of them end. It must never decide anything
about telematics.
"""

from __future__ import annotations

from contextlib import AsyncExitStack, aclosing
from dataclasses import fields
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

import trio

from actors.connections import Connector
from actors.ingest import IngestActor
from actors.rollups import RollupActor
from actors.rosters import RosterPolicy
from actors.session import CurrentSession
from actors.tools import ActorTools
from actors.trial import ConnectionTrials
from actors.upkeep import UpkeepActor
from actors.waits import ProviderWaits
from api.app import create_app, create_probe_app
from api.exposition import Exposition
from api.key_uses import KeyUses
from api.pages.live_board import LiveBoard
from api.services import ApiServices
from api.traffic import HttpTraffic
from lastheard.credentials import CredentialReader
from lastheard.http_limits import make_gate_limits, make_listeners, make_proxies
from lastheard.jwt_issuer import make_jwt_issuer
from lastheard.legacy_systems import make_legacy_access, make_sync_command
from lastheard.metrics import ServiceMetrics
from lastheard.pause import remind_of_pause
from lastheard.process_model import PROCESS_MODEL
from lastheard.process_statistics import ProcessStatistics, ProcessTotals
from lastheard.shard_parts import make_shard
from ports.upkeep import Retention
from providers.http import HttpPool
from providers.known import make_providers
from runtime import garbage, spans
from runtime.clock import SharedClock, SystemClock
from runtime.dialling import Dialler
from runtime.logs import get_logger
from runtime.loop_lag import report_loop_lag
from runtime.shutdown import ShutdownPlan
from runtime.supervisor import EssentialChildFailed, Restart, Supervisor
from storage.changes import PostgresChangeHistory
from storage.cursor_key import load_cursor_key
from storage.cutovers import PostgresCutovers
from storage.indicators import PostgresIndicators
from storage.ingest import PostgresIngestStore
from storage.keys import PostgresKeys
from storage.legacy_syncs import PostgresLegacySyncs
from storage.live import PostgresLiveReads
from storage.migrations import check_schema
from storage.parity import PostgresParityReads
from storage.pools import Pools
from storage.quarantine import PostgresQuarantine
from storage.reads import PostgresReads
from storage.registry.store import PostgresRegistry
from storage.rollups import PostgresRollupStore
from storage.sign_ins import PostgresSignIns
from storage.upkeep import PostgresUpkeepStore

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lastheard.settings import Settings

MIN_PARTITION_DAYS = 2
KEY_USES_SECONDS = 1.0  # at the end, for the uses of the last minute
EXIT_SUPERSEDED = 75
EXIT_ESSENTIAL_FAILED = 70


class Service:
    """A shard that can be run once. `stop` ends it in order; then `exit_code` is the process's."""

    def __init__(self, settings: Settings, dsn: str) -> None:
        random = Random()  # noqa: S311 - jitter, not secrets
        self._settings = settings
        self._dsn = dsn
        self._log = get_logger("service")
        self._stop = trio.Event()
        self._draining = False
        self.exit_code = 0
        self.metrics = ServiceMetrics()
        measures = self.metrics.measures

        # Storage: a pool of connections for each purpose, and the stores on top of them.
        self.database = Pools(
            dsn,
            collecting=settings.collecting_connections,
            api=settings.api_connections,
            ingest=settings.writers,
            application_name=f"lastheard/{settings.shard_id}",
            measures=measures,
        )
        collecting = self.database.collecting
        self.registry = PostgresRegistry(self.database.api)
        self.keys = PostgresKeys(self.database.api)
        self._key_uses = KeyUses(self.keys)
        self._reads = PostgresReads(self.database.api)
        self._live = LiveBoard(PostgresLiveReads(self.database.api))
        self._upkeep_store = PostgresUpkeepStore(collecting)

        # Providers: one dialler and one HTTP pool for all, one object per type.
        self._dialler = Dialler(settings.allowance)
        self._http_pool = HttpPool(
            self._dialler,
            max_connections=settings.max_provider_connections,
            max_response_bytes=settings.max_answer_bytes,
            measures=measures,
        )
        self._providers = make_providers(self._http_pool)
        self._credentials = CredentialReader(settings.credentials_folder)
        self._connector = Connector(self._providers, self._credentials.resolve)

        # Legacy systems, which workspaces on their way to this service still have.
        self._clock = SharedClock(SystemClock())
        self._legacy = make_legacy_access(
            settings, self._dialler, self._credentials, self._clock, PostgresCutovers(collecting)
        )

        # Actors: the only writers of telematics, the chores, and the shard with all that it owns.
        self._waits = ProviderWaits()
        self.current = CurrentSession()
        self.ingest = IngestActor(
            PostgresIngestStore(self.database.ingest),
            self.current,
            random=random,
            measures=measures,
            writers=settings.writers,
        )
        kept = Retention(**settings.model_dump(include=set(Retention._fields)))
        self._upkeep = UpkeepActor(self._upkeep_store, random, kept)
        self._facts_days = kept.facts_days
        self._rollups = RollupActor(
            PostgresRollupStore(collecting), random, facts_days=kept.facts_days
        )
        self.shard = make_shard(
            settings,
            self.database,
            self.current,
            ActorTools(
                *(self._connector, self.ingest, self._clock, random, self._legacy.systems),
                rosters=RosterPolicy(settings.roster_seconds, settings.roster_while_silent_seconds),
                waits=self._waits,
                measures=self.metrics.measures,
            ),
            on_superseded=lambda: self.stop(EXIT_SUPERSEDED),
        )
        self._supervisor = Supervisor("shard", random=random)
        self._jwt_issuer = make_jwt_issuer(settings, self._dialler, self._clock)

        # Two listeners, so that load on the API's does not delay the probes' answers.
        self._traffic = HttpTraffic()
        self._probe_traffic = HttpTraffic()
        self._api, self._probes = make_listeners(settings, self._traffic, self._probe_traffic)

    @property
    def port(self) -> int:
        """The port that the API listens on; 0 before it is bound."""
        return self._api.port

    @property
    def probe_port(self) -> int:
        """The port that the probes listen on; 0 before it is bound."""
        return self._probes.port

    def _api_services(self, cursor_key: bytes) -> ApiServices:
        """Return what the API needs: the stores, actors and limits of this shard."""
        return ApiServices(
            registry=self.registry,
            reads=self._reads,
            indicators=PostgresIndicators(self.database.api, self._facts_days),
            changes=PostgresChangeHistory(self.database.api),
            cutovers=PostgresCutovers(self.database.api),
            parity=PostgresParityReads(self.database.api),
            legacy=self._legacy.systems,
            legacy_syncs=PostgresLegacySyncs(self.database.api),
            registry_syncs=make_sync_command(self._legacy, self.database.api),
            quarantine=PostgresQuarantine(self.database.api),
            keys=self.keys,
            key_uses=self._key_uses,
            sign_ins=PostgresSignIns(self.database.api),
            ingest=self.ingest,
            nudges=self.shard,
            providers=self._providers,
            outbound=self._settings.allowance,
            credentials=self._credentials,
            trials=ConnectionTrials(self._providers, self._connector, self._clock, self._waits),
            clock=self._clock,
            runtime_report=self._runtime_report,
            process_model=PROCESS_MODEL,
            readiness=self.readiness,
            is_paused=self._settings.paused,
            cursor_key=cursor_key,
            log=get_logger("api"),
            jwts=None if self._jwt_issuer is None else self._jwt_issuer.access,
            min_poll_interval_seconds=self._settings.min_poll_interval_seconds,
            traffic=self._traffic,
            probe_traffic=self._probe_traffic,
            gate_limits=make_gate_limits(self._settings),
            proxies=make_proxies(self._settings),
            measures=self.metrics.measures,
            exposition=Exposition(self.metrics.gatherer(self.totals, self.readiness, self._reads)),
            metrics_open=self._settings.metrics_open,
            settings_pages=self._settings.settings_pages_flag,
            live=self._live,
        )

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Start everything, report `task_status`, and work until `stop`; then see `exit_code`.

        Needs `storage.gateway.open_bridge` around it. Raises SchemaMismatch before anything has
        started, and AddressUnavailable for an address that cannot be bound. Cancelling skips the
        ordered end: prefer `stop`.
        """
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(aclosing(self.database))
            (await check_schema(self.database.collecting)).require()
            await self._upkeep_store.ensure_partitions(days_ahead=MIN_PARTITION_DAYS)
            services = self._api_services(await load_cursor_key(self.database.collecting))
            await stack.enter_async_context(self._http_pool)
            await stack.enter_async_context(self._legacy.opened())
            if self._jwt_issuer is not None:
                await stack.enter_async_context(self._jwt_issuer.pool)
            try:
                async with self._supervisor.open() as root:
                    # Essential: without ingest nothing is stored. It returns only when drained at
                    # the end.
                    root.start("ingest", self.ingest.run, restart=Restart.TRANSIENT, essential=True)
                    # Not essential: partitions exist for days ahead. Upkeep may fail, be parked and
                    # be retried while the rest goes on.
                    root.start("upkeep", self._upkeep.run, restart=Restart.PERMANENT)
                    # Not essential: indicators are counted from the facts without it, more slowly.
                    root.start("rollups", self._rollups.run, restart=Restart.PERMANENT)
                    # Not essential: it writes when keys were last used. Restarted alone.
                    root.start("key_uses", self._key_uses.run, restart=Restart.PERMANENT)
                    # Not essential: pages reload themselves without it. Restarted alone.
                    root.start("live_pages", self._live.run, restart=Restart.PERMANENT)
                    # Not essential: it measures how late the event loop is. Restarted alone.
                    report_lag = partial(report_loop_lag, self.metrics.measures.loop_lag_seconds)
                    root.start("loop_lag", report_lag, restart=Restart.PERMANENT)
                    if self._jwt_issuer is not None:
                        # Not essential: keys of this service are taken without it, and so are JWTs
                        # whose keys are known. Restarted alone.
                        keys = self._jwt_issuer.keys
                        root.start("jwt_keys", keys.run, restart=Restart.PERMANENT)
                    if self._settings.paused:
                        # Not essential: it only writes a line into the log.
                        remind = partial(remind_of_pause, self._log)
                        root.start("pause_notice", remind, restart=Restart.PERMANENT)
                    # Essential: a shard that cannot answer is of no use. The API is a sibling of
                    # the actors, never their parent. It starts before the shard: a process that
                    # cannot bind its address must not supersede the one that has bound it.
                    await self._api.start(root, create_app(services), essential=True)
                    # Not essential: the probes' listener is restarted alone. It ends last, with the
                    # supervisor, since a draining shard is probed too.
                    await self._probes.start(root, create_probe_app(services), essential=False)
                    # Essential: the shard owns the session and, under a supervisor of its own,
                    # every workspace and stream.
                    root.start("shard", self.shard.run, restart=Restart.PERMANENT, essential=True)
                    # Without a session the database's time is not known, and every request would be
                    # refused.
                    await self.current.wait_for_session()
                    garbage.freeze_and_tune()
                    self._log.info(
                        "service_started",
                        port=self.port,
                        probe_port=self.probe_port,
                        shard_id=self._settings.shard_id,
                        paused=self._settings.paused,
                    )
                    task_status.started()
                    await self._stop.wait()
                    await self._shut_down()
            except EssentialChildFailed as failure:
                self._log.critical("service_failed", child=failure.child)
                self.stop(EXIT_ESSENTIAL_FAILED)

    async def wait_stop_requested(self) -> None:
        """Return when the end has begun, on request or by a failure.

        It needs no deadline: a service runs until then.
        """
        await self._stop.wait()

    def stop(self, exit_code: int = 0) -> None:
        """Begin the ordered end. The first call decides the exit code. Never blocks."""
        if not self._stop.is_set():
            self.exit_code = exit_code
            self._stop.set()

    async def _shut_down(self) -> None:
        """End in order: readiness off, API closed, workspaces stopped, ingest flushed, session end.

        Each step has a budget of its own. Together with the watchdog's margin and the closing of
        the rest they stay within 30 s, which a container gets by default.
        """
        plan = ShutdownPlan()
        plan.add("readiness", 0.5, self._stop_being_ready)
        plan.add(
            "load_balancers", self._settings.drain_seconds + 0.1, self._wait_for_load_balancers
        )
        plan.add("http", 5.0, self._stop_http)
        plan.add("hand_over", 7.0, self.shard.drain)
        plan.add("flush", 5.0, self._flush)
        plan.add("session", 2.0, self.shard.end_session)
        await plan.run()

    async def _stop_being_ready(self) -> None:
        self._draining = True
        self._live.end()  # live pages come back to another shard
        await trio.lowlevel.checkpoint()

    async def _wait_for_load_balancers(self) -> None:
        """Serve on while load balancers notice that readiness is off.

        The setting's time comes on top of the other budgets.
        """
        await trio.sleep(self._settings.drain_seconds)

    async def _stop_http(self) -> None:
        self._api.stop.set()
        await self._wait_ended("http")
        with trio.move_on_after(KEY_USES_SECONDS):
            await self._key_uses.write()

    async def _flush(self) -> None:
        self.ingest.close()
        try:
            await self._wait_ended("ingest")
        finally:
            given_up = self.ingest.give_up()
            if given_up:
                self._log.error("submissions_given_up", submissions=given_up)

    async def _wait_ended(self, name: str) -> None:
        """Wait until a child has returned by itself. The step's budget bounds the wait."""
        for child in self._supervisor.children():
            if child.name == name:
                await child.wait_ended()

    def readiness(self) -> Mapping[str, bool]:
        """Return the readiness checks of this process. None is about a provider.

        Probes may call this at any rate, so its cost does not depend on how much is owned.
        """
        return {
            "not_draining": not self._draining,
            "ingest_commits": not self.ingest.is_failing,
            "lanes_have_room": self.ingest.lanes_have_room,
            "session_live": self.shard.has_session,
        }

    def statistics(self) -> ProcessStatistics:
        """Return the statistics of all parts."""
        return ProcessStatistics(
            **self._part_statistics(),
            ingest=self.ingest.statistics(),
            shard=self.shard.statistics(),
            legacy=self._legacy.client.statistics(),
            jwt=None if self._jwt_issuer is None else self._jwt_issuer.access.statistics(),
            actors=self._supervisor.statistics(),
        )

    def totals(self) -> ProcessTotals:
        """Return what the metrics show. Cheap, however much is owned."""
        return ProcessTotals(
            **self._part_statistics(),
            ingest=self.ingest.totals(),
            shard=self.shard.totals(),
            owned=self.shard.owned_totals(),
            actors=self._supervisor.totals(),
        )

    def _part_statistics(self) -> dict[str, Any]:
        return {
            "upkeep": self._upkeep.statistics(),
            "rollups": self._rollups.statistics(),
            "database": self.database.statistics(),
            "outbound": self._dialler.statistics(),
            "provider_http": self._http_pool.statistics(),
            "legacy_http": self._legacy.pool.statistics(),
            "http": self._traffic.statistics(),
            "probes": self._probe_traffic.statistics(),
            "live": self._live.statistics(),
            "traces": spans.statistics(),
        }

    def _runtime_report(self) -> dict[str, object]:
        """Return the statistics by the name of their part. The API writes them as JSON."""
        report = self.statistics()
        return {part.name: getattr(report, part.name) for part in fields(report)}
