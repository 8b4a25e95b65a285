"""`GET /metrics` on the listener of the probes: what this process measures, for Prometheus.

Owns who may read it. The figures name workspaces and hosts, so a key of scope `read` is asked for
that is not limited to workspaces, unless a setting opens the path. While the database is away no
key can be looked up, and just then the figures are wanted: a key that was good within the last hour
still opens them.

A key that was not good lately is looked up with one place for all such requests. So strangers can
take neither the places of scrapers nor more than one of the API's database connections.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import trio
from quart import Response, request

from api.addresses import UNKNOWN_ADDRESS, counting_name
from api.auth import authenticate, require_all_workspaces, require_scope
from api.bodies import RequestModel, read_query
from api.challenges import find_authorization
from api.keys import Scope
from api.problem_types import (
    DEADLINE_PASSED,
    DEPENDENCY_AWAY,
    INVALID_PARAMETER,
    MISSING_SCOPE,
    OVERLOADED,
    UNAUTHENTICATED,
)
from api.problems import DEFAULT_RETRY_AFTER_SECONDS, Problem
from api.token_cache import digest_of
from api.wrong_keys import WrongKeys
from runtime.faults import EnvironmentFault

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from api.operations import Operations
    from api.services import ApiServices

MAX_SCRAPES: Final = 4  # at a time; the listener's other places are for the probes
MAX_STRANGERS: Final = 1  # at a time, besides these: requests whose key was not good lately
RENDER_SECONDS: Final = 5.0
KEY_SECONDS: Final = 2.0  # for the look-up of a key; then the database counts as away
REMEMBERED_SECONDS: Final = 3600.0
MAX_REMEMBERED: Final = 16  # keys; the one that was shown longest ago is forgotten
_NO_KEY: Final = digest_of("")


def declare_metrics(operations: Operations, services: ApiServices) -> None:
    """Declare the operation, if this process measures anything."""
    exposition = services.exposition
    if exposition is None:
        return
    door = _Door(services)

    @operations.declare(
        "GET",
        "/metrics",
        scope=None,
        tag="probes",
        prefixed=False,
        media_types=("text/plain", "application/openmetrics-text"),
        problems=(UNAUTHENTICATED, MISSING_SCOPE, INVALID_PARAMETER),
    )
    async def get_metrics() -> Response:
        """Show what this process measures, as text for Prometheus."""
        async with door.opened():
            read_query(request, RequestModel)  # it has no member: each parameter is refused
            with trio.move_on_after(RENDER_SECONDS):
                rendered = await exposition.render(request.headers.get("Accept", ""))
                return Response(rendered.body, content_type=rendered.media_type)
        raise Problem(DEADLINE_PASSED, retry_after_seconds=DEFAULT_RETRY_AFTER_SECONDS)


class _Door:
    """Gives places to scrapes, and checks their keys. Remembers which were good, for a while."""

    def __init__(self, services: ApiServices) -> None:
        self._services = services
        self._scrapes = trio.CapacityLimiter(MAX_SCRAPES)
        self._strangers = trio.CapacityLimiter(MAX_STRANGERS)
        limits = services.gate_limits
        self._wrong_keys = WrongKeys(services.probe_traffic, limits.wrong_keys_per_second)
        self._good: dict[bytes, float] = {}  # digest of the header: when it was last good

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Hold a place for one scrape whose caller may read the metrics.

        Raises Problem 401, 403, 429 or 503.
        """
        header = find_authorization(request.scope["headers"]) or ""
        digest, is_open = digest_of(header), self._services.metrics_open
        places = self._scrapes if is_open or self._was_good(digest) else self._strangers
        try:
            places.acquire_nowait()
        except trio.WouldBlock:
            raise Problem(
                OVERLOADED,
                "Too many scrapes are under way.",
                retry_after_seconds=DEFAULT_RETRY_AFTER_SECONDS,
            ) from None
        try:
            if not is_open:
                await self._let_in(digest)
            yield
        finally:
            places.release()

    async def _let_in(self, digest: bytes) -> None:
        try:
            await self._check()
        except EnvironmentFault:
            if not self._was_good(digest):
                raise
        except Problem as refusal:
            if refusal.kind is DEPENDENCY_AWAY and self._was_good(digest):
                return
            self._good.pop(digest, None)
            if refusal.kind is UNAUTHENTICATED and digest != _NO_KEY:
                self._wrong_keys.count(counting_name(request.remote_addr or UNKNOWN_ADDRESS))
            raise
        else:
            self._remember(digest)

    async def _check(self) -> None:
        with trio.move_on_after(KEY_SECONDS):
            access, _ = await authenticate(self._services)
            require_scope(access, Scope.READ)
            require_all_workspaces(access, "the metrics")
            return
        raise Problem(
            DEPENDENCY_AWAY,
            "The key could not be looked up: the database does not answer.",
            retry_after_seconds=DEFAULT_RETRY_AFTER_SECONDS,
        )

    def _was_good(self, digest: bytes) -> bool:
        return trio.current_time() - self._good.get(digest, float("-inf")) < REMEMBERED_SECONDS

    def _remember(self, digest: bytes) -> None:
        self._good.pop(digest, None)
        self._good[digest] = trio.current_time()
        if len(self._good) > MAX_REMEMBERED:
            del self._good[next(iter(self._good))]
