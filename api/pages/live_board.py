"""The board: the newest rows, counts and news of everything that an open live page watches.

One task of a shard asks the database every 5 s, whatever the number of pages: for the devices that
were written since, for the counts of all, and for the marks of workspaces. It judges every watched
device anew, because time passes, too. Each page then takes what has changed since it last took
something (live_difference.py). So a slow page costs no memory: what it misses is merged.

Owns what is watched, the ticks, and when the database is asked. A tick begins when the one before
has ended, and rests for a multiple of its work. So the cost is bounded: under a larger load pages
are told less often. While no page is open, nothing is asked. The board must never decide a state.
"""

from __future__ import annotations

import secrets
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import trio

from api.pages.live_news import CountNews, MarkNews
from api.pages.live_reading import LiveReader
from api.pages.live_rows import FULL, LEGACY, WorkspaceRows
from domain.health import Judge
from runtime.faults import EnvironmentFault
from runtime.flag import Flag
from runtime.logs import EdgeLog, get_logger

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from api.pages.live_reading import BoardReading
    from api.pages.live_watch import Watch
    from ports.live import LiveReads

EVERY_SECONDS: Final = 5.0
# After judging a tick rests for so many times as long: it takes 6% of a core at most.
REST: Final = 15.0
SOON_SECONDS: Final = 0.5  # pages that are opened together share a reading
LINGER_SECONDS: Final = 30.0  # rows are kept for a page that is reloaded, or comes back
MAX_DEVICES: Final = 20_000
DEVICES_AT_ONCE: Final = 200  # judged before other tasks run: about 3 ms


@dataclass(frozen=True, slots=True)
class LiveStatistics:
    """The live pages of one shard."""

    pages: int  # now
    watched_workspaces: int  # now: those whose rows are kept
    devices: int  # now
    ticks: int
    read_anew: int  # workspaces whose counts differed from the database's
    tick_core_seconds: float  # of judging, in the newest tick
    opened: int
    resumed: int  # of these: they came back and were told only what they had missed
    started_anew: int  # of these: they came back too late for that
    signed_out: int
    is_failing: bool  # the database does not answer


class LiveBoard:
    """What live pages show. `open` for a page; `run` as a task; `tick` is one round of it."""

    def __init__(self, reads: LiveReads, *, every_seconds: float = EVERY_SECONDS) -> None:
        self.name = secrets.token_hex(4)
        self.tick_number = 0
        self.evaluated_at: datetime | None = None  # of the newest tick
        self.spaces: dict[str, WorkspaceRows] = {}
        self.counts = CountNews()
        self.marks = MarkNews(reads)
        self.is_ending = False
        self.told: Counter[str] = Counter()  # for the statistics
        self._every_seconds = every_seconds
        self._reads = reads
        self._reader = LiveReader(reads)
        self._watches: Counter[Watch] = Counter()
        self._watched_until: dict[str, float] = {}
        self._news = Flag()
        self._wanted = Flag()
        self._edge = EdgeLog(get_logger("live_pages"), "live_pages")
        self._work_seconds = 0.0

    # --- Pages

    @contextmanager
    def open(self, watch: Watch) -> Iterator[None]:
        """Watch for a page until the end of the block. Never blocks."""
        self._watches[watch] += 1
        self.told["opened"] += 1
        if self._lacks(watch):
            self._wanted.set()
        try:
            yield
        finally:
            self._watches[watch] -= 1
            if not self._watches[watch]:
                del self._watches[watch]

    async def wait_for_news(self, seen: int) -> None:
        """Return when there is a tick after `seen`, or the board ends.

        The caller's cancel scope is the deadline.
        """
        while self.tick_number <= seen and not self.is_ending:
            await self._news.wait()

    def has(self, watch: Watch) -> bool:
        """Return whether the board has read everything that the page watches."""
        return self.tick_number > 0 and not self._lacks(watch)

    def end(self) -> None:
        """Let every page end its stream now. Never blocks."""
        self.is_ending = True
        self._news.set()

    @property
    def is_failing(self) -> bool:
        """Return whether the newest reading failed: then pages are behind."""
        return self._edge.is_failing

    # --- The task

    async def run(self) -> None:
        """Tick while pages are open. Ends only by cancellation."""
        while True:
            if not (self._watches or self._watched_until):
                self.counts, self.marks = CountNews(), MarkNews(self._reads)
                await self._wanted.wait()
            self._wanted.clear()
            began = trio.current_time()
            await self.try_tick()
            rest = max(
                self._every_seconds - (trio.current_time() - began), REST * self._work_seconds
            )
            await trio.sleep(SOON_SECONDS)
            with trio.move_on_after(max(rest - SOON_SECONDS, 0.0)):
                await self._wanted.wait()

    async def try_tick(self) -> None:
        """Tick, or note that the database is away."""
        try:
            await self.tick()
        except EnvironmentFault as fault:
            self._edge.failed(fault)
            self._news.wake()
        else:
            self._edge.recovered()

    async def tick(self) -> None:
        """Read what is new, judge all devices at one instant, and wake the pages.

        Raises an EnvironmentFault while the database is away; then nothing has changed, or what
        has is told after the next tick.
        """
        tick = self.tick_number + 1
        counted, marked = self._settle_what_is_watched()
        known = {name: space for name, space in self.spaces.items() if space.is_read}
        reading = await self._reader.read_written(known, counted)
        self._leave_to_legacy(reading, tick)
        fresh = [name for name, space in self.spaces.items() if space.is_to_be_read]
        await self._read_all(fresh, counted, reading, tick)
        at = reading.evaluated_at
        self._work_seconds = await self._judge(self.spaces.values(), Judge(at), tick)
        wrong = [name for name, space in known.items() if self._differs(space, reading)]
        if wrong:
            self.told["read_anew"] += len(wrong)
            await self._read_all(wrong, counted, reading, tick)
            # A judge of its own, because it keeps what devices share in one read.
            await self._judge([self.spaces[name] for name in wrong], Judge(at), tick)
        self.counts.take(reading.counts, tick)
        await self.marks.read(marked, tick)
        self.evaluated_at, self.tick_number = reading.evaluated_at, tick
        self._news.wake()

    def statistics(self) -> LiveStatistics:
        told = self.told
        return LiveStatistics(
            pages=self._watches.total(),
            watched_workspaces=len(self.spaces),
            devices=self._devices(),
            ticks=self.tick_number,
            read_anew=told["read_anew"],
            tick_core_seconds=self._work_seconds,
            opened=told["opened"],
            resumed=told["resumed"],
            started_anew=told["started_anew"],
            signed_out=told["signed_out"],
            is_failing=self._edge.is_failing,
        )

    # --- What is watched

    def _lacks(self, watch: Watch) -> bool:
        """Return whether something that the page watches was not read yet."""
        return (
            any(self._lacks_rows(name) for name in watch.rows)
            or not self.counts.covers(watch.counts)
            or not self.marks.covers(watch.topics_of)
        )

    def _lacks_rows(self, name: str) -> bool:
        space = self.spaces.get(name)
        return space is None or not (space.is_read or space.why_not_live)

    def _settle_what_is_watched(self) -> tuple[frozenset[str] | None, frozenset[str]]:
        """Add and drop workspaces; return those to count (None: all), and those to mark."""
        now = trio.current_time()
        for watch in self._watches:
            self._watched_until |= dict.fromkeys(watch.rows, now + LINGER_SECONDS)
        self._watched_until = {
            name: until for name, until in self._watched_until.items() if until > now
        }
        for name in self._watched_until.keys() - self.spaces.keys():
            self.spaces[name] = WorkspaceRows(name)
        for name in self.spaces.keys() - self._watched_until.keys():
            del self.spaces[name]
        wanted = self.counts.watch(watch.counts for watch in self._watches)
        marked = frozenset[str]().union(*(watch.topics_of for watch in self._watches))
        return None if wanted is None else wanted | self.spaces.keys(), marked

    def _leave_to_legacy(self, reading: BoardReading, tick: int) -> None:
        for name, space in self.spaces.items():
            if name in reading.left_to_legacy:
                space.stop_being_live(LEGACY, tick)

    # --- Reading and judging

    async def _read_all(
        self, names: Iterable[str], counted: frozenset[str] | None, reading: BoardReading, tick: int
    ) -> None:
        wanted = [name for name in names if name not in reading.left_to_legacy]
        if not wanted:
            return
        found = await self._reader.read_all(wanted, counted, reading.evaluated_at)
        for name in wanted:
            space = self.spaces[name]
            if self._devices() - len(space.facts) + len(found[name]) > MAX_DEVICES:
                space.stop_being_live(FULL, tick)
            else:
                space.replace_all(found[name], tick)

    async def _judge(self, spaces: Iterable[WorkspaceRows], judge: Judge, tick: int) -> float:
        """Judge the devices of these; return the core seconds of it. Other tasks run meanwhile."""
        worked, waiting = 0.0, 0
        for space in spaces:
            began = time.thread_time()
            for _ in space.judge(judge, tick, at_once=DEVICES_AT_ONCE):
                worked += time.thread_time() - began
                await trio.lowlevel.checkpoint()
                began = time.thread_time()
            worked += time.thread_time() - began
            waiting += len(space.facts)
            if waiting > DEVICES_AT_ONCE:
                waiting = 0
                await trio.lowlevel.checkpoint()
        return worked

    def _differs(self, space: WorkspaceRows, reading: BoardReading) -> bool:
        """Return whether the rows give other counts than the database."""
        if not space.is_read:
            return False
        counted = reading.counts.get(space.workspace_id, {})
        return space.count() != {state: n for state, n in counted.items() if n}

    def _devices(self) -> int:
        return sum(len(space.facts) for space in self.spaces.values())
