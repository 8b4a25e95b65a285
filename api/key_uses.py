"""When keys were last used: noted at each request in memory, written together once a minute.

Owns the notes between two writes. A note never waits, and a request never writes. A process that is
killed loses the notes of its last minute.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from runtime.faults import EnvironmentFault
from runtime.logs import EdgeLog, get_logger

if TYPE_CHECKING:
    from datetime import datetime

    from ports.keys import Keys

WRITE_EVERY_SECONDS: Final = 60.0
MAX_NOTED: Final = 10_000  # keys; uses of further ones are not noted until the next write


class KeyUses:
    """The newest use of each key since the last write. Only keys that were right are noted."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._used_at: dict[str, datetime] = {}
        self._edge = EdgeLog(get_logger("key_uses"), "key_uses_write")

    def note(self, key_id: str, at: datetime) -> None:
        if len(self._used_at) < MAX_NOTED or key_id in self._used_at:
            self._used_at[key_id] = at

    async def run(self) -> None:
        """Write once a minute, for ever. Ends only by cancellation."""
        while True:
            await trio.sleep(WRITE_EVERY_SECONDS)
            await self.write()

    async def write(self) -> None:
        """Write what was noted. While the database is away, the notes are kept for the next time.

        The store bounds the wait.
        """
        noted, self._used_at = self._used_at, {}
        if not noted:
            return
        written = False
        try:
            await self._keys.note_uses(noted)
            written = True
        except EnvironmentFault as fault:
            self._edge.failed(fault)
        else:
            self._edge.recovered()
        finally:
            if not written:
                self._used_at = {**noted, **self._used_at}
