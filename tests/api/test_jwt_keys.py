"""When the issuer's keys are fetched, how long a request waits for them, and what is known of it.

The clock jumps to the next deadline, so the fetch is a function of the test.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import orjson
import pytest
import trio

from api import jwt_keys
from api.jwt_keys import WAIT_SECONDS, IssuerKeys, KeyRenewal, KeysAway
from runtime.faults import EnvironmentFault
from tests.api.issuer import public_jwk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio.testing import MockClock


class Source:
    """Where keys are fetched from: it notes when, takes its time, and may fail."""

    def __init__(self) -> None:
        self.fetched_at: list[float] = []
        self.takes_seconds = 0.0
        self.fault: Exception | None = None
        self.body = orjson.dumps({"keys": [public_jwk("one")]})

    async def fetch(self) -> bytes:
        self.fetched_at.append(trio.current_time())
        await trio.sleep(self.takes_seconds)
        if self.fault is not None:
            raise self.fault
        return self.body


@pytest.fixture
def source() -> Source:
    return Source()


@asynccontextmanager
async def running(source: Source, renewal: KeyRenewal | None = None) -> AsyncIterator[IssuerKeys]:
    keys = IssuerKeys("https://issuer.example", ["RS256"], source.fetch, renewal)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keys.run)
        yield keys
        nursery.cancel_scope.cancel()


async def test_the_set_is_renewed_at_its_age_without_any_request(
    source: Source, autojump_clock: MockClock
) -> None:
    async with running(source, KeyRenewal(renew_seconds=300)):
        await trio.sleep(1000)
    assert source.fetched_at == [0, 300, 600, 900]


async def test_after_a_failure_the_next_fetch_is_a_minute_later(
    source: Source, autojump_clock: MockClock
) -> None:
    source.fault = EnvironmentFault("away")
    async with running(source) as keys:
        await trio.sleep(150)
        found = keys.statistics()
        assert (found.fetches, found.failures, found.age_seconds) == (3, 3, None)
        assert (found.last_failure, found.last_failure_seconds) == ("EnvironmentFault: away", 30)
        source.fault = None
        await trio.sleep(31)
        assert keys.current("one") is not None
    assert source.fetched_at == [0, 60, 120, 180]


async def test_an_answer_that_is_no_set_is_a_failure_and_the_set_stays(
    source: Source, autojump_clock: MockClock
) -> None:
    async with running(source, KeyRenewal(renew_seconds=60)) as keys:
        await trio.sleep(1)
        source.body = b"<html>login</html>"
        await trio.sleep(60)
        assert keys.current("one") is not None
        found = keys.statistics()
        assert found.last_failure == "the answer cannot be used: BadKeySet: it is not JSON"
        assert (found.key_ids, found.age_seconds) == (("one",), 61)


async def test_a_request_waits_five_seconds_for_a_fetch_and_no_longer(
    source: Source, autojump_clock: MockClock
) -> None:
    source.takes_seconds = 9
    async with running(source) as keys:
        with pytest.raises(KeysAway) as away:
            await keys.find("one", None)
        assert (trio.current_time(), away.value.retry_after) == (WAIT_SECONDS, 55)
        assert (await keys.find("one", None)) is not None
        assert trio.current_time() == 9


async def test_requests_beyond_the_bound_do_not_wait(
    source: Source, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jwt_keys, "MAX_WAITING", 1)
    source.takes_seconds = 3
    async with running(source) as keys, trio.open_nursery() as nursery:
        nursery.start_soon(keys.find, "one", None)
        await trio.testing.wait_all_tasks_blocked()
        assert keys.statistics().requests_waiting == 1
        with pytest.raises(KeysAway) as away:
            await keys.find("one", None)
        assert (trio.current_time(), away.value.retry_after) == (0, WAIT_SECONDS)


async def test_keys_that_nobody_fetches_are_away(source: Source, autojump_clock: MockClock) -> None:
    """The actor may be parked after crashes: a request must not wait for ever then."""
    keys = IssuerKeys("https://issuer.example", ["RS256"], source.fetch)
    with pytest.raises(KeysAway):
        await keys.find("one", None)
    assert trio.current_time() == WAIT_SECONDS


async def test_an_unknown_key_of_an_older_token_is_known_to_be_none(
    source: Source, autojump_clock: MockClock
) -> None:
    async with running(source) as keys:
        await trio.sleep(10)
        assert await keys.find("two", None) is None
        assert await keys.find("two", 11) is None
        with pytest.raises(KeysAway) as away:
            await keys.find("two", 9)
        assert away.value.retry_after == 50
    assert source.fetched_at == [0]
