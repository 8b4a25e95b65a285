"""Trials of connections: one live call, or a few seconds of a stream, of which nothing is stored.

Owns the bounds of a trial: its deadline, how many run at once, and how soon the same connection may
be tried again. A wait that the provider asked a cycle of this shard for is kept. A trial opens
connections as collecting does, so the outbound rule, the limiter of the credential and the scrubber
hold for it, too. It must never submit anything, nor move a cursor: a call is made as one without a
cursor, and only its first page is asked for.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import trio

from actors.scrubbing import scrub_readings
from actors.trial_findings import Findings
from actors.trial_remedies import find_remedy
from actors.waits import ProviderWaits
from domain.model import FaultClass
from ports.providers import ProviderFault
from ports.trials import TrialFault, TrialRefused

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from actors.connections import Connector
    from actors.scrubbing import ScrubbedStreamer
    from domain.model import Device, ProviderConnection
    from ports.providers import FrameVerdict, Provider, StreamSocket
    from ports.trials import TrialReport, TrialWay, TrialWish
    from runtime.clock import SharedClock
    from runtime.scrubbing import Scrubber

MAX_AT_ONCE: Final = 4
PAUSE_SECONDS: Final = 5.0  # between two trials of one connection
CALL_SECONDS: Final = 20.0  # for the secret, the connection and the answer
OPENING_SECONDS: Final = 10.0  # for a stream, besides the time that it is read
MAX_ASKED: Final = 100  # configured devices that are asked for
MAX_FRAMES: Final = 500


class ConnectionTrials:
    """ports.trials.Trials. Make one for each process."""

    def __init__(
        self,
        providers: Mapping[str, Provider],
        connector: Connector,
        clock: SharedClock,
        waits: ProviderWaits,
    ) -> None:
        self._providers = providers
        self._connector = connector
        self._clock = clock
        self._waits = waits
        self._running: set[tuple[str, str]] = set()
        self._pauses = ProviderWaits()

    async def run(
        self, connection: ProviderConnection, devices: Sequence[Device], wish: TrialWish
    ) -> TrialReport:
        """See ports.trials.Trials. Takes at most 20 s, or 10 s more than a stream is read."""
        if connection.transport == "push":
            why = "A push connection is not called: clients send its data to /ingest."
            raise TrialRefused(why, retry_after=None)
        with self._turn(connection):
            asked = wish.external_ids
            if asked is None:
                asked = tuple(sorted(device.external_id for device in devices)[:MAX_ASKED])
            return await self._try(connection, Findings(connection, devices), wish, asked)

    @contextmanager
    def _turn(self, connection: ProviderConnection) -> Iterator[None]:
        """Hold the connection's turn. Raises TrialRefused if it has none now."""
        name = (connection.workspace_id, connection.provider_id)
        if wait := self._pauses.waiting_seconds(connection):
            raise TrialRefused("This connection was tried a moment ago.", retry_after=wait)
        if wait := self._waits.waiting_seconds(connection):
            raise TrialRefused("The provider asked not to be called now.", retry_after=wait)
        if name in self._running or len(self._running) >= MAX_AT_ONCE:
            raise TrialRefused("Other trials are running.", retry_after=PAUSE_SECONDS)
        self._running.add(name)
        self._pauses.postpone(connection, PAUSE_SECONDS)
        try:
            yield
        finally:
            self._running.remove(name)

    async def _try(
        self,
        connection: ProviderConnection,
        findings: Findings,
        wish: TrialWish,
        asked: Sequence[str],
    ) -> TrialReport:
        begun_at, start = self._clock.now(), trio.current_time()
        way = _choose_way(connection, wish, asked)
        fault: TrialFault | None = None
        try:
            if way == "call":
                await self._call(connection, findings, asked)
            else:
                await self._read_stream(connection, findings, asked, wish.seconds)
        except ProviderFault as error:
            fault = self._explain(connection, error)
        return findings.report(way, begun_at, trio.current_time() - start, fault, asked)

    async def _call(
        self, connection: ProviderConnection, findings: Findings, asked: Sequence[str]
    ) -> None:
        with trio.move_on_after(CALL_SECONDS):
            poller = await self._connector.open_poller(connection)
            if poller is None:
                raise _misconfigured("this provider type has nothing to call: try its stream")
            page = await poller.fetch(asked, None, None)
            findings.add_page(page, asked, self._clock.now())
            return
        raise ProviderFault(FaultClass.OUTAGE, f"no answer within {CALL_SECONDS:g} s")

    async def _read_stream(
        self,
        connection: ProviderConnection,
        findings: Findings,
        asked: Sequence[str],
        seconds: float,
    ) -> None:
        """Connect, subscribe, and read until the time is over or MAX_FRAMES have come."""
        is_open = False
        with trio.move_on_after(OPENING_SECONDS) as opening:
            streamer = await self._connector.open_streamer(connection)
            if streamer is None:
                raise _misconfigured("this provider type does not stream: try a call")
            async with streamer.connect() as socket:
                await socket.subscribe(asked)
                opening.deadline = trio.current_time() + seconds
                is_open = True
                await self._read_frames(streamer, socket, findings)
        if not is_open:
            raise ProviderFault(
                FaultClass.OUTAGE, f"the stream did not open within {OPENING_SECONDS:g} s"
            )

    async def _read_frames(
        self, streamer: ScrubbedStreamer, socket: StreamSocket, findings: Findings
    ) -> None:
        """Read until MAX_FRAMES have come. Has no end if fewer come: the caller has a deadline."""
        left = MAX_FRAMES
        while left > 0:
            frames = (await socket.receive())[:left]
            left -= len(frames)
            for frame in frames:
                verdict = streamer.interpret(frame)
                _refuse_credentials(verdict)
                findings.add_frame(_scrub(verdict, streamer.scrubber), self._clock.now())

    def _explain(self, connection: ProviderConnection, fault: ProviderFault) -> TrialFault:
        """Return the fault with its remedy. A provider that asks for a pause gets it."""
        if fault.retry_after is not None:
            self._pauses.postpone(connection, max(PAUSE_SECONDS, fault.retry_after))
        provider = self._providers.get(connection.provider_type)
        about = None if provider is None else provider.about
        return TrialFault(fault.fault, str(fault), find_remedy(fault, about))


def _choose_way(connection: ProviderConnection, wish: TrialWish, asked: Sequence[str]) -> TrialWay:
    """Return the way that was wished for, else the one that can show most.

    A stream's state call needs vehicles to ask for.
    """
    if wish.way is not None:
        return wish.way
    return "stream" if connection.transport == "stream" and not asked else "call"


def _refuse_credentials(verdict: FrameVerdict) -> None:
    if verdict.fault is FaultClass.CREDENTIALS:
        raise ProviderFault(verdict.fault, "the provider refused the key on the stream")


def _scrub(verdict: FrameVerdict, scrubber: Scrubber) -> FrameVerdict:
    """Return the verdict without the connection's secret."""
    name, malformed = verdict.external_id, verdict.malformed
    return verdict._replace(
        external_id=name and scrubber.text(name),
        readings=scrub_readings(verdict.readings, scrubber),
        malformed=malformed and scrubber.text(malformed),
    )


def _misconfigured(message: str) -> ProviderFault:
    return ProviderFault(FaultClass.CONFIGURATION, message, permanent=True)
