"""The session this shard writes under: begun, renewed, trusted, ended.

docs/ownership.md has the rules. Owns the heartbeat, and the one place where every part of the
process learns which session is live. It must never decide which workspaces are owned; shard.py
does.
"""

from __future__ import annotations

import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio

from actors.statistics import SessionStatistics
from runtime.backoff import Backoff
from runtime.faults import EnvironmentFault
from runtime.flag import Flag
from runtime.logs import EdgeLog, get_logger
from runtime.trust_window import TrustWindow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from random import Random

    from domain.model import SessionRef
    from ports.sessions import SessionStore, VitalSigns
    from runtime.clock import SharedClock

DEFAULT_TTL_SECONDS = 15.0
TAKEN_OVER = (
    "another process ran under this shard_id a moment ago. If it was this one before a restart, "
    "nothing is wrong. If it still runs, it ends now: give each process a LASTHEARD_SHARD_ID of "
    "its own (the default is the host's name)"
)
BEATS_PER_TTL = 3  # a TTL of 15 s is renewed every 5 s


class Superseded(Exception):
    """Another process began a newer epoch of this shard."""


class CurrentSession:
    """The live session, or none.

    A unit of an older epoch is refused by the fence in the database, not by this object. The waits
    here have no deadline of their own: without a session there is nothing to do. The shard actor is
    essential, and ends the process when it cannot get a session.
    """

    def __init__(self) -> None:
        self._session: SessionRef | None = None
        self._changed = Flag()
        self._units_in_flight = 0

    @property
    def session(self) -> SessionRef | None:
        return self._session

    def replace(self, session: SessionRef) -> None:
        """Make this the session of every unit from now on, and wake the tasks that wait for one."""
        self._session = session
        self._changed.wake()

    def mark_fenced(self, session: SessionRef) -> None:
        """Note that this session is over.

        Nothing is written until the shard actor has a new one.
        """
        if self._session == session:
            self._session = None
            self._changed.wake()

    async def wait_for_session(self, *, newer_than: SessionRef | None = None) -> SessionRef:
        """Wait until there is a live session that is not `newer_than`, and return it."""
        while self._session is None or self._session == newer_than:
            await self._changed.wait()
        return self._session

    async def wait_fenced(self, session: SessionRef) -> None:
        """Wait until this session is no longer the live one."""
        while self._session == session:
            await self._changed.wait()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Mark a unit as in flight until its end is known.

        No next session begins meanwhile: its row would replace the only evidence of whether the
        unit was committed.
        """
        self._units_in_flight += 1
        try:
            yield
        finally:
            self._units_in_flight -= 1
            self._changed.wake()

    async def wait_written(self) -> None:
        """Wait until the end of every unit is known. The database bounds each of them."""
        while self._units_in_flight:
            await self._changed.wait()


class SessionKeeper:
    """Begins this shard's sessions, one after the other, and renews the live one.

    `current` tells every part of the process which session is live.
    """

    def __init__(
        self,
        shard_id: str,
        sessions: SessionStore,
        current: CurrentSession,
        clock: SharedClock,
        random: Random,
        *,
        ttl_seconds: float = DEFAULT_TTL_SECONDS,
        is_paused: bool = False,
    ) -> None:
        """`is_paused`: the sessions take no work; they only write what clients send."""
        self.is_paused = is_paused
        self.shard_id = shard_id
        self._sessions = sessions
        self.current = current
        self._clock = clock
        self.ttl_seconds = ttl_seconds
        self._beat_seconds = ttl_seconds / BEATS_PER_TTL
        self.trust = TrustWindow(ttl_seconds)
        self._backoff = Backoff(random, base_seconds=0.2, cap_seconds=self._beat_seconds)
        self._log = get_logger("session").bind(shard_id=shard_id)
        self._edge = EdgeLog(self._log, "heartbeat")
        self._boot_id = uuid.uuid4().hex
        self._beats = 0
        self._rejoined = 0

    async def begin(self, *, after: SessionRef | None) -> SessionRef:
        """Begin the next session as soon as the database grants one, and return it.

        `after` is our session that is over. Raises Superseded when that is no longer the newest one
        of this shard. Tries for ever while the database is away.
        """
        if after is not None:
            self.trust.end()
            self._rejoined += 1
        await self.current.wait_written()
        while True:
            sent_at = self._clock.monotonic()
            try:
                start = await self._sessions.begin_session(
                    self.shard_id,
                    ttl_seconds=self.ttl_seconds,
                    after=after,
                    boot_id=self._boot_id,
                    is_member=not self.is_paused,
                )
            except EnvironmentFault as fault:
                self._edge.failed(fault)
                await trio.sleep(self._backoff.next_delay(fault.retry_after))
                continue
            if start is None:
                raise Superseded(self.shard_id)
            self._clock.observe(sent_at, self._clock.monotonic(), start.server_time)
            self._trust_if_certain(sent_at)
            self.current.replace(start.session)
            self._log.info("session_begun", epoch=start.session.epoch, rejoined=after is not None)
            if start.was_live and after is None:
                self._log.warning("shard_id_taken_over", remedy=TAKEN_OVER)
            return start.session

    async def keep(self, session: SessionRef, vital_signs: Callable[[], VitalSigns]) -> None:
        """Renew at a third of the TTL until the session is over, then mark it fenced."""
        while await self._beat(session, vital_signs()):  # noqa: ASYNC110 - a heartbeat has a beat
            await trio.sleep(
                self._backoff.next_delay() if self._edge.is_failing else self._beat_seconds
            )
        self.current.mark_fenced(session)

    async def _beat(self, session: SessionRef, statistics: VitalSigns) -> bool:
        """Renew once; return False when the session is over.

        An absent database says nothing about the session, so the answer is then True.
        """
        sent_at = self._clock.monotonic()
        try:
            server_time = await self._sessions.beat(
                session, ttl_seconds=self.ttl_seconds, statistics=statistics
            )
        except EnvironmentFault as fault:
            self._edge.failed(fault)
            return True
        self._edge.recovered()
        self._backoff.reset()
        if server_time is None:
            return False
        self._beats += 1
        self._clock.observe(sent_at, self._clock.monotonic(), server_time)
        self._trust_if_certain(sent_at)
        return True

    def _trust_if_certain(self, sent_at: float) -> None:
        """Extend the trust window, unless the clock's offset is uncertain.

        Without that, every time of arrival is a guess; then it is better to collect nothing.
        """
        if self._clock.is_certain:
            self.trust.renewed(sent_at)

    def statistics(self) -> SessionStatistics:
        return SessionStatistics(
            trusted=self.trust.is_open,
            beats=self._beats,
            rejoined=self._rejoined,
            clock=self._clock.statistics(),
        )
