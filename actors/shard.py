"""The shard actor: this process's session and heartbeat, and which workspaces it owns.

Owns what one shard among many does; docs/ownership.md has the rules. runner.py runs the workspaces
that are owned. It must never write telematics data, never trust its session past the trust window,
and never outlive its session: when another process began a newer epoch of this shard, it asks for
the process's end.
"""

from __future__ import annotations

from dataclasses import fields
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

import trio

from actors.configuration import ConfigurationFollower
from actors.rounds import Pace, Seen, decide_round, seconds_until_next
from actors.session import BEATS_PER_TTL, Superseded
from actors.statistics import OwnedTotals, ShardStatistics, ShardTotals
from actors.take_up import TakeUp
from domain.resource import workspace_of, workspace_resource
from ports.sessions import VitalSigns
from runtime.assignment import Rounds, group_by_shared
from runtime.faults import EnvironmentFault
from runtime.flag import Flag
from runtime.logs import EdgeLog, get_logger

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Mapping

    from actors.rounds import RoundPlan
    from actors.runner import WorkspaceRunner
    from actors.session import SessionKeeper
    from actors.tools import ActorTools
    from domain.model import SessionRef
    from domain.resource import Resource
    from ports.leases import Look
    from ports.ownership import OwnershipStores

ROUND_SECONDS = 2.0
TELL_BUDGET_SECONDS = 2.0
VERSION: Final = version("lastheard")
SUPERSEDED = (
    "another process began a session under this shard_id, so this one ends: run one process per "
    "shard_id, and give each a LASTHEARD_SHARD_ID of its own (the default is the host's name)"
)


class ShardActor:
    """Holds the session, claims what is free and should be ours, hands over what should not."""

    def __init__(
        self,
        keeper: SessionKeeper,
        stores: OwnershipStores,
        runner: WorkspaceRunner,
        tools: ActorTools,
        *,
        on_superseded: Callable[[], None],
    ) -> None:
        self._shard_id = keeper.shard_id
        self._keeper = keeper
        self._trust = keeper.trust
        self._sessions = stores.sessions
        self._leases = stores.leases
        self._notices = stores.notices
        self._runner = runner
        self._ingest = tools.ingest
        self._current = keeper.current
        self._on_superseded = on_superseded
        beat_seconds = keeper.ttl_seconds / BEATS_PER_TTL
        self._pace = Pace(beat_seconds, min(ROUND_SECONDS, beat_seconds))
        self._rounds: Rounds[Resource] = Rounds(keeper.shard_id, keeper.ttl_seconds)
        self._settled: Look | None = None  # of the latest round, if it found nothing to do
        self._next_moves_at = float("-inf")  # monotonic seconds
        self._groups: dict[Resource, str] = {}
        self._leaving: set[Resource] = set()  # being handed over: stopped here, not released yet
        # Resources whose hand-over ended, released or not, since the latest round began. The
        # round's look may still show their leases as ours.
        self._left_since_look: set[Resource] = set()
        self._left = Flag()
        self._draining = keeper.is_paused  # a paused shard takes nothing, as one that drains
        self._round_due = Flag()
        self._counts = dict.fromkeys(
            ("rounds", "decisions", "claimed", "released", "declared_dead"), 0
        )
        self._log = get_logger("shard").bind(shard_id=keeper.shard_id)
        self._taking_up = TakeUp(stores.sessions, runner, self._log)
        self._round_edge = EdgeLog(self._log, "assignment_round")
        self._trust_edge = EdgeLog(self._log, "session_trust")
        self._configuration = ConfigurationFollower(
            stores.sessions,
            runner,
            tools.random,
            self._log,
            every_seconds=beat_seconds,
            on_change=self._forget_groups,
            on_other_workspaces=self._round_due.set,
        )

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
            self._log.error("shard_superseded", remedy=SUPERSEDED)
            self._on_superseded()
            await trio.sleep_forever()  # until the requested shutdown stops this actor

    async def _live(self, session: SessionRef) -> None:
        """Run everything that belongs to one session; return when the session is over."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keeper.keep, session, self._vital_signs)
            nursery.start_soon(self._assign_for_ever, session, nursery)
            nursery.start_soon(self._configuration.run)
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
            pause = self._pace.round_seconds
            if self._trust.is_open:
                try:
                    look = await self._round(session, nursery)
                except EnvironmentFault as fault:
                    self._round_edge.failed(fault)
                else:
                    self._round_edge.recovered()
                    pause = seconds_until_next(look, self._pace)
            with trio.move_on_after(pause):
                await self._round_due.wait()

    async def _round(self, session: SessionRef, nursery: trio.Nursery) -> Look:
        """Make one round: look, decide, act.

        Returns what it saw. Hand-overs go on in `nursery`.
        """
        self._counts["rounds"] += 1
        self._left_since_look.clear()
        look = await self._leases.look(session)
        if self._is_settled(look):
            return look
        plan = await self._decide(look)
        if plan.declare_dead:
            await self._declare_dead(session)
            look = await self._leases.look(session)
            plan = await self._decide(look)
        if not self._trust.is_open:
            # The database answered late. The session may be over, and what it shows is not ours.
            return look
        await self._carry_out(plan, session, nursery)
        self._settled = look if self._has_all(look) and not plan.asks_anything else None
        return look

    def _is_settled(self, look: Look) -> bool:
        """Return whether nothing has changed since a round that found nothing to do.

        Deciding over 10,000 workspaces holds the event loop for 40 ms.
        """
        former = self._settled
        return (
            former is not None
            and (look.mine, look.members) == (former.mine, former.members)
            and not (look.free or look.retired or look.expired or self._draining)
            and self._has_all(look)
        )

    def _has_all(self, look: Look) -> bool:
        """Return whether exactly our workspaces run here, and none of them is on its way."""
        is_moving = self._leaving or self._left_since_look or self._rounds.statistics().adopted
        return not is_moving and len(self._runner.workspace_ids()) == len(look.mine)

    async def _decide(self, look: Look) -> RoundPlan:
        self._counts["decisions"] += 1
        await self._learn_groups(look)
        now = trio.current_time()
        seen = Seen(
            look=look,
            running=frozenset(map(workspace_resource, self._runner.workspace_ids())),
            leaving=frozenset(self._leaving),
            left=frozenset(self._left_since_look),
            draining=self._draining,
            trusted_seconds=self._trust.open_for_seconds,
            now=now,
            next_moves_at=self._next_moves_at,
        )
        assignment = self._rounds.decide(
            now, look.members, look.mine, look.free, self._groups, draining=self._draining
        )
        return decide_round(seen, assignment, self._pace)

    async def _declare_dead(self, session: SessionRef) -> None:
        dead = await self._leases.declare_dead(session)
        self._counts["declared_dead"] += len(dead)
        for over in dead:
            self._log.warning(
                "session_declared_dead", dead_shard_id=over.shard_id, dead_epoch=over.epoch
            )

    async def _carry_out(self, plan: RoundPlan, session: SessionRef, nursery: trio.Nursery) -> None:
        self._next_moves_at = plan.next_moves_at
        # No other task runs between the decision and the start of the hand-overs, so none of these
        # resources is being handed over already.
        for resource, token in plan.hand_over.items():
            self._start_hand_over(nursery, session, resource, token)
        for resource in plan.stop:
            self._log.error("lease_lost", workspace_id=workspace_of(resource))
            await self._runner.stop(workspace_of(resource))
        claimed = await self._leases.claim(session, plan.claim) if plan.claim else {}
        self._counts["claimed"] += len(claimed)
        if not self._draining:
            await self._take_up({**plan.take_up, **claimed}, session)

    async def _learn_groups(self, look: Look) -> None:
        """Group the workspaces that share a credential, because they belong together.

        Asks the database again only when there is a workspace without a group.
        """
        if not (look.mine.keys() | look.free.keys()) <= self._groups.keys():
            credentials = await self._leases.load_credentials()
            self._groups = group_by_shared(
                {name: credentials[name] for name in sorted(credentials)}
            )

    def _forget_groups(self) -> None:
        self._groups = {}
        self._settled = None

    async def _take_up(self, leases: Mapping[Resource, int], session: SessionRef) -> None:
        """Load these workspaces and start their actors. `leases` maps each one to its token.

        If the database does not answer now, they stay ours, and the next round takes them up.
        """
        if not leases:
            return
        tokens = {workspace_of(resource): token for resource, token in leases.items()}
        try:
            await self._taking_up.take_up(session, tokens, goes_on=lambda: not self._draining)
        except EnvironmentFault as fault:
            self._round_edge.failed(fault)
        # Notices sent while these were loading were missed, so reload.
        self._configuration.look_now()

    def _start_hand_over(
        self, nursery: trio.Nursery, session: SessionRef, resource: Resource, token: int
    ) -> None:
        self._leaving.add(resource)
        nursery.start_soon(self._hand_over, session, resource, token)

    async def _hand_over(self, session: SessionRef, resource: Resource, token: int) -> None:
        """Hand a workspace over: stop and flush its actors, then release its lease.

        If the flush takes too long, the lease is kept and the work goes on here.
        """
        workspace_id = workspace_of(resource)
        try:
            if await self._runner.stop_and_flush(workspace_id):
                self._counts["released"] += await self._leases.release(session, {resource: token})
                self._log.info("workspace_handed_over", workspace_id=workspace_id, token=token)
            else:
                self._log.warning("hand_over_unfinished", workspace_id=workspace_id, token=token)
        except EnvironmentFault as fault:
            self._round_edge.failed(fault)
        finally:
            self._leaving.discard(resource)
            self._left_since_look.add(resource)
            self._left.wake()

    def registry_changed(self) -> None:
        """Look at the configuration now instead of in a few seconds. Never blocks."""
        self._configuration.look_now()
        self._round_due.set()

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
                resource = workspace_resource(workspace_id)
                if resource not in self._leaving:
                    token = self._runner.token_of(workspace_id)
                    self._start_hand_over(nursery, session, resource, token)
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
        """Return whether this shard has a live session. It is not ready without one."""
        return self._current.session is not None

    def _vital_signs(self) -> VitalSigns:
        ingest = self._ingest.totals()
        return VitalSigns(
            oldest_waiting_seconds=ingest.oldest_waiting_seconds,
            deferred_seconds=ingest.deferred.oldest_seconds_by_workspace,
            stream_waiting_seconds=self._runner.stream_waiting_seconds(),
            pending=ingest.pending,
            units=ingest.units,
            failing=ingest.failing,
            lanes=ingest.mailbox.lanes,
            workspaces=len(self._runner.workspace_ids()),
            parked=tuple(self._runner.parked()),
            restarts=self._runner.restarts(),
            paused=self._keeper.is_paused,
            version=VERSION,
        )

    def frames(self) -> Counter[str]:
        return self._runner.frames()

    def frames_of(self, workspace_id: str) -> Counter[str]:
        return self._runner.frames_of(workspace_id)

    def owned_totals(self) -> OwnedTotals:
        return self._runner.totals()

    def statistics(self) -> ShardStatistics:
        totals = self.totals()
        members = {part.name: getattr(totals, part.name) for part in fields(totals)}
        return ShardStatistics(**members, owned=self._runner.statistics())

    def totals(self) -> ShardTotals:
        """Return the statistics without what is owned. Cheap, however much that is."""
        session, kept = self._current.session, self._keeper.statistics()
        return ShardTotals(
            shard_id=self._shard_id,
            epoch=None if session is None else session.epoch,
            draining=self._draining and not self._keeper.is_paused,
            paused=self._keeper.is_paused,
            trusted=kept.trusted,
            beats=kept.beats,
            rejoined=kept.rejoined,
            clock=kept.clock,
            **self._counts,
            assignment=self._rounds.statistics(),
            leaving=tuple(sorted(map(workspace_of, self._leaving))),
            frames=dict(self.frames()),
        )
