"""Changed configurations on their way from the database to the actors of the workspaces.

Owns the look at the versions, every few seconds and on request. It must never decide which
workspaces are owned; shard.py does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from actors.take_up import split_pages
from runtime.backoff import Backoff
from runtime.faults import EnvironmentFault
from runtime.flag import Flag
from runtime.logs import EdgeLog

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from random import Random

    from structlog.typing import FilteringBoundLogger

    from actors.runner import WorkspaceRunner
    from ports.sessions import SessionStore

CONFIGURATION_SECONDS = 5.0  # a command without a notice reaches its actors within this
MAX_PAUSE_SECONDS = 2.0  # between attempts while the database is away


class ConfigurationFollower:
    """Gives the actors that run here the configuration that is stored."""

    def __init__(
        self,
        sessions: SessionStore,
        runner: WorkspaceRunner,
        random: Random,
        log: FilteringBoundLogger,
        *,
        every_seconds: float,
        on_change: Callable[[], None],
        on_other_workspaces: Callable[[], None],
    ) -> None:
        """`on_change` is called after any change, because credentials may have changed, too.

        `on_other_workspaces` is called when there are workspaces to claim or to hand over. Neither
        may block or raise.
        """
        self._sessions = sessions
        self._runner = runner
        self._every_seconds = min(CONFIGURATION_SECONDS, every_seconds)
        self._on_change = on_change
        self._on_other_workspaces = on_other_workspaces
        self._versions: Mapping[str, int] = {}
        self._followed: frozenset[str] = frozenset()  # workspaces that have these versions
        self._due = Flag()
        self._edge = EdgeLog(log, "configuration")
        max_pause_seconds = min(MAX_PAUSE_SECONDS, every_seconds)
        self._backoff = Backoff(random, base_seconds=0.2, cap_seconds=max_pause_seconds)

    def look_now(self) -> None:
        """Look now instead of in a few seconds. Never blocks."""
        self._due.set()

    async def run(self) -> None:
        """Load changed configurations every few seconds, and at once after `look_now`.

        In this way commands reach the actors of any shard. Ends only by cancellation.
        """
        while True:
            with trio.move_on_after(self._every_seconds):
                await self._due.wait()
            self._due.clear()
            try:
                await self._follow()
            except EnvironmentFault as fault:
                self._edge.failed(fault)
                await trio.sleep(self._backoff.next_delay(fault.retry_after))
                self._due.set()
            else:
                self._edge.recovered()
                self._backoff.reset()

    async def _follow(self) -> None:
        versions = await self._sessions.load_config_versions()
        if versions.keys() != self._versions.keys():
            self._on_other_workspaces()
        running = self._runner.workspace_ids()
        is_new = versions != self._versions
        if is_new or running != self._followed:  # else, of 10,000, none needs to be looked at
            changed = [
                workspace_id
                for workspace_id in running
                if versions.get(workspace_id) != self._runner.config_version(workspace_id)
            ]
            if changed:
                await self._reload(changed)
            self._followed = frozenset() if changed else running
        if is_new:
            self._on_change()
        self._versions = versions

    async def _reload(self, changed: Sequence[str]) -> None:
        counts = await self._sessions.count_fleets(changed)
        for page in split_pages(counts):
            fleets = await self._sessions.load_fleets(page)
            for workspace_id in page:
                fleet = fleets.get(workspace_id)
                if workspace_id not in self._runner:
                    continue  # handed over while these were loading
                if fleet is not None and fleet.workspace.active:
                    await self._runner.follow(fleet)
                else:
                    self._on_other_workspaces()
