"""Storage in PostgreSQL and nothing else, with its in-memory twin for tests."""
