"""Taking up workspaces: their configuration is read in pages, and their actors are started.

Owns the pages and what a take-up means for the garbage collector. shard.py decides which
workspaces; runner.py owns their actors. It must never read without a bound: a page has at most
MAX_WORKSPACES, and MAX_DEVICES unless one workspace alone has more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from runtime import garbage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from structlog.typing import FilteringBoundLogger

    from actors.runner import WorkspaceRunner
    from domain.model import SessionRef
    from ports.sessions import Fleet, SessionStore

MAX_WORKSPACES: Final = 500
MAX_DEVICES: Final = 20_000
# Given up since the last thaw: fewer are not worth a pause.
MIN_GIVEN_UP: Final = 500
STARTS_PER_PASS: Final = 20  # actors started before other tasks have their turn


class TakeUp:
    """Loads claimed workspaces, and starts their actors."""

    def __init__(
        self, sessions: SessionStore, runner: WorkspaceRunner, log: FilteringBoundLogger
    ) -> None:
        self._sessions = sessions
        self._runner = runner
        self._log = log
        self._started = 0  # since the last thaw, as the next one
        self._was_running = 0

    async def take_up(
        self, session: SessionRef, tokens: Mapping[str, int], *, goes_on: Callable[[], bool]
    ) -> None:
        """Load these workspaces and start their actors. `tokens` are those of their leases.

        Configuration and cursors are read after the claim: from then on nobody else moves them.
        Raises EnvironmentFault; the workspaces that are left stay ours, and the next round takes
        them up. Stops when `goes_on` says no.
        """
        self._note_given_up()
        names = sorted(tokens)
        for first in range(0, len(names), MAX_WORKSPACES):
            counts = await self._sessions.count_fleets(names[first : first + MAX_WORKSPACES])
            for page in split_pages(counts):
                fleets = await self._sessions.load_fleets(page)
                await self._start_page(session, tokens, fleets, goes_on)
                garbage.freeze_more()

    async def _start_page(
        self,
        session: SessionRef,
        tokens: Mapping[str, int],
        fleets: Mapping[str, Fleet],
        goes_on: Callable[[], bool],
    ) -> None:
        for place, (workspace_id, fleet) in enumerate(sorted(fleets.items())):
            if not goes_on():
                return
            if fleet.workspace.active and workspace_id not in self._runner:
                await self._start(session, tokens[workspace_id], fleet)
            if place % STARTS_PER_PASS == 0:
                await trio.lowlevel.checkpoint()

    async def _start(self, session: SessionRef, token: int, fleet: Fleet) -> None:
        await self._runner.start(session, token, fleet)
        self._started += 1
        workspace_id = fleet.workspace.workspace_id
        self._log.info("workspace_taken_up", workspace_id=workspace_id, token=token)

    def _note_given_up(self) -> None:
        """Thaw if many workspaces were given up since: their actors are garbage that is frozen."""
        running = len(self._runner.workspace_ids())
        given_up = self._was_running + self._started - running
        if given_up >= max(MIN_GIVEN_UP, running // 4):
            garbage.thaw()
            self._was_running, self._started = running, 0


def split_pages(devices: Mapping[str, int]) -> Iterator[list[str]]:
    """Yield the workspaces in pages, by how many devices each has."""
    page: list[str] = []
    held = 0
    for workspace_id, count in devices.items():
        if page and (len(page) == MAX_WORKSPACES or held + count > MAX_DEVICES):
            yield page
            page, held = [], 0
        page.append(workspace_id)
        held += count
    if page:
        yield page
