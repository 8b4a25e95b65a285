"""A right key has its own rate and places; all others share few, and a refusal costs little."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, cast

import pytest
import trio

from api.addresses import TrustedProxies
from api.gate import HELD_SECONDS, MAX_HELD, GateLimits, KeyGate, OpenGate
from api.in_flight import InFlightLimits
from api.keys import Scope, mint_key
from api.problem_types import UNAUTHENTICATED
from api.problems import Problem
from api.token_cache import REFUSED_SECONDS
from api.traffic import HttpTraffic
from api.visitors import Visitors
from api.wrong_keys import WrongKeys
from runtime.faults import EnvironmentFault
from tests.api.standing_time import DatabaseClock

if TYPE_CHECKING:
    from datetime import datetime

    from trio.testing import MockClock

    from api.in_flight import Caller
    from ports.keys import FoundAccess, KeyRecord

WRONG = f"lh_{'0' * 16}_{'0' * 64}"
SMALL = InFlightLimits(total=6, per_key=3, without_key=2, per_address=1)


class StoredKeys:
    """A ports.keys.KeyLookup in memory, since a clock that jumps cannot wait for a real database.

    `asked` counts by key id. While `away` or `hangs` is set, nobody gets an answer.
    """

    def __init__(self) -> None:
        self._records: dict[str, KeyRecord] = {}
        self.asked: Counter[str] = Counter()
        self.away = False
        self.hangs = False

    async def find_key(self, key_id: str) -> KeyRecord | None:
        self.asked[key_id] += 1
        if self.away:
            raise EnvironmentFault("the database is away")
        if self.hangs:
            await trio.sleep_forever()
        await trio.lowlevel.checkpoint()
        return self._records.get(key_id)

    async def find_access(self, key_id: str, workspace_id: str | None) -> FoundAccess:
        raise AssertionError("a gate asks for keys alone")

    async def create_key(self, record: KeyRecord) -> None:
        self._records[record.key_id] = record

    def revoke(self, key_id: str, at: datetime) -> None:
        self._records[key_id] = self._records[key_id]._replace(revoked_at=at)


class Door:
    """One gate, and requests in front of it. It knows a key for each scope."""

    def __init__(self, limits: GateLimits) -> None:
        self.keys = StoredKeys()
        self.traffic = HttpTraffic()
        self.clock = DatabaseClock()
        self.tokens: dict[str, str] = {}
        self.gate = KeyGate(
            self.keys,
            self.clock,
            self.traffic,
            limits,
            jwts=None,
            proxies=TrustedProxies(),
            open_paths=["/healthz"],
            visitors=Visitors(cast("Any", None), self.clock, is_of_api=lambda path: False),
            wrong_keys=WrongKeys(self.traffic, limits.wrong_keys_per_second),
        )

    async def add_keys(self) -> None:
        for scope in Scope:
            record, self.tokens[scope] = mint_key(scope, [scope], None, None)
            await self.keys.create_key(record)

    async def admit(self, token: str | None, *, at: str = "192.0.2.1", path: str = "/x") -> Caller:
        headers = [] if token is None else [(b"authorization", f"Bearer {token}".encode())]
        scope: Any = {"type": "http", "path": path, "client": (at, 1), "headers": headers}
        return await self.gate.admit(scope)

    async def admit_header_lines(self, *lines: bytes) -> Caller:
        headers = [(b"Authorization", line) for line in lines]
        scope: Any = {"type": "http", "path": "/x", "client": ("192.0.2.1", 1), "headers": headers}
        return await self.gate.admit(scope)

    async def ask(self, token: str | None, **rest: Any) -> int:
        """Return the status of the refusal, or 200 if the request got a place and gave it back."""
        try:
            self.gate.leave(await self.admit(token, **rest), 200)
        except Problem as refusal:
            status, headers, _ = refusal.encoded(None)
            return status if ("Retry-After" in headers) == (status in (429, 503)) else -status
        return 200


@pytest.fixture
async def door() -> Door:
    door = Door(GateLimits(places=SMALL, requests_per_second=100, wrong_keys_per_second=5))
    await door.add_keys()
    return door


async def test_a_wrong_key_is_looked_up_once_then_refused_from_memory(
    door: Door, autojump_clock: MockClock
) -> None:
    assert [await door.ask(WRONG) for _ in range(4)] == [401] * 4
    assert door.keys.asked.total() == 1
    await trio.sleep(REFUSED_SECONDS)
    assert await door.ask(WRONG) == 401
    assert door.keys.asked.total() == 2


async def test_of_two_authorization_headers_none_is_taken(
    door: Door, autojump_clock: MockClock
) -> None:
    """Whatever stands in front may have judged the other one."""
    right = f"Bearer {door.tokens[Scope.READ]}".encode()
    for lines in ((right, b"Bearer " + WRONG.encode()), (b"Basic eDp5", right), (right, right)):
        with pytest.raises(Problem) as refused:
            await door.admit_header_lines(*lines)
        assert refused.value.kind is UNAUTHENTICATED
    assert (await door.admit_header_lines(right)).who is not None


async def test_more_wrong_keys_than_the_rate_are_429_and_wait_for_it(
    door: Door, autojump_clock: MockClock
) -> None:
    assert [await door.ask(WRONG) for _ in range(5)] == [401] * 5
    before = trio.current_time()
    assert await door.ask(WRONG) == 429
    assert trio.current_time() - before == pytest.approx(HELD_SECONDS)
    assert door.traffic.refused == {"wrong_keys": 1}
    assert await door.ask("no key at all") == 401


async def test_a_right_key_is_answered_whatever_its_address_did(
    door: Door, autojump_clock: MockClock
) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(door.ask, WRONG)
        await trio.testing.wait_all_tasks_blocked()
        before = trio.current_time()
        assert [await door.ask(door.tokens["read"]) for _ in range(20)] == [200] * 20
        assert trio.current_time() == before
    assert door.traffic.refused == {"wrong_keys": 45}


async def test_the_rate_of_a_key_is_its_own(door: Door, autojump_clock: MockClock) -> None:
    answers = [await door.ask(door.tokens["read"]) for _ in range(120)]
    assert answers == [200] * 100 + [429] * 20
    assert await door.ask(door.tokens["ingest"]) == 200
    assert await door.ask(None) == 200


async def test_the_rate_of_those_without_a_key_is_their_addresss(
    door: Door, autojump_clock: MockClock
) -> None:
    assert [await door.ask(None) for _ in range(101)].count(200) == 100
    assert await door.ask(None, at="192.0.2.2") == 200


async def test_one_key_and_everybody_without_leave_others_a_place(
    door: Door, autojump_clock: MockClock
) -> None:
    for _ in range(3):
        await door.admit(door.tokens["read"])
    for number in range(2):
        await door.admit(None, at=f"192.0.2.{number}")
    assert [await door.ask(door.tokens["read"]), await door.ask(None, at="192.0.2.9")] == [503, 503]
    assert await door.ask(door.tokens["ingest"]) == 200
    assert door.traffic.refused == {"in_flight_of_key": 1, "in_flight_without_key": 1}


async def test_one_address_has_a_part_of_the_places_without_a_key(
    door: Door, autojump_clock: MockClock
) -> None:
    await door.admit(None)
    assert [await door.ask(None), await door.ask(None, at="192.0.2.2")] == [503, 200]
    assert door.traffic.refused == {"in_flight_of_address": 1}


async def test_when_all_places_are_taken_everybody_is_refused(
    door: Door, autojump_clock: MockClock
) -> None:
    for name in ("read", "ingest"):
        for _ in range(3):
            await door.admit(door.tokens[name])
    assert await door.ask(door.tokens["control"]) == 503
    assert door.traffic.refused == {"in_flight": 1}


async def test_an_open_path_wants_no_key_and_judges_none(
    door: Door, autojump_clock: MockClock
) -> None:
    assert await door.ask(WRONG, path="/healthz") == 200
    assert door.keys.asked.total() == 0


async def test_a_key_refused_behind_the_gate_is_looked_up_again(
    door: Door, autojump_clock: MockClock
) -> None:
    caller = await door.admit(door.tokens["read"])
    assert door.keys.asked.total() == 1
    door.keys.revoke(caller.who or "", door.clock.now())
    door.gate.leave(caller, 401)
    assert await door.ask(door.tokens["read"]) == 401
    assert door.keys.asked.total() == 2


async def test_a_key_made_after_its_refusal_is_admitted_within_seconds(
    door: Door, autojump_clock: MockClock
) -> None:
    record, token = mint_key("late", ["read"], None, None)
    assert await door.ask(token) == 401
    await door.keys.create_key(record)
    await trio.sleep(REFUSED_SECONDS)
    assert await door.ask(token) == 200


async def test_many_first_requests_of_a_right_key_share_its_look_up(
    door: Door, autojump_clock: MockClock
) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(door.ask, door.tokens["read"])
    assert door.keys.asked.total() <= 2  # as many as are looked up at once


async def test_unknown_keys_of_one_address_do_not_delay_another(
    door: Door, autojump_clock: MockClock
) -> None:
    order = []

    async def ask(name: str, token: str, at: str) -> None:
        await door.ask(token, at=at)
        order.append(name)

    async with trio.open_nursery() as nursery:
        for number in range(100):
            nursery.start_soon(ask, "stranger", f"lh_{number:016}_0", "192.0.2.2")
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(ask, "known", door.tokens["read"], "192.0.2.3")
    assert order.index("known") < 20


async def test_while_the_database_hangs_only_unknown_keys_are_503(
    door: Door, autojump_clock: MockClock
) -> None:
    assert await door.ask(door.tokens["read"]) == 200
    door.keys.hangs = True
    with trio.fail_after(6):
        assert await door.ask(door.tokens["ingest"]) == 503
        assert await door.ask(door.tokens["read"]) == 200
    door.keys.hangs = False
    assert await door.ask(door.tokens["ingest"]) == 200


async def test_a_key_not_looked_up_in_time_hears_of_a_slow_database(
    door: Door, autojump_clock: MockClock
) -> None:
    door.keys.hangs = True
    with pytest.raises(Problem) as refused:
        await door.admit(door.tokens["read"])
    assert refused.value.detail is not None
    assert "not looked up in time: the database is slow" in refused.value.detail


async def test_a_database_that_is_away_refuses_nobody_for_later(
    door: Door, autojump_clock: MockClock
) -> None:
    door.keys.away = True
    with pytest.raises(EnvironmentFault):
        await door.ask(door.tokens["read"])
    door.keys.away = False
    assert await door.ask(door.tokens["read"]) == 200


async def test_only_so_many_refusals_at_once_are_held_back(
    door: Door, autojump_clock: MockClock
) -> None:
    waits: Counter[float] = Counter()

    async def ask() -> None:
        began = trio.current_time()
        await door.ask(None)
        waits[round(trio.current_time() - began, 3)] += 1

    await door.admit(None)
    for _ in range(2):  # those held back the first time leave their room to others
        async with trio.open_nursery() as nursery:
            for _ in range(MAX_HELD + 5):
                nursery.start_soon(ask)
    assert waits == {HELD_SECONDS: 2 * MAX_HELD, 0.0: 2 * 5}


async def test_each_refusal_is_counted_once(door: Door, autojump_clock: MockClock) -> None:
    for _ in range(6):
        await door.ask(WRONG)
    await door.admit(None)
    await door.ask(None)
    traffic = door.traffic
    assert (traffic.wrong_keys, traffic.rate_limited, traffic.shed) == (6, 1, 1)


async def test_the_open_gate_counts_places_without_asking_for_a_key(
    autojump_clock: MockClock,
) -> None:
    traffic = HttpTraffic()
    gate = OpenGate(traffic, max_in_flight=2)
    scope: Any = {"type": "http", "path": "/healthz", "client": ("192.0.2.1", 1), "headers": []}
    first = await gate.admit(scope)
    await gate.admit(scope)
    with pytest.raises(Problem) as refusal:
        await gate.admit(scope)
    assert refusal.value.kind.status == 503
    assert traffic.refused.total() == traffic.shed == 1
    gate.leave(first, 200)
    await gate.admit(scope)
