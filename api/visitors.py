"""Who a request for a page comes from, for its share of the places: the key of its sign-in.

It decides about shares only. Whether a sign-in opens a page is asked of the database at every
request (api/pages/page.py). A sign-in that was good is remembered for a minute.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

import trio

from api.challenges import find_authorization
from api.pages.viewer import read_ticket, view_as
from api.token_cache import digest_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from hypercorn.typing import HTTPScope

    from api.pages.viewer import Ticket
    from api.services import DatabaseTime
    from ports.sign_ins import SignIns

REMEMBERED_SECONDS: Final = 60.0
MAX_REMEMBERED: Final = 4096
_STREAMS_END_WITH: Final = "/live"


def is_stream_path(path: str) -> bool:
    """Return whether the answer to this page has no end."""
    return path.endswith(_STREAMS_END_WITH)


class Visitors:
    """Finds the key of a sign-in. `is_of_api` says which paths are no pages."""

    def __init__(
        self, sign_ins: SignIns, clock: DatabaseTime, *, is_of_api: Callable[[str], bool]
    ) -> None:
        self._sign_ins = sign_ins
        self._clock = clock
        self._is_of_api = is_of_api
        self._known: OrderedDict[bytes, tuple[float, str]] = OrderedDict()

    def may_have_sent(self, scope: HTTPScope) -> bool:
        """Return whether the request is for a page, and not one with a key."""
        return not self._is_of_api(scope["path"]) and find_authorization(scope["headers"]) is None

    def read(self, scope: HTTPScope) -> Ticket | None:
        return read_ticket(scope["headers"])

    def recall(self, ticket: Ticket) -> str | None:
        """Return the key id of a ticket that was good a moment ago, or None."""
        until, key_id = self._known.get(digest_of(ticket.text), (0.0, ""))
        return key_id if trio.current_time() < until else None

    async def find(self, ticket: Ticket) -> str | None:
        """Return the key id of a good ticket, from the database; None for another.

        Raises an EnvironmentFault when the database is away.
        """
        found = await self._sign_ins.find_sign_in(ticket.sign_in_id)
        viewer = view_as(found, ticket, self._clock.now(), None)
        if viewer is None:
            return None
        self._remember(digest_of(ticket.text), viewer.access.who)
        return viewer.access.who

    def _remember(self, digest: bytes, key_id: str) -> None:
        self._known[digest] = (trio.current_time() + REMEMBERED_SECONDS, key_id)
        self._known.move_to_end(digest)
        if len(self._known) > MAX_REMEMBERED:
            self._known.popitem(last=False)
