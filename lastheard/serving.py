"""`serve` and `migrate`: from settings to a running shard, and its end by a signal at any instant.

Owns the choice of the database (a DSN, or our own embedded server) and the stop signal. service.py
builds the shard.
"""

from __future__ import annotations

from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING

import trio

from lastheard.embedded import open_shared, open_supervised
from lastheard.http_limits import descriptors_wanted
from lastheard.tracing import open_tracing
from runtime.descriptors import raise_descriptor_limit
from runtime.logs import get_logger
from runtime.settings import SettingsError
from runtime.shutdown import wait_for_stop_signal
from storage.gateway import Database, open_bridge
from storage.migrations import check_schema, migrate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from lastheard.settings import Settings

EXIT_STOPPED_WHILE_STARTING = 130  # as in __main__.py, which must not import this module


@asynccontextmanager
async def open_database(settings: Settings) -> AsyncIterator[str]:
    """Yield the DSN to serve from.

    With `embedded`, our own PostgreSQL runs for the length of the block, migrated and supervised.
    The database of a configured DSN is not migrated here. Raises SettingsError when there is
    neither.
    """
    if settings.dsn is not None:
        yield settings.dsn
        return
    async with open_supervised(embedded_folder(settings)) as server:
        await migrate(server.dsn)
        yield server.dsn


@asynccontextmanager
async def open_database_for_command(
    settings: Settings, *, migrated: bool = True
) -> AsyncIterator[str]:
    """Yield the DSN for a short command. It may run beside a `serve` or `demo` in the same folder.

    The server of that `serve` or `demo` is then used, not migrated, and left running. A server that
    this process starts is migrated, unless `migrated` is false. Raises SettingsError without a
    database.
    """
    if settings.dsn is not None:
        yield settings.dsn
        return
    async with open_shared(embedded_folder(settings)) as (dsn, is_ours):
        if is_ours and migrated:
            await migrate(dsn)
        yield dsn


def embedded_folder(settings: Settings) -> Path:
    """Return the folder of our own PostgreSQL. Raises SettingsError when `embedded` is off."""
    if not settings.embedded:
        raise SettingsError(
            [
                "no database is configured: set "
                "LASTHEARD_DSN=postgresql://user:password@host/database, "
                "or, on a laptop, use --embedded to run a PostgreSQL of our own in the data folder"
            ]
        )
    return settings.data_dir / "postgresql"


class StopSignal:
    """Turns SIGINT and SIGTERM into an ordered stop of the service, or cancels its start."""

    def __init__(self) -> None:
        self.starting = trio.CancelScope()
        self._stop: Callable[[], None] | None = None
        self._requested = False

    def started(self, stop: Callable[[], None]) -> None:
        """Let a signal call `stop` from now on. If one has come already, call `stop` now."""
        self._stop = stop
        if self._requested:
            stop()

    async def watch(self) -> None:
        number = await wait_for_stop_signal()
        get_logger("service").info("stop_requested", signal=number.name)
        self._requested = True
        if self._stop is None:
            self.starting.cancel()
        else:
            self._stop()


async def until_stopped(main: Callable[[StopSignal], Awaitable[int]]) -> int:
    """Run `main` and watch for signals from its beginning. Return its exit code.

    Returns 130 when a signal ended its start.
    """
    signal = StopSignal()
    code = EXIT_STOPPED_WHILE_STARTING
    # The bridge to asyncio is outermost: only tasks that are started inside it can use it.
    async with open_bridge(), trio.open_nursery() as nursery:
        nursery.start_soon(signal.watch)
        with signal.starting:
            code = await main(signal)
        nursery.cancel_scope.cancel()
    return code


async def serve(settings: Settings) -> int:
    """Run one shard until a signal or a fatal fault. Return the exit code of the process."""
    # Not above: short commands on the database need no service, which takes longer to load than
    # all else that they do.
    from lastheard.service import Service

    async def main(signal: StopSignal) -> int:
        raise_descriptor_limit(descriptors_wanted(settings))
        async with open_tracing(settings), open_database(settings) as dsn:
            service = Service(settings, dsn)
            signal.started(service.stop)
            await service.run()
            return service.exit_code

    return await until_stopped(main)


async def migrate_database(settings: Settings, *, check_only: bool) -> int:
    """Bring the schema up to date unless `check_only`. Return 1 if it is not current then."""

    async def main(_: StopSignal) -> int:
        async with (
            open_database_for_command(settings, migrated=False) as dsn,
            aclosing(Database(dsn, pool_size=1)) as database,
        ):
            # Checked before migrating too: a database that is away is then reported in a sentence,
            # and not by Alembic's traceback.
            version = await check_schema(database)
            if not check_only:
                await migrate(dsn)
                version = await check_schema(database)
        print(
            f"schema {version.current or 'none'}, this version of Lastheard expects "
            f"{version.expected}"
        )
        return 0 if version.is_known else 1

    return await until_stopped(main)
