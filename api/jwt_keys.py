"""The keys of the issuer of JWTs: fetched, kept through its outages, and found by id.

Owns when the set of keys is fetched. `run` alone fetches, so two fetches never run at once. It
fetches when the set has reached the age of `renew_seconds`, and when a token names a key that the
set does not have. Between the starts of two fetches there are at least FETCH_GAP_SECONDS, whatever
tokens come. It must never take a key from another place: what a token says about where keys are
(jku, x5u, jwk, x5c) is not read.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import trio

from api.jwt_key_set import BadKeySet, KeySet, read_key_set
from runtime.faults import EnvironmentFault
from runtime.logs import EdgeLog, describe_error, get_logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from api.jwt_key_set import SigningKey

FETCH_GAP_SECONDS: Final = 60.0
WAIT_SECONDS: Final = 5.0  # of a request for a fetch
MAX_WAITING: Final = 1024  # requests that wait for a fetch; enough for five addresses' connections


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRenewal:
    """Ages in seconds: of the set when it is fetched anew, and when it is not used any more."""

    renew_seconds: float = 300.0
    kept_seconds: float = 86_400.0


class KeysAway(EnvironmentFault):
    """Whether the issuer has this key cannot be known now. `retry_after` says when it may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerKeysStatistics:
    """The issuer's keys now, and the fetches since the start of the process."""

    issuer: str
    key_ids: tuple[str, ...]  # known now
    keys_left_out: int  # of the newest set: not for signatures, or of an algorithm not allowed
    age_seconds: float | None  # of the newest set; None before the first
    fetches: int  # begun
    failures: int
    last_failure: str | None
    last_failure_seconds: float | None  # since then
    requests_waiting: int  # now, for a fetch


class IssuerKeys:
    """The newest set of keys. Finding a known key never blocks."""

    def __init__(
        self,
        issuer: str,
        algorithms: Collection[str],
        fetch: Callable[[], Awaitable[bytes]],
        renewal: KeyRenewal | None = None,
    ) -> None:
        """`fetch` returns the bytes of the set within a bound of its own, or raises.

        What it raises is an EnvironmentFault.
        """
        self._issuer = issuer
        self._algorithms = frozenset(algorithms)
        self._fetch = fetch
        self._renewal = renewal or KeyRenewal()
        self._set = KeySet()
        self._fetched_at: float | None = None  # when the fetch of the newest set began
        self._began_at: float | None = None  # the newest fetch, whatever came of it
        self.is_fetching = False
        self._wanted = trio.Event()
        self._ended = trio.Event()  # set, and replaced, at the end of each fetch
        self._waiting = 0
        self._counts: Counter[str] = Counter()
        self._last_failure: tuple[str, float] | None = None
        self._edge = EdgeLog(get_logger("jwt_keys"), "jwks_fetch")

    # Finding a key

    def current(self, key_id: str) -> SigningKey | None:
        """Return a key that is known and may still be used, or None. Never blocks."""
        age = self._age()
        if age is None or age > self._renewal.kept_seconds:
            return None
        return self._set.keys.get(key_id)

    async def find(self, key_id: str, token_age: float | None) -> SigningKey | None:
        """Return the key, or None if the issuer does not have it. Fetches the set if it must.

        `token_age` is the least age of the token in seconds, as the token states it; None if it
        states none. A token that is older than the newest set is judged by that set. A younger one
        may be signed with a key that is newer than the set, so it needs another fetch. Raises
        KeysAway when that fetch failed, or may not begin yet. Waits WAIT_SECONDS at most.
        """
        key = self.current(key_id)
        if key is not None:
            return key
        if self.is_fetching or self._gap_left() == 0:
            await self._wait_for_fetch()
            return self.current(key_id)
        if self._is_newest_good() and not self._is_set_older_than(token_age):
            return None
        raise KeysAway(retry_after=self._gap_left())

    def _is_newest_good(self) -> bool:
        return self._fetched_at is not None and self._fetched_at == self._began_at

    def _is_set_older_than(self, token_age: float | None) -> bool:
        age = self._age()
        return age is not None and token_age is not None and token_age < age

    async def _wait_for_fetch(self) -> None:
        """Wait until a fetch has ended well. Raises KeysAway if it has not."""
        if self._waiting >= MAX_WAITING:
            raise KeysAway(retry_after=WAIT_SECONDS)
        self._waiting += 1
        try:
            with trio.move_on_after(WAIT_SECONDS):
                ended = self._ended
                self._wanted.set()
                await ended.wait()
                if self._is_newest_good():
                    return
        finally:
            self._waiting -= 1
        raise KeysAway(retry_after=self._gap_left() or WAIT_SECONDS)

    # Fetching

    async def run(self) -> None:
        """Fetch the set now, and whenever it is due or wanted. Ends only by cancellation."""
        while True:
            await trio.sleep(self._gap_left())
            with trio.move_on_after(self._until_due()):
                await self._wanted.wait()
            await self._renew()

    async def _renew(self) -> None:
        self._began_at = began_at = trio.current_time()
        self._counts["fetches"] += 1
        self.is_fetching = True
        try:
            self._set = read_key_set(await self._fetch(), self._algorithms)
        except (EnvironmentFault, BadKeySet) as fault:
            self._fail(fault)
        else:
            self._fetched_at = began_at
            self._edge.recovered()
        finally:
            self.is_fetching = False
            self._wanted = trio.Event()
            self._ended.set()
            self._ended = trio.Event()

    def _fail(self, fault: EnvironmentFault | BadKeySet) -> None:
        self._counts["failures"] += 1
        what = "the answer cannot be used: " if isinstance(fault, BadKeySet) else ""
        self._last_failure = what + describe_error(fault), trio.current_time()
        self._edge.failed(self._last_failure[0])

    def _gap_left(self) -> float:
        """Return the seconds until another fetch may begin; 0 if one may begin now."""
        if self._began_at is None:
            return 0.0
        return max(0.0, self._began_at + FETCH_GAP_SECONDS - trio.current_time())

    def _until_due(self) -> float:
        """Return the seconds until the set is due. After a failure it is due at once."""
        if not self._is_newest_good():
            return 0.0
        return max(0.0, self._renewal.renew_seconds - (self._age() or 0.0))

    def _age(self) -> float | None:
        return None if self._fetched_at is None else trio.current_time() - self._fetched_at

    def statistics(self) -> IssuerKeysStatistics:
        text, failed_at = self._last_failure or (None, None)
        return IssuerKeysStatistics(
            issuer=self._issuer,
            key_ids=tuple(sorted(key_id for key_id in self._set.keys if self.current(key_id))),
            keys_left_out=self._set.left_out,
            age_seconds=self._age(),
            fetches=self._counts["fetches"],
            failures=self._counts["failures"],
            last_failure=text,
            last_failure_seconds=None if failed_at is None else trio.current_time() - failed_at,
            requests_waiting=self._waiting,
        )
