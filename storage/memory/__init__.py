"""The in-memory twin of storage/: the same answers over Python dicts, for tests only (FR-013).

`MemoryStore` is the entry point. The twin is as large as what the actors need: units, leases,
sessions, cycles, upkeep, and commands that fill it with fleets. Registry and reads of the API are
tested on PostgreSQL alone.

The twin runs the same ingest unit, uses the same rules (domain.registry) and passes the same
contract suite as PostgreSQL (tests/storage/contract). lastheard/ must never import it, and it must
never hold a rule of its own: where it and PostgreSQL differ, the twin is wrong.
"""

from storage.memory.store import MemoryStore

__all__ = ["MemoryStore"]
