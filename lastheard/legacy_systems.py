"""The way to the legacy systems of the workspaces: pool, client, and the notes of their answers.

Owns how these parts are put together. The pool is one of its own: a slow provider must not keep the
reads of a workspace waiting that the legacy system serves.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

from actors.registry_sync import RegistrySync, RegistrySyncCommand
from lastheard.legacy_http import LegacyHttp
from legacy.client import MAX_LOADS, LegacyClient
from legacy.noting import NotedLegacySystems
from providers.http import HttpPool
from storage.cutovers import PostgresCutovers
from storage.legacy_syncs import PostgresLegacySyncs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from lastheard.credentials import CredentialReader
    from lastheard.settings import Settings
    from ports.cutovers import LegacyNotes
    from runtime.clock import SharedClock
    from runtime.dialling import Dialler
    from storage.gateway import Database


class LegacyAccess(NamedTuple):
    """The parts. Enter `opened` around everything that asks `systems`."""

    pool: HttpPool
    client: LegacyClient
    systems: NotedLegacySystems

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        async with self.pool, self.client:
            yield


def make_legacy_access(
    settings: Settings,
    dialler: Dialler,
    credentials: CredentialReader,
    clock: SharedClock,
    notes: LegacyNotes,
) -> LegacyAccess:
    pool = HttpPool(
        dialler, max_connections=MAX_LOADS, max_response_bytes=settings.max_answer_bytes
    )
    client = LegacyClient(LegacyHttp(pool), credentials.resolve, clock=clock)
    return LegacyAccess(pool, client, NotedLegacySystems(client, notes, clock))


def make_sync_command(access: LegacyAccess, database: Database) -> RegistrySyncCommand:
    """Return the command that synchronises a workspace at once, for the API."""
    sync = RegistrySync(access.systems, PostgresLegacySyncs(database))
    return RegistrySyncCommand(PostgresCutovers(database), sync)
