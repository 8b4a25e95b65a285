"""Helpers of the embedded PostgreSQL's tests: servers, questions to them, and their processes."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import psutil
import structlog
import trio
from structlog.testing import LogCapture

from storage.embedded import EmbeddedPostgres
from storage.embedded.probe import ask
from tests.postgres import FAST_SETTINGS

PATIENCE_SECONDS: Final = 20.0


def processes_of(folder: Path) -> list[psutil.Process]:
    """Every living process that works in the folder or names it, whatever it is."""
    return [process for process in psutil.process_iter() if belongs_to(process, folder)]


def end_processes_of(folder: Path) -> list[psutil.Process]:
    left = processes_of(folder)
    for process in left:
        process.kill()
    psutil.wait_procs(left, PATIENCE_SECONDS)
    return left


def belongs_to(process: psutil.Process, folder: Path) -> bool:
    try:
        if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
            return False
        return process.cwd().startswith(str(folder)) or str(folder) in " ".join(process.cmdline())
    except psutil.Error:
        return False


def server_on(
    data_dir: Path,
    log: LogCapture | None = None,
    *,
    start_budget_seconds: float = PATIENCE_SECONDS,
    stop_budget_seconds: float = PATIENCE_SECONDS,
) -> EmbeddedPostgres:
    return EmbeddedPostgres(
        data_dir,
        log=structlog.wrap_logger(None, processors=[log or LogCapture()]),
        start_budget_seconds=start_budget_seconds,
        stop_budget_seconds=stop_budget_seconds,
        extra_settings=FAST_SETTINGS,
    )


@asynccontextmanager
async def running(server: EmbeddedPostgres) -> AsyncIterator[EmbeddedPostgres]:
    try:
        await server.start()
        yield server
    finally:
        await server.stop()


async def query(server: EmbeddedPostgres, sql: str) -> list[str | None]:
    return await ask(Path(str(server.statistics().socket)), sql, database="lastheard")


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o777


def events(log: LogCapture) -> list[str]:
    return [str(entry["event"]) for entry in log.entries]


async def until_logged(log: LogCapture, event: str) -> None:
    with trio.fail_after(PATIENCE_SECONDS):
        while event not in events(log):  # noqa: ASYNC110 a log has no event to wait for
            await trio.sleep(0.01)
