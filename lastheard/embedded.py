"""Our own PostgreSQL for commands: one command starts and supervises it, others beside it share it.

Owns which command starts the server of a data folder, and the restart when it dies.
storage/embedded/ has how it is started and stopped.
"""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from random import Random
from typing import TYPE_CHECKING, Final

import trio

from runtime.logs import get_logger
from runtime.supervisor import EssentialChildFailed, Intensity, Restart, Supervisor
from storage.embedded import EmbeddedUnavailable, FolderInUse, find_running_server, open_embedded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from storage.embedded import EmbeddedPostgres

INTENSITY: Final = Intensity(restarts=5, within_seconds=30.0)
SHARE_SECONDS: Final = 60.0  # for a server that another process is starting just now
_POLL_SECONDS: Final = 0.2


@asynccontextmanager
async def open_supervised(
    data_dir: Path, *, intensity: Intensity = INTENSITY
) -> AsyncIterator[EmbeddedPostgres]:
    """Run a server of our own for the length of the block, and start it again when it dies.

    When it dies or fails to start more often than `intensity` allows, the block is cancelled and
    this raises EmbeddedUnavailable.
    """
    async with open_embedded(data_dir) as server:
        random = Random()  # noqa: S311 - jitter, not secrets
        supervisor = Supervisor("embedded", random=random, intensity=intensity)

        async def run() -> None:
            """Return when the server has died or did not start. Either is in the log by then."""
            try:
                await server.run_until_it_dies()
            except EmbeddedUnavailable as refusal:
                get_logger("embedded").error("embedded_postgresql_start_failed", error=str(refusal))

        try:
            async with supervisor.open() as root:
                # Permanent: a return counts as a crash. Essential: without it nothing works here.
                root.start("postgresql", run, restart=Restart.PERMANENT, essential=True)
                yield server
        except EssentialChildFailed as failure:
            raise _gave_up(data_dir, intensity) from failure
        except ExceptionGroup as failures:
            # The block failed, too, most likely because its server is gone.
            if failures.subgroup(EssentialChildFailed) is None:
                raise
            raise _gave_up(data_dir, intensity) from failures


def _gave_up(data_dir: Path, intensity: Intensity) -> EmbeddedUnavailable:
    return EmbeddedUnavailable(
        f"PostgreSQL in {data_dir} died or failed to start more than {intensity.restarts} times "
        f"within {intensity.within_seconds:g} s: its own words are in {data_dir / 'postgres.log'}",
        permanent=True,
    )


@asynccontextmanager
async def open_shared(data_dir: Path) -> AsyncIterator[tuple[str, bool]]:
    """Yield the DSN of the folder's server, and whether this process started it.

    A server that another Lastheard process runs there is used, and left running. Otherwise one is
    started, and stopped at the end of the block. Raises EmbeddedUnavailable. Waits SHARE_SECONDS at
    most for a server that another process is starting.
    """
    async with AsyncExitStack() as stack:
        yield await _share(data_dir, stack)


async def _share(data_dir: Path, stack: AsyncExitStack) -> tuple[str, bool]:
    give_up_at = trio.current_time() + SHARE_SECONDS
    while True:
        try:
            # Starting our own is tried first each time: the other process may end at any moment,
            # and its server with it.
            server = await stack.enter_async_context(open_embedded(data_dir))
        except FolderInUse:
            if trio.current_time() > give_up_at:
                raise
        else:
            return server.dsn, True
        dsn = await find_running_server(data_dir)
        if dsn is not None:
            get_logger("embedded").info("embedded_postgresql_shared", data_dir=str(data_dir))
            return dsn, False
        await trio.sleep(_POLL_SECONDS)
