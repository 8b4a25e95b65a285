"""The parts of a shard that need no database: its readiness."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from domain.model import SessionRef, Submission
from lastheard.service import Service
from lastheard.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

SESSION = SessionRef("shard-1", 1)


@pytest.fixture
async def service() -> Service:
    """A service that has its session and was not started."""
    dsn = "postgresql://127.0.0.1/nowhere"
    service = Service(Settings(dsn=dsn, shard_id=SESSION.shard_id), dsn)
    service.current.replace(SESSION)
    return service


def _fill_a_lane(service: Service) -> None:
    while service.ingest.lanes_have_room:
        service.ingest.submit_nowait(Submission("poll", "trace"))


def _fence(service: Service) -> None:
    service.current.mark_fenced(SESSION)


def _nothing(_: Service) -> None: ...


@pytest.mark.parametrize(
    ("event", "failing"),
    [(_nothing, set()), (_fill_a_lane, {"lanes_have_room"}), (_fence, {"session_live"})],
)
async def test_readiness_names_the_failing_check(
    service: Service, event: Callable[[Service], None], failing: set[str]
) -> None:
    event(service)
    assert {name for name, passed in service.readiness().items() if not passed} == failing


async def test_readiness_builds_no_statistics(service: Service) -> None:
    """Statistics grow with what is owned, and anybody may call the probe."""
    assert _statistics_built_by(service.statistics) > 5
    assert _statistics_built_by(service.readiness) == 0


def _statistics_built_by(call: Callable[[], object]) -> int:
    built = 0

    def count(frame: FrameType, event: str, _: Any) -> None:
        nonlocal built
        built += event == "call" and frame.f_code.co_name == "statistics"

    sys.setprofile(count)
    try:
        call()
    finally:
        sys.setprofile(None)
    return built
