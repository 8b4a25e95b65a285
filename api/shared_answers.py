"""Requests that ask for the same page at the same time, answered from one reading.

Many people look at the same fleet, and each page of it costs several times what a request costs. So
while a page is read, further requests for it wait; when it is done, one reading answers them all.
Every request is answered from a reading that began after it arrived: whoever has just written sees
it. Owns which requests ask for the same. It keeps no answer.
"""

from __future__ import annotations

from functools import partial, wraps
from typing import TYPE_CHECKING, Final

from quart import Response, g, request
from werkzeug.datastructures import Headers

from api.auth import current_access
from domain.cutover import ReadOwner
from runtime.gathering import CallEnded, Gathered

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable, Sequence

    from domain.model import Workspace

    Handler = Callable[..., Awaitable[Response]]
    Reading = Callable[[], Awaitable[Response]]

MAX_TOGETHER: Final = 500  # more than requests can be in flight


class SharedAnswers:
    """One reading for all requests that wait for the same page."""

    def __init__(self) -> None:
        self._pages: dict[Hashable, Gathered[Reading, Response]] = {}

    def share(self, handler: Handler) -> Handler:
        """Decorate a handler that only reads.

        Not shared are later pages, and pages of a workspace that its legacy system shows: that may
        take its time.
        """

        @wraps(handler)
        async def answer(**parameters: str) -> Response:
            if b"cursor=" in request.query_string or _is_of_legacy():
                return await handler(**parameters)
            return await self._ask(_page_of(handler.__name__), partial(handler, **parameters))

        return answer

    async def _ask(self, page: Hashable, reading: Reading) -> Response:
        gathered = self._pages.get(page)
        if gathered is None:
            gathered = Gathered(_read_once, max_together=MAX_TOGETHER, shields=False)
            self._pages[page] = gathered
        try:
            return await gathered.ask(reading)
        except CallEnded:  # the request that read for all is over: its client left, or its deadline
            return await reading()
        finally:
            if gathered.is_idle and self._pages.get(page) is gathered:
                del self._pages[page]


def _is_of_legacy() -> bool:
    workspace: Workspace | None = g.get("workspace")
    is_read_there = workspace is not None and workspace.cutover.read_owner is ReadOwner.LEGACY
    return is_read_there or b"read_owner=legacy" in request.query_string


def _page_of(name: str) -> Hashable:
    """Return all on which an answer depends, besides what its handler reads."""
    accept, workspace = request.headers.get("Accept"), g.get("workspace")
    return name, request.query_string, accept, workspace, current_access().workspaces


async def _read_once(readings: Sequence[Reading]) -> list[Response]:
    """Answer all from the first one's reading, which runs in its own request.

    Each has a response of its own, because it gets headers of its own afterwards.
    """
    response = await readings[0]()
    others = len(readings) - 1
    if not others:
        return [response]
    body = await response.get_data(as_text=False)
    headers = list(response.headers)
    copies = [Response(body, response.status_code, Headers(headers)) for _ in range(others)]
    return [response, *copies]
