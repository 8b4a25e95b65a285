"""Data folders for the embedded PostgreSQL: empty ones and ones with a cluster.

A process left in one is a failure.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from structlog.testing import LogCapture

from storage.embedded import open_embedded
from tests.postgres import FAST_SETTINGS, public_folder
from tests.storage.embedded.cast import end_processes_of


@pytest.fixture(scope="package")
def made_home() -> Iterator[Path]:
    """A home with a cluster in it, made once for all tests that are not about making one."""
    with public_folder("lastheard-made-") as folder:

        async def make() -> None:
            async with open_embedded(folder, extra_settings=FAST_SETTINGS):
                pass

        trio.run(make)
        yield folder / "postgres"


@pytest.fixture
def empty_dir() -> Iterator[Path]:
    """A data folder without anything. Fails the test that leaves a process behind."""
    with public_folder("lastheard-embedded-") as folder:
        yield folder
        assert end_processes_of(folder) == []


@pytest.fixture
def data_dir(empty_dir: Path, made_home: Path) -> Iterator[Path]:
    """A data folder with a cluster in it.

    The one cluster moves from test to test: a copy costs a second.
    """
    home = empty_dir / "postgres"
    made_home.rename(home)
    yield empty_dir
    left = end_processes_of(empty_dir)
    home.rename(made_home)
    assert left == []


@pytest.fixture
def log() -> LogCapture:
    return LogCapture()
