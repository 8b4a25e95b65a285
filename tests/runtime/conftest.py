"""Fixtures of the machinery's tests: captured log events, seeds, and a supervisor."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from runtime.supervisor import Supervisor
from tests.runtime.parked_senders import Parked

if TYPE_CHECKING:
    from collections.abc import Iterator, MutableMapping
    from typing import Any

    import trio

    from tests.runtime.parked_senders import Park


@pytest.fixture
def events() -> Iterator[list[MutableMapping[str, Any]]]:
    """Every structlog event of the test, unrendered."""
    with capture_logs() as captured:
        yield captured


@pytest.fixture
def random() -> Random:
    return Random(7)


@pytest.fixture
def park(nursery: trio.Nursery) -> Park:
    """Makes the line of waiting senders of a mailbox."""
    return lambda mailbox: Parked(mailbox, nursery)


@pytest.fixture
def supervisor(random: Random) -> Supervisor:
    return Supervisor("test", random=random)
