"""The order of the sides in each round, and the ratios of several rounds. Pure."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

Side = TypeVar("Side")


def in_turn(number: int, first: Side, second: Side) -> tuple[Side, Side]:
    """Return the order of both sides in round `number`, from 0: A B, B A, A B, …

    So a drift during the run hits both alike.
    """
    return (first, second) if number % 2 == 0 else (second, first)


class Cost(NamedTuple):
    """The cost of one run: items a second, and core microseconds for each item.

    `own_us` are those of our process, `database_us` those of PostgreSQL.
    """

    rate: float
    own_us: float
    database_us: float

    @property
    def cores_us(self) -> float:
        return self.own_us + self.database_us


class Round(NamedTuple):
    """Both sides of one round."""

    ours: Cost
    reference: Cost


class Spread(NamedTuple):
    """Ratios of several rounds."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.3f} ({self.low:.3f} to {self.high:.3f})"


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> Spread:
    """Return the ratios of pairs from the same round.

    A ratio of medians would mix rounds that ran at different times.
    """
    each = [above / below for above, below in zip(numerators, denominators, strict=True)]
    return Spread(median(each), min(each), max(each))
