"""The systematic part of `make fuzz-api`: keep each constraint of the description, and break it.

It has no time limit: on a busy machine a limit would leave operations out without a message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.processes.described_api import ask_all_that_is_described

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Stores

pytestmark = [pytest.mark.processes, pytest.mark.postgres, pytest.mark.timeout(400)]


async def test_answers_are_as_the_description_says(
    dsn: str, postgres_stores: Stores, tmp_path: Path
) -> None:
    await ask_all_that_is_described(
        dsn, postgres_stores, tmp_path, seconds=None, seed="1", phases="coverage"
    )
