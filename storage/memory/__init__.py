"""The in-memory twin of storage/: the same answers over Python dicts, for tests only (FR-013).

`MemoryStore` is the entry point. The twin runs the same ingest unit, uses the same rules
(domain.health, domain.registry) and passes the same contract suite as PostgreSQL
(tests/storage/contract). lastheard/ must never import it, and it must never hold a rule of its own:
where it and PostgreSQL differ, the twin is wrong.
"""

from storage.memory.store import MemoryStore

__all__ = ["MemoryStore"]
