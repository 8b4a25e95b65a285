"""Schemathesis over the served OpenAPI document, at length: `make fuzz-api`, not `make test`.

FUZZ_SECONDS bounds the run (120); FUZZ_SEED repeats one. It ends by itself, and fails on a finding.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.processes.described_api import ask_all_that_is_described

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Stores

pytestmark = [pytest.mark.processes, pytest.mark.postgres, pytest.mark.timeout(900)]

SECONDS = float(os.environ.get("FUZZ_SECONDS", "120"))
SEED = os.environ.get("FUZZ_SEED", "1")


async def test_no_answer_is_undocumented(dsn: str, postgres_stores: Stores, tmp_path: Path) -> None:
    await ask_all_that_is_described(
        dsn,
        postgres_stores,
        tmp_path,
        seconds=SECONDS,
        seed=SEED,
        phases="examples,coverage,fuzzing,stateful",
    )
