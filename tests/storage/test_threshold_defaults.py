"""The thresholds that the schema gives a workspace are the ones that the code gives it."""

from __future__ import annotations

from dataclasses import asdict

from domain.model import Policy
from tests.conftest import fetch

DEFAULTS = """
SELECT column_name AS name, column_default::float8 AS value FROM information_schema.columns
WHERE table_name = 'workspaces' AND data_type = 'double precision'
"""


def test_the_schema_and_the_code_have_the_same_thresholds(dsn: str) -> None:
    stored = {row["name"]: row["value"] for row in fetch(dsn, DEFAULTS)}
    assert stored == asdict(Policy())
