"""`GET /metrics` on the listener of the probes: what this process measures, for Prometheus.

Owns who may read it. The figures name workspaces and hosts, so a key of scope `read` is asked for
that is not limited to workspaces, unless a setting opens the path. While the database is away no
key can be looked up, and just then the figures are wanted: a key that was good within the last hour
still opens them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio
from quart import Response, request

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
from runtime.faults import EnvironmentFault

if TYPE_CHECKING:
    from api.operations import Operations
    from api.services import ApiServices

MAX_SCRAPES: Final = 4  # at a time; the listener's other places are for the probes
RENDER_SECONDS: Final = 5.0
KEY_SECONDS: Final = 2.0  # for the look-up of a key; then the database counts as away
REMEMBERED_SECONDS: Final = 3600.0
MAX_REMEMBERED: Final = 16  # keys; the one that was shown longest ago is forgotten


def declare_metrics(operations: Operations, services: ApiServices) -> None:
    """Declare the operation, if this process measures anything."""
    exposition = services.exposition
    if exposition is None:
        return
    door = _Door(services)
    scrapes = trio.CapacityLimiter(MAX_SCRAPES)

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
        try:
            scrapes.acquire_nowait()
        except trio.WouldBlock:
            raise Problem(
                OVERLOADED,
                f"{MAX_SCRAPES} scrapes are under way.",
                retry_after_seconds=DEFAULT_RETRY_AFTER_SECONDS,
            ) from None
        try:
            if not services.metrics_open:
                await door.pass_through()
            read_query(request, RequestModel)  # it has no member: each parameter is refused
            with trio.move_on_after(RENDER_SECONDS):
                rendered = await exposition.render(request.headers.get("Accept", ""))
                return Response(rendered.body, content_type=rendered.media_type)
        finally:
            scrapes.release()
        raise Problem(DEADLINE_PASSED, retry_after_seconds=DEFAULT_RETRY_AFTER_SECONDS)


class _Door:
    """Checks the key or JWT of a scrape. Remembers which keys were good, for a while."""

    def __init__(self, services: ApiServices) -> None:
        self._services = services
        self._good: dict[bytes, float] = {}  # digest of the header: when it was last good

    async def pass_through(self) -> None:
        """Return if the caller may read the metrics. Raises Problem 401, 403 or 503."""
        digest = digest_of(find_authorization(request.scope["headers"]) or "")
        try:
            await self._check()
        except EnvironmentFault:
            if not self._was_good(digest):
                raise
        except Problem as refusal:
            if refusal.kind is not DEPENDENCY_AWAY:
                self._good.pop(digest, None)
                raise
            if not self._was_good(digest):
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
