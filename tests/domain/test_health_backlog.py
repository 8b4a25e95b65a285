"""What waits with us: in the mailbox, or in the stream that brought it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from domain.health import judge_health
from domain.health_reason import HealthReason
from tests.domain.fixtures import NOW, collector, silent_for, unasked

if TYPE_CHECKING:
    from domain.health_facts import HealthFacts

R = HealthReason
UNASKED = unasked(silent_for(minutes=22))


def reason(known: HealthFacts) -> HealthReason:
    return judge_health(known, NOW).reason


def test_a_short_wait_in_the_mailbox_is_no_backlog() -> None:
    assert reason(collector(UNASKED, oldest_waiting_seconds=30.0)) is R.NO_ANSWER_YET
    assert reason(collector(UNASKED, oldest_waiting_seconds=30.1)) is R.INGEST_BACKLOG


@pytest.mark.parametrize(
    ("provider_id", "seconds", "expected"),
    [
        (UNASKED.connection.provider_id, 30.0, R.NO_ANSWER_YET),
        (UNASKED.connection.provider_id, 30.1, R.INGEST_BACKLOG),
        ("another", 300.0, R.NO_ANSWER_YET),
    ],
)
def test_what_waits_in_its_own_stream_is_a_backlog(
    provider_id: str, seconds: float, expected: HealthReason
) -> None:
    known = collector(UNASKED, stream_waiting_seconds={provider_id: seconds})
    assert reason(known) is expected
