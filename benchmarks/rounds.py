"""Who goes first in which round, and what several rounds say together. Pure."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

Side = TypeVar("Side")


def in_turn(number: int, first: Side, second: Side) -> tuple[Side, Side]:
    """The order of both sides in round `number`, from 0: A B, B A, A B, … What drifts in a run hits
    both alike.
    """
    return (first, second) if number % 2 == 0 else (second, first)


class Cost(NamedTuple):
    """Of one run: items a second, and microseconds of a core for each item, of our process and of
    PostgreSQL.
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
    """Of pairs from the same round; a ratio of medians would mix rounds that ran at different
    times.
    """
    each = [above / below for above, below in zip(numerators, denominators, strict=True)]
    return Spread(median(each), min(each), max(each))
