"""The in-memory twin of storage/: the same answers over Python dicts, for tests only (FR-013).

`MemoryStore` is the way in. The twin runs the same ingest unit, asks the same rules (domain.health, storage.commands)
and passes the same contract suite as PostgreSQL (tests/storage/contract). It must never be imported by lastheard/, and
must never hold a rule of its own: where it and PostgreSQL differ, the twin is wrong.
"""

from storage.memory.store import MemoryStore

__all__ = ["MemoryStore"]
