"""Providers that play a script: frames, connections and faults as a test says.

polling.py has the poller.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio

from domain.model import FaultClass, Reading
from ports.providers import FrameVerdict, Page, ProviderDescription, ProviderFault, Sample
from runtime.flag import Flag
from tests.actors.instants import at
from tests.actors.polling import ScriptedPoller

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from domain.model import ProviderConnection, Transport, Value
    from ports.providers import Poller, Streamer, StreamSocket


def outage(message: str = "nobody answers", retry_after: float | None = None) -> ProviderFault:
    return ProviderFault(FaultClass.OUTAGE, message, retry_after=retry_after)


def refused() -> ProviderFault:
    return ProviderFault(FaultClass.CREDENTIALS, "who are you?", permanent=True)


# --- A polled provider


def sample(device_id: str, seconds: float, **values: Value) -> Sample:
    """One record about one device, observed so many seconds after noon."""
    readings = tuple(Reading(signal, value, at(seconds)) for signal, value in values.items())
    return Sample(f"x-{device_id}", readings)


# --- A streaming provider


def frame(device_id: str, seconds: float, /, **values: Value) -> str:
    """A frame for ScriptedStreamer: readings of one device, observed so many seconds after noon."""
    return f"x-{device_id} {seconds} " + " ".join(
        f"{signal}={value!r}" for signal, value in values.items()
    )


ECHO, DENIED, GARBAGE, BUG = "echo", "denied", "garbage", "bug"


class ScriptedSocket:
    """A ports.providers.StreamSocket with its far end.

    `say` sends a frame, `drop` ends the connection.
    """

    def __init__(self) -> None:
        self.subscriptions: list[list[str]] = []
        self.subscribed = trio.Event()
        self.pings: list[float] = []
        self.answers_pings = True
        self.received = 0
        self.behind_since: float | None = None  # since when the reader does not keep up
        self._send, self._receive = trio.open_memory_channel[str | Exception](10_000)

    async def subscribe(self, external_ids: Sequence[str]) -> None:
        await trio.lowlevel.checkpoint()
        self.subscriptions.append(list(external_ids))
        self.subscribed.set()

    async def receive(self) -> Sequence[bytes]:
        entry = await self._receive.receive()
        if isinstance(entry, Exception):
            raise entry
        self.received += 1
        return [entry.encode()]

    def behind_seconds(self) -> float:
        return 0.0 if self.behind_since is None else trio.current_time() - self.behind_since

    async def ping(self) -> None:
        await trio.lowlevel.checkpoint()
        self.pings.append(trio.current_time())
        if not self.answers_pings:
            await trio.sleep(10)
            raise outage("no pong within 10 s")

    def say(self, *frames: str) -> None:
        for one in frames:
            self._send.send_nowait(one)

    def drop(self, fault: Exception | None = None) -> None:
        self._send.send_nowait(fault or outage("the connection was closed"))


class ScriptedStreamer:
    """ports.providers.Streamer. Connecting raises the next of `refusals` while there are any."""

    def __init__(self, *refusals: ProviderFault) -> None:
        self.refusals = list(refusals)
        self.attempts: list[float] = []
        self.sockets: list[ScriptedSocket] = []
        self._connected = Flag()

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[StreamSocket]:
        self.attempts.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        if self.refusals:
            raise self.refusals.pop(0)
        socket = ScriptedSocket()
        self.sockets.append(socket)
        self._connected.wake()
        yield socket

    async def wait_connected(self, times: int = 1) -> ScriptedSocket:
        """The socket of that connection, as soon as it has subscribed.

        Bounded by the test's virtual patience.
        """
        with trio.fail_after(7200):
            while len(self.sockets) < times:
                await self._connected.wait()
            await self.sockets[times - 1].subscribed.wait()
        return self.sockets[times - 1]

    def interpret(self, frame: str | bytes) -> FrameVerdict:
        text = frame if isinstance(frame, str) else frame.decode()
        match text:
            case "echo":
                return FrameVerdict(None, (), ignored="echo")
            case "denied":
                return FrameVerdict(None, (), fault=FaultClass.CREDENTIALS, ignored="error")
            case "garbage":
                return FrameVerdict(None, (), malformed="not a frame")
            case "bug":
                raise ZeroDivisionError("a bug in the interpreter")
        external_id, seconds, *values = text.split(" ")
        pairs = (value.partition("=") for value in values)
        readings = tuple(
            Reading(signal, float(number), at(float(seconds))) for signal, _, number in pairs
        )
        return FrameVerdict(external_id, readings)


# --- Both, by configuration


class ScriptedProvider:
    """ports.providers.Provider.

    Opens the pollers and streamers that a test has put here, by provider_id, or default ones.
    """

    provider_type = "scripted"
    about: ProviderDescription = ProviderDescription("Scripted", "For tests.", "any", "any", {})
    transports: frozenset[Transport] = frozenset(("poll", "stream"))
    destination_settings: frozenset[str] | None = None
    ids_are_vins: bool = False

    def __init__(self) -> None:
        self.pollers: dict[str, ScriptedPoller] = {}
        self.streamers: dict[str, ScriptedStreamer] = {}
        self.secrets: list[str | None] = []

    def check_settings(self, settings: Mapping[str, Any]) -> None:
        if settings.get("broken"):
            raise ValueError("settings: `broken` must not be set")

    def interpret(self, connection: ProviderConnection, message: bytes) -> Page:
        raise ProviderFault(FaultClass.PROTOCOL, "no envelopes here")

    def open_poller(self, connection: ProviderConnection, secret: str | None) -> Poller | None:
        self.check_settings(connection.settings)
        self.secrets.append(secret)
        if connection.settings.get("no_state"):
            return None
        return self.pollers.setdefault(connection.provider_id, ScriptedPoller())

    def open_streamer(self, connection: ProviderConnection, secret: str | None) -> Streamer | None:
        self.check_settings(connection.settings)
        self.secrets.append(secret)
        if connection.transport == "poll":
            return None
        return self.streamers.setdefault(connection.provider_id, ScriptedStreamer())
