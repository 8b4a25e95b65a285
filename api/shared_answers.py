"""Requests that ask for the same page at the same time, answered from one reading.

Many people look at the same fleet, and each page of it costs several times what a request costs. So
while a page is read, further requests for it wait; when it is done, one reading answers them all.
Every request is answered from a reading that began after it arrived: whoever has just written sees
it. Owns which requests ask for the same. It keeps no answer.
"""

from __future__ import annotations

from functools import partial, wraps
from typing import TYPE_CHECKING, Final, NamedTuple

from quart import Response, g, request
from werkzeug.datastructures import Headers

from api.auth import current_access
from runtime.gathering import Gathered

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable, Sequence

    Handler = Callable[..., Awaitable[Response]]
    Reading = Callable[[], Awaitable[Response]]

MAX_TOGETHER: Final = 500  # more than requests can be in flight


class SharedAnswer(NamedTuple):
    """A response without the headers that each request gets for itself."""

    body: bytes
    status: int
    headers: Sequence[tuple[str, str]]


class SharedAnswers:
    """One reading for all requests that wait for the same page."""

    def __init__(self) -> None:
        self._pages: dict[Hashable, Gathered[Reading, SharedAnswer]] = {}

    def share(self, handler: Handler) -> Handler:
        """Decorate a handler that only reads. Later pages have a cursor, and are not shared."""

        @wraps(handler)
        async def answer(**parameters: str) -> Response:
            if "cursor" in request.args:
                return await handler(**parameters)
            page = _page_of(handler.__name__)
            found = await self._ask(page, partial(handler, **parameters))
            return Response(found.body, found.status, Headers(found.headers))

        return answer

    async def _ask(self, page: Hashable, reading: Reading) -> SharedAnswer:
        gathered = self._pages.get(page)
        if gathered is None:
            gathered = self._pages[page] = Gathered(_read_once, max_together=MAX_TOGETHER)
        try:
            return await gathered.ask(reading)
        finally:
            if gathered.is_idle and self._pages.get(page) is gathered:
                del self._pages[page]


def _page_of(name: str) -> Hashable:
    """Return all on which an answer depends, besides what its handler reads."""
    accept, workspace = request.headers.get("Accept"), g.get("workspace")
    return name, request.query_string, accept, workspace, current_access().workspaces


async def _read_once(readings: Sequence[Reading]) -> list[SharedAnswer]:
    """Answer all from the first one's reading, which runs in its own request."""
    response = await readings[0]()
    body = await response.get_data(as_text=False)
    return [SharedAnswer(body, response.status_code, list(response.headers))] * len(readings)
