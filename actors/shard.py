"""The shard actor: this process's session and heartbeat, and which workspaces it owns.

Owns what one shard among many does; docs/ownership.md has the rules. runner.py runs the workspaces
that are owned. It must never write telematics data, never trust its session past the trust window,
and never outlive its session: when another process began a newer epoch of this shard, it asks for
the process's end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from actors.session import BEATS_PER_TTL, DEFAULT_TTL_SECONDS, Superseded
from domain.resource import workspace_of, workspace_resource
from runtime.assignment import Rounds, group_by_shared
from runtime.backoff import Backoff
from runtime.faults import EnvironmentFault
from runtime.flag import Flag
from runtime.logs import EdgeLog, get_logger

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Mapping
    from random import Random

    from actors.ingest import IngestActor
    from actors.runner import WorkspaceRunner
    from actors.session import CurrentSession, SessionKeeper
    from domain.model import SessionRef
    from domain.resource import Resource
    from ports.ownership import LeaseStore, Look, Notices, SessionStore
    from runtime.assignment import Assignment

ROUND_SECONDS = 2.0
CONFIGURATION_SECONDS = 5.0  # a command without a notice reaches its actors within this
MAX_LOADING_AT_ONCE = 4
TELL_BUDGET_SECONDS = 2.0


class ShardActor:
    """Holds the session, claims what is free and should be ours, hands over what should not."""

    def __init__(
        self,
        shard_id: str,
        keeper: SessionKeeper,
        sessions: SessionStore,
        leases: LeaseStore,
        notices: Notices,
        runner: WorkspaceRunner,
        ingest: IngestActor,
        current: CurrentSession,
        random: Random,
        *,
        on_superseded: Callable[[], None],
        ttl_seconds: float = DEFAULT_TTL_SECONDS,
        max_loading_at_once: int = MAX_LOADING_AT_ONCE,
    ) -> None:
        """`max_loading_at_once`: how many workspaces a takeover loads at the same time.

        It should be less than the number of database connections.
        """
        self._shard_id = shard_id
        self._keeper = keeper
        self._trust = keeper.trust
        self._sessions = sessions
        self._leases = leases
        self._notices = notices
        self._runner = runner
        self._ingest = ingest
        self._current = current
        self._on_superseded = on_superseded
        self._ttl_seconds = ttl_seconds
        self._beat_seconds = ttl_seconds / BEATS_PER_TTL
        self._round_seconds = min(ROUND_SECONDS, self._beat_seconds)
        self._configuration_seconds = min(CONFIGURATION_SECONDS, self._beat_seconds)
        self._rounds: Rounds[Resource] = Rounds(shard_id, ttl_seconds)
        self._next_moves_at = float("-inf")  # monotonic seconds
        self._groups: dict[Resource, str] = {}
        self._versions: Mapping[str, int] = {}
        self._taking_up = trio.CapacityLimiter(max_loading_at_once)
        self._leaving: set[str] = set()  # being handed over: stopped here, not released yet
        # Workspaces whose hand-over ended, released or not, since the latest round began. The
        # round's look may still show their leases as ours.
        self._left_since_look: set[str] = set()
        self._left = Flag()
        self._draining = False
        self._round_due, self._config_due = Flag(), Flag()
        self._counts = dict.fromkeys(("rounds", "claimed", "released", "declared_dead"), 0)
        self._backoff = Backoff(random, base_seconds=0.2, cap_seconds=self._round_seconds)
        self._log = get_logger("shard").bind(shard_id=shard_id)
        self._round_edge = EdgeLog(self._log, "assignment_round")
        self._config_edge = EdgeLog(self._log, "configuration")
        self._trust_edge = EdgeLog(self._log, "session_trust")

    async def run(self) -> None:
        """Live one session after the other until superseded.

        Environment faults are handled here.
        """
        try:
            session = self._current.session or await self._keeper.begin(after=None)
            while True:
                async with self._runner.open():
                    await self._live(session)
                session = await self._keeper.begin(after=session)
        except Superseded:
            self._log.error("shard_superseded", remedy="run one process per shard_id")
            self._on_superseded()
            await trio.sleep_forever()  # until the requested shutdown stops this actor

    async def _live(self, session: SessionRef) -> None:
        """Run everything that belongs to one session; return when the session is over."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keeper.keep, session, self._vital_signs)
            nursery.start_soon(self._assign_for_ever, session, nursery)
            nursery.start_soon(self._follow_configuration_for_ever)
            nursery.start_soon(self._watch_trust)
            nursery.start_soon(self._notices.listen, lambda _notice: self.registry_changed())
            await self._current.wait_fenced(session)  # by a unit or by a heartbeat
            nursery.cancel_scope.cancel()

    # --- the session

    async def _watch_trust(self) -> None:
        """Pause everything while the session cannot be trusted.

        During a pause sockets are closed, no cycle starts, and batches are kept.
        """
        while True:
            await self._trust.wait_closed()
            self._trust_edge.failed("no renewal in time", owned=len(self._runner.workspace_ids()))
            await self._runner.pause()
            await self._trust.wait_open()
            self._runner.resume()
            self._trust_edge.recovered()

    # --- ownership

    async def _assign_for_ever(self, session: SessionRef, nursery: trio.Nursery) -> None:
        while True:
            self._round_due.clear()
            pause = self._round_seconds
            if self._trust.is_open:
                try:
                    look = await self._round(session, nursery)
                except EnvironmentFault as fault:
                    self._round_edge.failed(fault)
                else:
                    self._round_edge.recovered()
                    pause = _until_next_round(look, self._round_seconds)
            with trio.move_on_after(pause):
                await self._round_due.wait()

    async def _round(self, session: SessionRef, nursery: trio.Nursery) -> Look:
        """Make one round: look, declare dead, decide, start hand-overs, claim, take up.

        Returns what it saw. Hand-overs go on in `nursery`.
        """
        self._counts["rounds"] += 1
        self._left_since_look.clear()
        look = await self._leases.look(session)
        if look.expired and self._may_declare_dead():
            dead = await self._leases.declare_dead(session)
            self._counts["declared_dead"] += len(dead)
            for over in dead:
                self._log.warning(
                    "session_declared_dead", dead_shard_id=over.shard_id, dead_epoch=over.epoch
                )
            look = await self._leases.look(session)
        await self._stop_lost(look)
        await self._learn_groups(look)
        decision = self._rounds.decide(
            trio.current_time(),
            look.members,
            look.mine,
            look.free,
            self._groups,
            draining=self._draining,
        )
        leaving = {name: look.mine[name] for name in self._due_moves(decision)} | dict(look.retired)
        for resource, token in leaving.items():
            workspace_id = workspace_of(resource)
            if workspace_id not in self._leaving and workspace_id not in self._left_since_look:
                self._leaving.add(workspace_id)
                nursery.start_soon(self._hand_over, session, workspace_id, token)
        claimed = await self._leases.claim(session, decision.claim) if decision.claim else {}
        self._counts["claimed"] += len(claimed)
        mine = {workspace_of(resource): token for resource, token in look.mine.items()}
        kept = {name: token for name, token in mine.items() if name not in self._left_since_look}
        taken = {workspace_of(resource): token for resource, token in claimed.items()}
        new = {
            name: token
            for name, token in {**kept, **taken}.items()
            if self._is_to_be_taken_up(name)
        }
        async with trio.open_nursery() as taking_up:
            for workspace_id, token in sorted(new.items()):
                taking_up.start_soon(self._take_up, session, workspace_id, token)
        if new:
            self._config_due.set()  # Notices sent while these were loading were missed, so reload.
        return look

    def _is_to_be_taken_up(self, workspace_id: str) -> bool:
        return (
            workspace_id not in self._runner
            and workspace_id not in self._leaving
            and not self._draining
        )

    def _due_moves(self, decision: Assignment[Resource]) -> tuple[Resource, ...]:
        """Return the resources to hand over now.

        Every release sends a notice, and every notice makes a round. So hand-overs of our own will
        are bounded by time; by rounds alone, a join would move its whole share at once.
        """
        now = trio.current_time()
        if self._draining or not decision.hand_over:
            return decision.hand_over
        if now < self._next_moves_at:
            return ()
        self._next_moves_at = now + self._round_seconds
        return decision.hand_over

    def _may_declare_dead(self) -> bool:
        """Return whether this shard may declare others dead now.

        Not while it drains. Not when its own session has only just become trusted: the others may
        be about to renew, too.
        """
        return not self._draining and self._trust.open_for_seconds >= self._beat_seconds

    async def _learn_groups(self, look: Look) -> None:
        """Group the workspaces that share a credential, because they belong together.

        Asks the database again only when there is a workspace without a group.
        """
        if not (look.mine.keys() | look.free.keys()) <= self._groups.keys():
            credentials = await self._leases.load_credentials()
            self._groups = group_by_shared(
                {name: credentials[name] for name in sorted(credentials)}
            )

    async def _stop_lost(self, look: Look) -> None:
        """Stop at once every workspace that runs here without a lease of ours.

        That happens only when somebody edited the lease by hand.
        """
        ours = {workspace_of(resource) for resource in look.mine.keys() | look.retired.keys()}
        for workspace_id in self._runner.workspace_ids() - ours:
            self._log.error("lease_lost", workspace_id=workspace_id)
            await self._runner.stop(workspace_id)

    async def _take_up(self, session: SessionRef, workspace_id: str, token: int) -> None:
        """Load a claimed workspace and start its actors.

        Configuration and cursors are read after the claim: from then on nobody else moves them. If
        the database does not answer now, the workspace stays ours, and the next round takes it up.
        """
        async with self._taking_up:
            try:
                fleet = await self._sessions.load_fleet(workspace_id)
            except EnvironmentFault as fault:
                self._round_edge.failed(fault)
                return
        if fleet is None or not fleet.workspace.active or self._draining:
            return
        await self._runner.start(session, token, fleet)
        self._log.info("workspace_taken_up", workspace_id=workspace_id, token=token)

    async def _hand_over(self, session: SessionRef, workspace_id: str, token: int) -> None:
        """Hand a workspace over: stop and flush its actors, then release its lease.

        If the flush takes too long, the lease is kept and the work goes on here.
        """
        try:
            if await self._runner.stop_and_flush(workspace_id):
                self._counts["released"] += await self._leases.release(
                    session, {workspace_resource(workspace_id): token}
                )
                self._log.info("workspace_handed_over", workspace_id=workspace_id, token=token)
            else:
                self._log.warning("hand_over_unfinished", workspace_id=workspace_id, token=token)
        except EnvironmentFault as fault:
            self._round_edge.failed(fault)
        finally:
            self._leaving.discard(workspace_id)
            self._left_since_look.add(workspace_id)
            self._left.wake()

    # --- configuration

    def registry_changed(self) -> None:
        """Look at the configuration now instead of in a few seconds. Never blocks."""
        self._config_due.set()
        self._round_due.set()

    async def _follow_configuration_for_ever(self) -> None:
        """Load changed configurations every few seconds, and at once after `registry_changed`.

        In this way commands reach the actors of any shard.
        """
        while True:
            with trio.move_on_after(self._configuration_seconds):
                await self._config_due.wait()
            self._config_due.clear()
            try:
                await self._follow_configuration()
            except EnvironmentFault as fault:
                self._config_edge.failed(fault)
                await trio.sleep(self._backoff.next_delay(fault.retry_after))
                self._config_due.set()
            else:
                self._config_edge.recovered()
                self._backoff.reset()

    async def _follow_configuration(self) -> None:
        versions = await self._sessions.load_config_versions()
        if versions.keys() != self._versions.keys():
            self._round_due.set()
        for workspace_id in self._runner.workspace_ids():
            if workspace_id not in self._runner:
                continue  # handed over while another workspace was loading
            if versions.get(workspace_id) != self._runner.config_version(workspace_id):
                fleet = await self._sessions.load_fleet(workspace_id)
                if fleet is not None and fleet.workspace.active and workspace_id in self._runner:
                    await self._runner.follow(fleet)
                else:
                    self._round_due.set()
        if versions != self._versions:
            self._groups = {}  # credentials may have changed
        self._versions = versions

    # --- the way out

    async def drain(self) -> None:
        """Hand everything over without waiting for any TTL.

        The other shards are told first; then each lease is handed over by itself. If the others
        cannot be told, our workspaces are stopped and flushed all the same. A lease that was
        claimed but not taken up when this began becomes free when the session ends.
        """
        self._draining = True  # also for a session that has yet to begin: it takes nothing
        session = self._current.session
        if session is None:
            return
        with trio.move_on_after(TELL_BUDGET_SECONDS):
            try:
                await self._sessions.start_draining(session)
            except EnvironmentFault as fault:
                self._round_edge.failed(fault)
        async with trio.open_nursery() as nursery:
            for workspace_id in self._runner.workspace_ids():
                if workspace_id not in self._leaving:
                    self._leaving.add(workspace_id)
                    token = self._runner.token_of(workspace_id)
                    nursery.start_soon(self._hand_over, session, workspace_id, token)
        # hand-overs that a round began; the shutdown step's budget bounds this
        while self._leaving:
            await self._left.wait()

    async def end_session(self) -> None:
        """Record that this boot's session is over."""
        session = self._current.session
        if session is not None:
            await self._sessions.end_session(session)

    # --- what it knows of itself

    @property
    def has_session(self) -> bool:
        """Whether this shard has a live session. It is not ready without one."""
        return self._current.session is not None

    def _vital_signs(self) -> dict[str, Any]:
        ingest = self._ingest.statistics()
        return {
            "oldest_waiting_seconds": ingest["oldest_waiting_seconds"],
            "deferred_seconds": ingest["deferred"]["oldest_seconds_by_workspace"],
            "pending": ingest["pending"],
            "units": ingest["units"],
            "failing": ingest["failing"],
            "lanes": ingest["mailbox"].lanes,
            "workspaces": len(self._runner.workspace_ids()),
            "parked": self._runner.parked(),
            "restarts": self._runner.restarts(),
        }

    def frames(self) -> Counter[str]:
        return self._runner.frames()

    def frames_of(self, workspace_id: str) -> Counter[str]:
        return self._runner.frames_of(workspace_id)

    def statistics(self) -> dict[str, Any]:
        session = self._current.session
        return {
            "shard_id": self._shard_id,
            "epoch": None if session is None else session.epoch,
            "draining": self._draining,
            **self._keeper.statistics(),
            **self._counts,
            "assignment": self._rounds.statistics(),
            "leaving": sorted(self._leaving),
            "frames": dict(self.frames()),
            "owned": self._runner.statistics(),
        }


def _until_next_round(look: Look, round_seconds: float) -> float:
    """Return how many seconds to wait before the next round.

    The wait ends at the earliest expiry, so that a takeover costs the TTL and not a round on top of
    it.
    """
    if look.next_expiry_seconds is None:
        return round_seconds
    return max(0.05, min(round_seconds, look.next_expiry_seconds))
