"""The turns of lists that ask the legacy systems of many workspaces.

A legacy system that hangs holds its turn until the deadline of a load. A few such systems would
hold all turns of several readers, and no list would come to the systems that answer at once. So a
system that kept a list waiting in vain is *late*:

- lists name it without asking it again for ASK_AGAIN_SECONDS, unless its configuration changes,
- after that it is asked after all others, and in a lane of its own,
- of several late systems, the one that was asked first is asked again first.

It is late until it answers a list, or fails at once. Readers of one workspace ask in any case.

Lists that ask for one workspace at the same time hold one turn together, as they share one load.
Otherwise a few readers could not be served while some systems need a second or two.
"""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

import trio

from ports.legacy import LegacyUnreachable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterator

    from ports.legacy import LegacyConfiguration

# Of the eight loads that a shard makes at once (ports.legacy). The others are left to the readers
# of one workspace.
MAX_LIST_LOADS: Final = 4
MAX_LATE_LOADS: Final = 1  # of those
MAX_PROMPT_LOADS: Final = MAX_LIST_LOADS - MAX_LATE_LOADS
LATE_AFTER_SECONDS: Final = 1.0
ASK_AGAIN_SECONDS: Final = 15.0


class _Late(NamedTuple):
    """When a list was kept waiting, and what it said of it."""

    at: float  # by trio's clock
    configuration: LegacyConfiguration
    text: str


@dataclass(slots=True, eq=False)
class _Turn:
    """The turn of one workspace, and the lists that wait for it or hold it."""

    lane: trio.CapacityLimiter
    lists: int = 0
    is_held: bool = False
    # One of the lists waits in the lane, and the others for that one. If it gives up, another one
    # goes on.
    gate: trio.Lock = field(default_factory=trio.Lock)


@asynccontextmanager
async def _in_order(gate: trio.Lock) -> AsyncIterator[None]:
    """Hold the lock; one that is free is taken at once.

    `acquire` would let other tasks run in between, in any order. The workers of a list would then
    come to the lane in another order than that of its names.
    """
    if gate.locked():
        await gate.acquire()
    else:
        gate.acquire_nowait()
    try:
        yield
    finally:
        gate.release()


class LegacyTurns:
    """The turns of all lists of a process, and the late systems by workspace."""

    def __init__(self) -> None:
        self._prompt_lane = trio.CapacityLimiter(MAX_PROMPT_LOADS)
        self._late_lane = trio.CapacityLimiter(MAX_LATE_LOADS)
        self._turns: dict[str, _Turn] = {}
        self._late: dict[str, _Late] = {}  # the one that was asked first comes first

    def sort(self, names: Collection[str]) -> list[str]:
        """Return the workspaces in the order in which a list asks for them."""
        due = [name for name in self._late if name in names and self._is_due(name)]
        return [*sorted(set(names).difference(due)), *due]

    @asynccontextmanager
    async def turn(self, name: str) -> AsyncIterator[None]:
        """Hold the turn of this workspace. The wait for it has no deadline here."""
        turn = self._turns.get(name)
        if turn is None:
            lane = self._late_lane if self._is_due(name) else self._prompt_lane
            turn = self._turns[name] = _Turn(lane)
        turn.lists += 1
        try:
            async with _in_order(turn.gate):
                if not turn.is_held:
                    await turn.lane.acquire_on_behalf_of(turn)
                    turn.is_held = True
            yield
        finally:
            turn.lists -= 1
            if not turn.lists:
                del self._turns[name]
                if turn.is_held:
                    turn.lane.release_on_behalf_of(turn)

    @contextmanager
    def asking(self, name: str, configuration: LegacyConfiguration) -> Iterator[None]:
        """Note how the block, which asks the system, ends.

        Raises LegacyUnreachable at once if the system is late and not due.
        """
        late = self._late.get(name)
        if late is not None and late.configuration == configuration and not self._is_due(name):
            raise LegacyUnreachable(late.text)
        began_at = trio.current_time()
        try:
            yield
        except LegacyUnreachable as fault:
            self._late.pop(name, None)
            now = trio.current_time()
            if now - began_at >= LATE_AFTER_SECONDS:
                self._late[name] = _Late(now, configuration, str(fault))
            raise
        else:
            self._late.pop(name, None)

    def _is_due(self, name: str) -> bool:
        """Say whether the workspace's system is late, and is to be asked again."""
        late = self._late.get(name)
        return late is not None and trio.current_time() - late.at >= ASK_AGAIN_SECONDS
