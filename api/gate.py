"""The gate in front of the frame: it admits requests, before the framework sees them.

Owns the order of the checks: find the key or judge the JWT, apply the caller's rate, take a place
of its share. What is said of a key here holds for a JWT too; its rate and share are its subject's.
A right key has a rate and a share of its own. So its requests are answered whatever other callers
do, from the same address too. Callers without a key have a small share together, and their refusal
is cheap. A wrong key that is in the cache is refused without the database. A refusal beyond a limit
comes after a pause, which slows a flood down.

It must never decide what a key may do (api/auth.py asks the database at every request), nor read a
body.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import trio

from api.addresses import UNKNOWN_ADDRESS, TrustedProxies
from api.buckets import RateBuckets
from api.challenges import (
    credentials_refused,
    find_authorization,
    read_bearer,
    read_key,
)
from api.in_flight import Caller, InFlightLimits, PlacesInFlight, Shortage
from api.jwt_access import is_jwt
from api.keys import why_refused
from api.lookup_queue import LookupQueue, LookupsFull
from api.problem_types import OVERLOADED, RATE_LIMITED, UNAUTHENTICATED
from api.problems import Problem
from api.token_cache import TokenCache, digest_of
from api.visitors import is_stream_path

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

    from hypercorn.typing import HTTPScope

    from api.jwt_access import JwtAccess
    from api.keys import Token
    from api.services import DatabaseTime
    from api.traffic import HttpTraffic
    from api.visitors import Visitors
    from api.wrong_keys import WrongKeys
    from ports.keys import KeyLookup

RETRY_AFTER_SECONDS = 1.0
# The refusal of a caller without a key is held back for HELD_SECONDS. While MAX_HELD refusals are
# held, further ones are sent at once.
HELD_SECONDS = 2.0
MAX_HELD = 1000
LOOKUPS_FULL = "lookups"

_SHORTAGES = {
    Shortage.ALL: "All places for requests in flight are taken.",
    Shortage.KEY: (
        "This key has as many requests in flight as one key may have; wait for some to end."
    ),
    Shortage.WITHOUT_KEY: "All places for requests without a key are taken.",
    Shortage.ADDRESS: (
        "This address has as many requests without a key in flight as one address may have."
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class GateLimits:
    """Rates in requests per second."""

    places: InFlightLimits = field(default_factory=InFlightLimits)
    # Live pages. A key may be that of a whole office; each of its browsers has some pages open.
    streams: InFlightLimits = field(
        default_factory=lambda: InFlightLimits(total=500, per_key=400, without_key=0, per_address=0)
    )
    requests_per_second: float = 1000.0  # of one key; and of one address, without a key
    wrong_keys_per_second: float = 10.0  # of one address


class Gate(Protocol):
    """A gate as the frame uses it: one call before each request, and one after it."""

    async def admit(self, scope: HTTPScope) -> Caller:
        """Take a place for this request. Raises Problem or EnvironmentFault to refuse it."""
        ...

    def leave(self, caller: Caller, status: int | None) -> None:
        """Give the place back. `status` is the answer's; None when there was no answer."""
        ...


class OpenGate:
    """A gate that counts places and asks for no key, for the probes: their listener is internal."""

    def __init__(self, traffic: HttpTraffic, max_in_flight: int) -> None:
        self._traffic = traffic
        self._places = PlacesInFlight(
            InFlightLimits(
                total=max_in_flight, without_key=max_in_flight, per_address=max_in_flight
            )
        )

    async def admit(self, scope: HTTPScope) -> Caller:
        await trio.lowlevel.checkpoint_if_cancelled()
        return _take_place(self._places, Caller(UNKNOWN_ADDRESS), self._traffic)

    def leave(self, caller: Caller, status: int | None) -> None:
        self._places.give_back(caller)


class KeyGate:
    """The API's gate. `open_paths` need no key, so a key sent to one is not looked at."""

    def __init__(
        self,
        keys: KeyLookup,
        clock: DatabaseTime,
        traffic: HttpTraffic,
        limits: GateLimits,
        *,
        jwts: JwtAccess | None,
        proxies: TrustedProxies,
        open_paths: Collection[str],
        visitors: Visitors,
        wrong_keys: WrongKeys,
    ) -> None:
        self._keys = keys
        self._jwts = jwts
        self._clock = clock
        self._traffic = traffic
        self._proxies = proxies
        self._open_paths = frozenset(open_paths)
        self._places = PlacesInFlight(limits.places)
        self._streams = PlacesInFlight(limits.streams)
        self._visitors = visitors
        self._lookups = LookupQueue()
        self._tokens = TokenCache()
        self._rate_of_keys = RateBuckets(limits.requests_per_second)
        self._rate_of_addresses = RateBuckets(limits.requests_per_second)
        self._wrong_keys = wrong_keys
        self._held = 0

    async def admit(self, scope: HTTPScope) -> Caller:
        await trio.lowlevel.checkpoint_if_cancelled()
        client = scope.get("client")
        address = self._proxies.find_client(client[0] if client else "", scope["headers"])
        header = find_authorization(scope["headers"])
        if self._visitors.may_have_sent(scope):
            caller = await self._identify_visitor(scope, address)
        elif header is None or scope["path"] in self._open_paths:
            caller = Caller(address)
        else:
            caller = await self._identify(header, address)
        if caller.who is None:
            return await self._admit_stranger(caller)
        self._check_rate(self._rate_of_keys, caller.who, "rate_of_key")
        places = self._streams if caller.is_stream else self._places
        return _take_place(places, caller, self._traffic)

    async def _identify_visitor(self, scope: HTTPScope, address: str) -> Caller:
        """Return the caller of a page: who is signed in, or a stranger."""
        ticket = self._visitors.read(scope)
        if ticket is None:
            return Caller(address)
        who = self._visitors.recall(ticket)
        if who is None:
            async with self._turn(address):
                # Another page of the same sign-in may have had its turn before this one.
                who = self._visitors.recall(ticket) or await self._visitors.find(ticket)
        return Caller(address, who, is_stream=who is not None and is_stream_path(scope["path"]))

    async def _admit_stranger(self, caller: Caller) -> Caller:
        await self._check_rate_of_stranger(caller.address)
        try:
            return _take_place(self._places, caller, self._traffic)
        except Problem:
            await self._delay_refusal()
            raise

    async def _check_rate_of_stranger(self, address: str) -> None:
        """Raise Problem 429, after a pause, beyond the rate of those without a right key."""
        try:
            self._check_rate(self._rate_of_addresses, address, "rate_of_address")
        except Problem:
            await self._delay_refusal()
            raise

    def leave(self, caller: Caller, status: int | None) -> None:
        (self._streams if caller.is_stream else self._places).give_back(caller)
        if status == UNAUTHENTICATED.status and caller.digest is not None:
            self._tokens.forget(caller.digest)  # revoked or expired since it was cached

    async def _identify(self, header: str, address: str) -> Caller:
        """Return the caller.

        Raises Problem 401 or 429 for a wrong key or JWT, and 503 when too many look-ups wait or the
        issuer's keys are away. Raises an EnvironmentFault when the database is away.
        """
        try:
            return await self._identify_token(header, address)
        except _WrongKey as wrong:
            answer = wrong.answer
        try:
            self._wrong_keys.count(address)
        except Problem:
            await self._delay_refusal()
            raise
        raise answer

    async def _identify_token(self, header: str, address: str) -> Caller:
        try:
            bearer = read_bearer(header)
            if self._jwts is not None and is_jwt(bearer):
                return Caller(address, (await self._jwts.verify(bearer)).who)
            token = read_key(bearer)
        except Problem as answer:
            if answer.kind is UNAUTHENTICATED:
                raise _WrongKey(answer) from None
            # Whether the JWT is good is not known, so its sender is a stranger.
            await self._check_rate_of_stranger(address)
            raise
        return await self._identify_key(token, address)

    async def _identify_key(self, token: Token, address: str) -> Caller:
        digest = digest_of(f"{token.key_id}_{token.secret}")
        key_id = self._recall(digest)
        if key_id is None:
            key_id = await self._look_up(token, digest, address)
        return Caller(address, key_id, digest)

    def _recall(self, digest: bytes) -> str | None:
        """Return the key id of a token that was right a moment ago; None if it is not in the cache.

        Raises _WrongKey for a token that was wrong a moment ago.
        """
        why = self._tokens.refusal_of(digest, trio.current_time())
        if why is not None:
            raise _WrongKey(credentials_refused(why))
        return self._tokens.key_of(digest)

    async def _look_up(self, token: Token, digest: bytes, address: str) -> str:
        async with self._turn(address):
            # Another request with the same token may have had its turn before this one.
            key_id = self._recall(digest)
            if key_id is None:
                key_id = await self._ask_database(token, digest)
            return key_id

    @asynccontextmanager
    async def _turn(self, address: str) -> AsyncIterator[None]:
        """Wait for a turn to ask the database. Raises Problem 503 when it does not come in time."""
        try:
            async with self._lookups.turn(address):
                yield
        except LookupsFull:
            self._traffic.shed += 1
            self._traffic.refused[LOOKUPS_FULL] += 1
            detail = (
                "The key was not looked up in time: "
                "the database is slow, or too many new keys wait."
            )
            raise Problem(OVERLOADED, detail, retry_after_seconds=RETRY_AFTER_SECONDS) from None

    async def _delay_refusal(self) -> None:
        """Wait HELD_SECONDS before a refusal. The caller holds no place meanwhile.

        Returns at once when MAX_HELD callers wait.
        """
        if self._held < MAX_HELD:
            self._held += 1
            try:
                await trio.sleep(HELD_SECONDS)
            finally:
                self._held -= 1

    async def _ask_database(self, token: Token, digest: bytes) -> str:
        record = await self._keys.find_key(token.key_id)
        why = why_refused(record, token, self._clock.now())
        if record is None or why is not None:
            why = why or "The key is not known."
            self._tokens.remember_refusal(digest, why, trio.current_time())
            raise _WrongKey(credentials_refused(why))
        self._tokens.remember_key(digest, record.key_id)
        return record.key_id

    def _check_rate(self, buckets: RateBuckets, name: str, limit: str) -> None:
        wait = buckets.take(name, trio.current_time())
        if wait:
            self._traffic.rate_limited += 1
            self._traffic.refused[limit] += 1
            raise Problem(RATE_LIMITED, retry_after_seconds=wait)


class _WrongKey(Exception):
    """The token is wrong, expired or revoked; `answer` is the 401 with the reason."""

    def __init__(self, answer: Problem) -> None:
        super().__init__(answer.detail)
        self.answer = answer


def _take_place(places: PlacesInFlight, caller: Caller, traffic: HttpTraffic) -> Caller:
    shortage = places.take(caller)
    if shortage is not None:
        traffic.shed += 1
        traffic.refused[f"stream_{shortage}" if caller.is_stream else shortage.value] += 1
        raise Problem(OVERLOADED, _SHORTAGES[shortage], retry_after_seconds=RETRY_AFTER_SECONDS)
    return caller
