"""The gate while the issuer of JWTs is away or changes its keys, and under storms of unknown keys.

The issuer is a real HTTP server and counts who asks. Two clocks stand still until a test moves
them: the database's, and that of the process.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import pytest
import trio

from api.addresses import TrustedProxies
from api.gate import GateLimits, KeyGate
from api.problems import Problem
from api.traffic import HttpTraffic
from api.visitors import Visitors
from api.wrong_keys import WrongKeys
from tests.api.issuer import Issuer, open_issuer, public_jwk, segment, sign
from tests.api.standing_time import DatabaseClock
from tests.api.test_gate import StoredKeys

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from trio.testing import MockClock

    from lastheard.jwt_issuer import JwtIssuer

STORM = 1000
HOUR = 3600.0
DAY = 86_400.0


class Front:
    """A gate with a running issuer behind it."""

    def __init__(
        self,
        issuer: Issuer,
        running: JwtIssuer,
        clock: DatabaseClock,
        mock_clock: MockClock,
        **limits: Any,
    ) -> None:
        self.issuer = issuer
        self.running = running
        self._clock = clock
        self._mock_clock = mock_clock
        traffic, gate_limits = HttpTraffic(), GateLimits(**limits)
        self._gate = KeyGate(
            StoredKeys(),
            clock,
            traffic,
            gate_limits,
            jwts=running.access,
            proxies=TrustedProxies(),
            open_paths=[],
            visitors=Visitors(cast("Any", None), clock, is_of_api=lambda path: False),
            wrong_keys=WrongKeys(traffic, gate_limits.wrong_keys_per_second),
        )

    async def ask(self, token: str, address: str = "192.0.2.1") -> tuple[int, str | None]:
        """Return the status, 200 for a place, and Retry-After."""
        headers = [(b"authorization", b"Bearer " + token.encode())]
        scope: Any = {"type": "http", "path": "/x", "client": (address, 1), "headers": headers}
        try:
            self._gate.leave(await self._gate.admit(scope), 200)
        except Problem as refusal:
            status, found, _ = refusal.encoded(None)
            return status, found.get("Retry-After")
        return 200, None

    async def storm(self, tokens: Iterable[str]) -> set[int]:
        """Send all tokens at once, each from an address of its own. Return the statuses."""
        statuses: set[int] = set()

        async def send(token: str, address: str) -> None:
            statuses.add((await self.ask(token, address))[0])

        async with trio.open_nursery() as nursery:
            for number, token in enumerate(tokens):
                nursery.start_soon(send, token, f"198.51.{number // 250}.{number % 250}")
        return statuses

    def let_pass(self, seconds: float) -> None:
        self._clock.let_pass(seconds)
        self._mock_clock.jump(seconds)

    async def until(self, fact: Callable[[], bool]) -> None:
        """Wait for what the issuer's socket brings. The clock stands still, so none is asked."""
        while not fact():
            await trio.lowlevel.checkpoint()

    async def until_fetched(self, fetches: int) -> None:
        await self.until(lambda: self.issuer.asked == fetches)
        await self.until(lambda: not self.running.keys.is_fetching)


@asynccontextmanager
async def open_front(mock_clock: MockClock, **settings: Any) -> AsyncIterator[Front]:
    clock = DatabaseClock()
    issuer = Issuer(clock)
    async with open_issuer(issuer, clock, **settings) as running:
        yield Front(issuer, running, clock, mock_clock)


@pytest.fixture
async def front(mock_clock: MockClock) -> AsyncIterator[Front]:
    async with open_front(mock_clock) as front:
        yield front


def unknown(issuer: Issuer, **claims: Any) -> list[str]:
    """Return a storm of tokens, each of a key that the issuer does not have.

    Their signatures are wrong, which does not matter: without a key none is checked.
    """
    _, payload, signature = issuer.token(**claims).split(".")
    headers = [segment({"alg": "RS256", "kid": f"made-up-{n}"}) for n in range(STORM)]
    return [f"{header}.{payload}.{signature}" for header in headers]


async def test_a_thousand_unknown_keys_at_once_make_one_fetch_a_minute(
    front: Front, mock_clock: MockClock
) -> None:
    assert await front.ask(front.issuer.token()) == (200, None)
    for minute in (1, 2):
        front.let_pass(60)
        assert await front.storm(unknown(front.issuer)) == {401}
        assert front.issuer.asked == 1 + minute
        # The next storm of the minute asks nobody: of older tokens it is known that they are bad.
        assert await front.storm(unknown(front.issuer, iat=front.issuer.now() - 31)) == {401}
        assert await front.storm(unknown(front.issuer)) == {503}
        assert front.issuer.asked == 1 + minute


async def test_the_first_requests_wait_for_one_fetch_together(
    front: Front, mock_clock: MockClock
) -> None:
    assert await front.storm([front.issuer.token(n=n) for n in range(STORM)]) == {200}
    assert front.issuer.asked == 1


async def test_a_token_of_a_new_key_is_told_when_to_come_again(
    front: Front, mock_clock: MockClock
) -> None:
    assert await front.ask(front.issuer.token()) == (200, None)
    front.issuer.published.append(public_jwk("two"))
    front.let_pass(20)
    young = sign(front.issuer.claims(), "two")
    assert await front.ask(young) == (503, "40")
    front.let_pass(40)
    assert await front.ask(young) == (200, None)
    assert front.issuer.asked == 2


async def test_known_keys_are_kept_through_an_outage_for_a_day(
    front: Front, mock_clock: MockClock
) -> None:
    token = front.issuer.token(exp=front.issuer.now() + int(3 * DAY))
    assert await front.ask(token) == (200, None)
    front.issuer.is_away = True
    front.let_pass(HOUR)
    await front.until_fetched(2)
    assert await front.ask(token) == (200, None)
    assert await front.ask(front.issuer.token(fresh=True)) == (200, None)
    status, retry_after = await front.ask(sign(front.issuer.claims(), "two"))
    assert (status, retry_after) == (503, "60")
    front.let_pass(DAY - HOUR)
    await front.until_fetched(3)
    assert await front.ask(token) == (200, None)
    front.let_pass(1)
    assert await front.ask(token) == (503, "59")
    front.issuer.is_away = False
    front.let_pass(59)
    await front.until_fetched(4)
    assert await front.ask(token) == (200, None)


async def test_a_removed_key_stops_with_the_next_renewal(
    front: Front, mock_clock: MockClock
) -> None:
    token = front.issuer.token()
    assert await front.ask(token) == (200, None)
    front.issuer.published = [public_jwk("two")]
    front.let_pass(299)
    assert await front.ask(token) == (200, None)
    front.let_pass(1)
    await front.until_fetched(2)
    assert (await front.ask(token))[0] == 401
    assert front.issuer.asked == 2


async def test_a_key_replaced_under_its_id_stops_too(front: Front, mock_clock: MockClock) -> None:
    token = front.issuer.token()
    assert await front.ask(token) == (200, None)
    front.issuer.published = [public_jwk("another", kid="one")]
    front.let_pass(300)
    await front.until_fetched(2)
    assert (await front.ask(token))[0] == 401
    assert await front.ask(sign(front.issuer.claims(), "another", kid="one")) == (200, None)


async def test_a_renewal_without_a_change_checks_no_signature_again(
    front: Front, mock_clock: MockClock
) -> None:
    token = front.issuer.token()
    for fetches in (1, 2, 3):
        await front.until_fetched(fetches)
        assert await front.ask(token) == (200, None)
        front.let_pass(300)
    assert front.running.access.statistics().signatures_checked == 1


async def test_an_issuer_that_was_never_there_makes_503(mock_clock: MockClock) -> None:
    clock = DatabaseClock()
    issuer = Issuer(clock)
    issuer.is_away = True
    async with open_issuer(issuer, clock) as running:
        front = Front(issuer, running, clock, mock_clock)
        assert await front.ask(issuer.token()) == (503, "60")
        assert await front.storm([issuer.token(n=n) for n in range(100)]) == {503}
        assert issuer.asked == 1
        # A token that is bad in itself is refused all the same.
        assert (await front.ask(issuer.token(exp=1)))[0] == 401


async def test_undecided_tokens_have_the_rate_of_strangers(mock_clock: MockClock) -> None:
    """Everybody can make them, and the answer 503 must not be free of any limit."""
    clock = DatabaseClock()
    issuer = Issuer(clock)
    issuer.is_away = True
    async with open_issuer(issuer, clock) as running:
        front = Front(issuer, running, clock, mock_clock, requests_per_second=20)
        tokens = [issuer.token(n=n) for n in range(21)]
        assert await front.ask(tokens[0]) == (503, "60")
        found = [(await front.ask(token))[0] for token in tokens[1:20]]
        assert set(found) == {503}
        async with trio.open_nursery() as nursery:
            last: list[int] = []

            async def ask_once_more() -> None:
                last.append((await front.ask(tokens[20]))[0])

            nursery.start_soon(ask_once_more)
            await trio.testing.wait_all_tasks_blocked()
            front.let_pass(2)  # the refusal is held back
        assert last == [429]
        assert (await front.ask(tokens[20], "192.0.2.2"))[0] == 503


async def test_wrong_tokens_use_up_the_rate_of_their_address(
    front: Front, mock_clock: MockClock
) -> None:
    await front.until_fetched(1)
    wrong = front.issuer.token(aud="billing")
    assert [(await front.ask(wrong))[0] for _ in range(10)] == [401] * 10
    async with trio.open_nursery() as nursery:
        found: list[int] = []

        async def ask_once_more() -> None:
            found.append((await front.ask(wrong))[0])

        nursery.start_soon(ask_once_more)
        await trio.testing.wait_all_tasks_blocked()
        front.let_pass(2)  # the refusal is held back
    assert found == [429]
    assert await front.ask(front.issuer.token()) == (200, None)
