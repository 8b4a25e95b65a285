"""The in-memory twin of storage/: the same answers over Python dicts, for tests only (FR-013).

Owns nothing that outlives a test. It must never be imported by lastheard/, and it must never hold a
rule of its own: ingest runs the same unit generator as PostgreSQL, health asks domain.health.
"""
