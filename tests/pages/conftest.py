"""The pages over PostgreSQL, with the cast of tests/api/harness.py."""

from __future__ import annotations

from tests.api.conftest import frozen, harness, populated

__all__ = ["frozen", "harness", "populated"]
