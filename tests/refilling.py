"""Databases that go back to what they were filled with, many times and quickly.

Copying a database costs many times what this does. Only rows go back: a test that changes tables or
makes partitions needs a copy of its own (the fixture `dsn`).
"""

from __future__ import annotations

from tests.conftest import execute, fetch

_TABLES = """
    SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace
    AND relkind IN ('r', 'p') AND NOT relispartition
"""
# Ends all other work on the database, and waits for the end. It may have survived its test.
END_OTHERS = """
    SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE pid <> pg_backend_pid()
    AND datname = current_database() AND backend_type = 'client backend';
"""
_REFILL = "DELETE FROM {0}; INSERT INTO {0} OVERRIDING SYSTEM VALUE SELECT * FROM kept.{0};"


def keep_rows(dsn: str) -> str:
    """Keep a copy of every table, and return the SQL that fills the tables from the copies.

    That SQL is for one round trip, which is one transaction. It runs as a replica would, so that
    the order of the tables is free.
    """
    tables = [row[0] for row in fetch(dsn, _TABLES)]
    copies = [f"CREATE TABLE kept.{table} AS TABLE public.{table}" for table in tables]
    execute(dsn, "CREATE SCHEMA kept", *copies)
    return "SET LOCAL session_replication_role = replica;" + "".join(map(_REFILL.format, tables))
