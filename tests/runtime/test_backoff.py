"""Backoff: full jitter under a doubling ceiling, with Retry-After as a floor."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.backoff import Backoff
from runtime.faults import EnvironmentFault


class Highest(Random):
    """A source of chance that always draws the upper end."""

    def uniform(self, a: float, b: float) -> float:
        return b


def test_the_ceiling_doubles_up_to_the_cap() -> None:
    backoff = Backoff(Highest(), 1.0, 5.0)
    assert [backoff.next_delay() for _ in range(5)] == [1.0, 2.0, 4.0, 5.0, 5.0]
    assert backoff.attempts == 5


def test_a_reset_begins_at_the_base_again() -> None:
    backoff = Backoff(Highest(), 1.0, 5.0)
    backoff.next_delay()
    backoff.next_delay()
    backoff.reset()
    assert (backoff.attempts, backoff.next_delay()) == (0, 1.0)


@given(seed=st.integers(), retry_after=st.none() | st.floats(-10, 1e6), attempts=st.integers(1, 50))
def test_a_delay_lies_between_the_floor_and_floor_plus_cap(
    seed: int, retry_after: float | None, attempts: int
) -> None:
    backoff = Backoff(Random(seed), 0.5, 30.0)
    floor = max(0.0, retry_after or 0.0)
    for _ in range(attempts):
        assert floor <= backoff.next_delay(retry_after) <= floor + 30.0


def test_clients_with_one_retry_after_do_not_return_together() -> None:
    delays = {Backoff(Random(seed), 1.0, 30.0).next_delay(60.0) for seed in range(50)}
    assert len(delays) == 50


def test_thousands_of_attempts_stay_at_the_cap() -> None:
    backoff = Backoff(Highest(), 1.0, 5.0)
    assert [backoff.next_delay() for _ in range(3000)][-1] == 5.0


@pytest.mark.parametrize(("base", "cap"), [(0.0, 1.0), (2.0, 1.0), (-1.0, 1.0)])
def test_senseless_bounds_are_refused(base: float, cap: float) -> None:
    with pytest.raises(ValueError, match="base_seconds"):
        Backoff(Random(0), base, cap)


def test_a_fault_carries_what_a_caller_needs_to_wait() -> None:
    class WrongPassword(EnvironmentFault):
        permanent = True

    plain, busy, wrong = (
        EnvironmentFault("away"),
        EnvironmentFault("busy", retry_after=9.0),
        WrongPassword("no"),
    )
    assert [(str(each), each.permanent, each.retry_after) for each in (plain, busy, wrong)] == [
        ("away", False, None),
        ("busy", False, 9.0),
        ("no", True, None),
    ]
    assert not WrongPassword("for now", permanent=False).permanent
