"""API keys, on the twin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ports.keys import FoundAccess

if TYPE_CHECKING:
    from ports.keys import KeyRecord
    from storage.memory.engine import Engine


class MemoryKeys:
    """ports.keys.Keys."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def find_key(self, key_id: str) -> KeyRecord | None:
        await self._engine.arrive()
        return self._engine.tables.keys.get((key_id,))

    async def find_access(self, key_id: str, workspace_id: str | None) -> FoundAccess:
        await self._engine.arrive()
        tables = self._engine.tables
        workspace = None if workspace_id is None else tables.workspaces.get((workspace_id,))
        return FoundAccess(tables.keys.get((key_id,)), workspace)

    async def create_key(self, record: KeyRecord) -> None:
        """Store the key. It replaces a stored key with the same key_id."""
        async with self._engine.writing() as tables:
            tables.keys.put((record.key_id,), record)
