"""One request inside the framework: in the task that the server made for it.

quart-trio makes two more tasks for each request: one that reads its body and waits for the client
to go, and one that handles it. Only the first is needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from quart_trio.asgi import TrioASGIHTTPConnection

if TYPE_CHECKING:
    from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable


class RequestTask(TrioASGIHTTPConnection):
    """As its base, but the handler runs in the caller's task."""

    async def __call__(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Serve the request. A client that goes cancels the handler, not the caller."""
        request = self._create_request_from_scope(send)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.handle_messages, nursery, request, receive)
            await self.handle_request(nursery, request, send)
