"""The state endpoint against a real server on loopback, and what opening a connection demands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest

from domain.model import FaultClass, ProviderConnection
from ports.providers import ProviderFault
from providers.http import HttpPool
from providers.viriciti import ViriCiti
from tests.providers.servers import Asked, Reply, http_server, loopback_dialler

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from providers.viriciti.client import StatePoller

KEY = "0f0f-s3cret-key"


@pytest.fixture
async def provider() -> AsyncIterator[ViriCiti]:
    async with HttpPool(loopback_dialler()) as http:
        yield ViriCiti(http)


def _connection(base: str, **settings: Any) -> ProviderConnection:
    return ProviderConnection("acme", "viriciti-1", "viriciti", "stream", base, "env:KEY", settings)


def _poller(provider: ViriCiti, base: str, **settings: Any) -> StatePoller:
    return provider.open_poller(_connection(base, **settings), KEY)


def _state_of(asked: Asked) -> Reply:
    wanted = orjson.loads(asked.body)
    return Reply(body=orjson.dumps({vid: {"soc": {"time": 1000, "value": 50}} for vid in wanted}))


async def test_state_is_asked_chunk_by_chunk(provider: ViriCiti) -> None:
    calls: list[tuple[str, str, str, object]] = []

    def answer(asked: Asked) -> Reply:
        calls.append(
            (asked.method, asked.target, asked.headers["x-api-key"], orjson.loads(asked.body))
        )
        return _state_of(asked)

    vids = ["bus_1", "bus_2", "bus_3", "bus_4"]
    async with http_server(answer) as base:
        poller = _poller(provider, base, labels=["soc"], state_chunk_size=2)
        first = await poller.fetch(vids, None, None)
        last = await poller.fetch(vids, None, first.next_page)
    assert calls == [
        ("POST", "/api/v2/state", KEY, {"bus_1": ["soc"], "bus_2": ["soc"]}),
        ("POST", "/api/v2/state", KEY, {"bus_3": ["soc"], "bus_4": ["soc"]}),
    ]
    assert (first.answered, last.answered) == (frozenset(vids[:2]), frozenset(vids[2:]))
    assert (first.next_page, last.next_page, last.cursor) == ("1", None, None)


@pytest.mark.parametrize("empty", [Reply(204, b""), Reply(205, b""), Reply(200, b"null")])
@pytest.mark.parametrize("place", [0, 1])
async def test_a_run_with_an_answer_without_content_leaves_nobody_out(
    provider: ViriCiti, empty: Reply, place: int
) -> None:
    """Such an answer names nobody. So the run is no roster, but everything was asked for."""
    replies = [Reply(body=b'{"bus_1": {}}'), Reply(body=b'{"bus_2": {}}')]
    replies[place] = empty
    left = iter(replies)
    async with http_server(lambda _: next(left)) as base:
        poller = _poller(provider, base, state_chunk_size=1)
        first = await poller.fetch(["bus_1", "bus_2"], None, None)
        last = await poller.fetch(["bus_1", "bus_2"], None, first.next_page)
    assert (first.is_roster, first.is_complete) == (False, False)
    assert (last.is_roster, last.is_complete, last.next_page) == (False, True, None)


async def test_an_empty_fleet_is_not_asked_about(provider: ViriCiti) -> None:
    page = await _poller(provider, "http://127.0.0.1:9").fetch([], None, None)
    assert (page.samples, page.next_page) == ((), None)


@pytest.mark.parametrize(
    ("reply", "fault"),
    [
        (Reply(401, b"no"), FaultClass.CREDENTIALS),
        (Reply(429), FaultClass.QUOTA),
        (Reply(503), FaultClass.OUTAGE),
        (Reply(200, b"<html>please log in</html>"), FaultClass.PROTOCOL),
    ],
)
async def test_a_failed_state_call_has_its_fault(
    provider: ViriCiti, reply: Reply, fault: FaultClass
) -> None:
    async with http_server(lambda _: reply) as base:
        with pytest.raises(ProviderFault) as caught:
            await _poller(provider, base).fetch(["bus_1"], None, None)
    assert caught.value.fault is fault


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"labels": ["soc", "sock"]}, "sock"),
        ({"labels": []}, "at least one"),
        ({"lables": ["soc"]}, "lables"),
        ({"state_chunk_size": 0}, "state_chunk_size"),
        ({"charging_power_threshold_kw": 5}, "charging_power_threshold_kw"),
        ({"power_sign": "upwards"}, "power_sign"),
    ],
)
def test_a_wrong_setting_is_named(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        ViriCiti(HttpPool(loopback_dialler())).check_settings(settings)


def test_no_settings_are_good_settings() -> None:
    ViriCiti(HttpPool(loopback_dialler())).check_settings({})


def test_a_missing_key_is_a_fault_of_the_configuration() -> None:
    provider = ViriCiti(HttpPool(loopback_dialler()))
    for open_connection in (provider.open_poller, provider.open_streamer):
        with pytest.raises(ProviderFault) as caught:
            open_connection(_connection("https://sdk.example"), None)
        assert caught.value.fault is FaultClass.CONFIGURATION
