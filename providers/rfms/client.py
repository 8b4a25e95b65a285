"""rFMS over the network: one page of vehicle statuses for each call.

Owns headers and authentication. wire.py reads a page, and paging.py decides which page comes next.
One call at a time for each credential: the standard answers 429 to concurrent ones.
"""

from __future__ import annotations

import base64
import uuid
from typing import TYPE_CHECKING

from domain.model import FaultClass
from ports.providers import ProviderFault
from providers.configuration import header_secret
from providers.http import NO_CONTENT, Call, CallTurn
from providers.rfms.paging import RunPlanner, Step
from providers.rfms.wire import NOTHING_NEW, read_error_code, read_page, to_page

if TYPE_CHECKING:
    from collections.abc import Sequence

    import httpx

    from ports.providers import Page
    from providers.http import HttpPool
    from providers.rfms.settings import RfmsSettings
    from providers.rfms.wire import StatusPage


class RfmsPoller:
    """Polls the statuses of every vehicle that the credential may see, listed or not.

    Acceptance decides which of them are not ours.
    """

    def __init__(
        self,
        http: HttpPool,
        base_url: httpx.URL,
        secret: str | None,
        settings: RfmsSettings,
        *,
        workspace_id: str,
    ) -> None:
        self._http = http
        self._base = base_url
        self._settings = settings
        self._authorization = _authorize(secret, settings)
        self._zone = settings.zone
        self._paging = RunPlanner(base_url, settings)
        self._limiter = http.credential_limiter(
            f"{base_url.netloc.decode('ascii')} {self._authorization}"
        )
        self._share = http.share(workspace_id)
        self._turn = CallTurn()

    @property
    def is_queued(self) -> bool:
        return self._turn.is_queued

    async def fetch(
        self, external_ids: Sequence[str], cursor: str | None, page: str | None
    ) -> Page:
        """Fetch one page: all records received since the cursor.

        Without a usable cursor, fetch the latest status of every vehicle: a roster, once the run
        gets to its end. A run that surely got everything since its cursor is complete.
        """
        del external_ids
        step = (
            self._paging.first_step(cursor, self._http.clock.wall())
            if page is None
            else Step.decode(page)
        )
        step.check(self._settings.max_pages)
        step, answer = await self._ask(step)
        answer = self._paging.without_self_link(step, answer)
        following = self._paging.next_step(step, answer)
        return to_page(answer)._replace(
            is_complete=self._paging.is_complete(step, answer),
            is_roster=self._paging.is_roster(step, answer),
            next_page=None if following is None else following.encode(),
            cursor=self._paging.cursor_after(step, answer),
        )

    async def _ask(self, step: Step) -> tuple[Step, StatusPage]:
        """Return the answer, and the step that was asked for: without stoptime if it is refused."""
        try:
            fetched = await self._http.fetch(self._call(step))
        except ProviderFault as fault:
            open_ended = self._paging.open_ended(step)
            if open_ended is None or fault.fault is not FaultClass.CONFIGURATION:
                raise
            step = open_ended
            fetched = await self._http.fetch(self._call(step))
        if fetched.status in NO_CONTENT:
            return step, NOTHING_NEW
        return step, fetched.read(self._read, read_error_code)

    def _read(self, body: bytes) -> StatusPage:
        return read_page(body, self._zone)

    def _call(self, step: Step) -> Call:
        return Call(
            method="GET",
            url=self._base.copy_with(raw_path=step.target.encode("ascii")),
            headers={
                "Authorization": self._authorization,
                "Accept": self._settings.accept,
                "X-Correlation-Id": str(
                    uuid.uuid4()
                ),  # unique for each call, at most 40 characters
            },
            deadline_seconds=self._settings.request_deadline_seconds,
            limiter=self._limiter,
            share=self._share,
            turn=self._turn,
            read_error_code=read_error_code,
        )


def _authorize(secret: str | None, settings: RfmsSettings) -> str:
    """Return the Authorization header. Raises ProviderFault for an unusable credential."""
    if settings.auth == "bearer":
        return f"Bearer {header_secret(secret)}"
    pair = (secret or "").strip()
    user, colon, password = pair.partition(":")
    if not (user and colon and password):
        message = (
            "this connection uses basic authentication: its credential must read user:password"
        )
        raise ProviderFault(FaultClass.CONFIGURATION, message, permanent=True)
    return f"Basic {base64.b64encode(pair.encode()).decode('ascii')}"
