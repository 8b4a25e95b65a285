"""The scripted providers keep the promises of ports/providers.py, as real providers do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from domain.signals import CATALOGUE
from ports.providers import ProviderFault
from tests.actors.harness import FERRIES, polled, streamed
from tests.actors.instants import at
from tests.actors.polling import ScriptedPoller, page
from tests.actors.scripted import (
    DENIED,
    ECHO,
    GARBAGE,
    ScriptedProvider,
    ScriptedStreamer,
    frame,
    outage,
    sample,
)

if TYPE_CHECKING:
    from trio.testing import MockClock

    from ports.providers import Poller, Provider, Streamer


def test_each_opens_what_its_connection_asks_for() -> None:
    """The type checker compares them with the protocols here."""
    provider: Provider = ScriptedProvider()
    poller: Poller | None = provider.open_poller(polled(), None)
    streamer: Streamer | None = provider.open_streamer(streamed(), None)
    assert (poller is not None, streamer is not None) == (True, True)
    assert provider.open_streamer(polled(), None) is None
    assert provider.open_poller(streamed(settings={"no_state": True}), None) is None
    with pytest.raises(ValueError, match="broken"):
        provider.check_settings({"broken": True})
    with pytest.raises(ProviderFault):
        provider.interpret(polled(), b"")


async def test_a_poller_plays_its_script_and_then_has_no_news(autojump_clock: MockClock) -> None:
    first, fault = page(sample("bus-1", 1, soc_percent=10), next_page="two"), outage()
    poller = ScriptedPoller(first, 5.0, fault)
    assert await poller.fetch(["x-bus-1"], "c-0", None) == first
    with pytest.raises(ProviderFault) as raised:
        await poller.fetch(["x-bus-1"], "c-0", "two")
    assert raised.value is fault
    assert trio.current_time() == 5
    last = await poller.fetch(["x-bus-1"], None, None)
    assert last == page(answered=frozenset(["x-bus-1"]))


async def test_a_pollers_wait_is_ended_by_its_callers_deadline(autojump_clock: MockClock) -> None:
    with trio.move_on_after(2) as deadline:
        await ScriptedPoller(60.0).fetch([], None, None)
    assert deadline.cancelled_caught


async def test_a_socket_gives_frames_in_order_and_then_its_fault(
    autojump_clock: MockClock,
) -> None:
    streamer = ScriptedStreamer(outage("not yet"))
    with pytest.raises(ProviderFault, match="not yet"):
        async with streamer.connect():
            pass
    async with streamer.connect() as socket:
        await socket.subscribe(["x-ferry-1"])
        await socket.ping()
        there = await streamer.wait_connected()
        there.say("one", "two")
        there.drop()
        assert [await socket.receive(), await socket.receive()] == [[b"one"], [b"two"]]
        with pytest.raises(ProviderFault):
            await socket.receive()
    assert there.subscriptions == [["x-ferry-1"]]


async def test_an_unanswered_ping_is_a_fault_in_time(autojump_clock: MockClock) -> None:
    streamer = ScriptedStreamer()
    async with streamer.connect() as socket:
        streamer.sockets[0].answers_pings = False
        with trio.fail_after(11), pytest.raises(ProviderFault):
            await socket.ping()


def test_frames_are_interpreted_by_the_rules_of_the_protocol() -> None:
    interpret = ScriptedStreamer().interpret
    verdict = interpret(frame(FERRIES[0], 5, soc_percent=50.0, speed_kmh=7.0))
    assert verdict.external_id == "x-ferry-1"
    assert [(reading.value, reading.observed_at) for reading in verdict.readings] == [
        (50.0, at(5)),
        (7.0, at(5)),
    ]
    assert {reading.signal for reading in verdict.readings} <= CATALOGUE.keys()
    others = [interpret(text) for text in (ECHO, GARBAGE, DENIED)]
    assert all(other.readings == () for other in others)
    assert [
        (other.ignored, other.malformed is not None, other.fault is not None) for other in others
    ] == [
        ("echo", False, False),
        (None, True, False),
        ("error", False, True),
    ]
