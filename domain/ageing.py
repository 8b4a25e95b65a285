"""The age groups of devices that are away, by which accounts sort their worklist. Pure.

A device belongs to the group of its time away, which is the order of the worklist
(HealthFacts.away_since). One that was never heard has a group of its own, whatever its age.
"""

from __future__ import annotations

from enum import StrEnum
from itertools import pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

_DAY = 86_400.0


class AgeGroup(StrEnum):
    """For how long a device has been away; `never`: it has not reported since its activation."""

    UNDER_1_DAY = "under_1_day"
    DAYS_1_TO_3 = "days_1_to_3"
    DAYS_3_TO_7 = "days_3_to_7"
    DAYS_7_TO_30 = "days_7_to_30"
    OVER_30_DAYS = "over_30_days"
    NEVER = "never"


class AgeSpan(NamedTuple):
    """The devices of a group: heard or not, and away for at least and for less than so long.

    None means any.
    """

    is_heard: bool
    at_least_seconds: float | None = None
    less_than_seconds: float | None = None


_HEARD: Final = tuple(AgeGroup)[:-1]
_LIMITS: Final = (None, _DAY, 3 * _DAY, 7 * _DAY, 30 * _DAY, None)
SPANS: Final[Mapping[AgeGroup, AgeSpan]] = MappingProxyType(
    {
        **{
            group: AgeSpan(True, *span)
            for group, span in zip(_HEARD, pairwise(_LIMITS), strict=True)
        },
        AgeGroup.NEVER: AgeSpan(is_heard=False),
    }
)


def find_age_group(away_seconds: float, *, is_heard: bool) -> AgeGroup:
    """Return the group of a device that has been away for so long."""
    return next(
        group
        for group, span in SPANS.items()
        if span.is_heard is is_heard and is_in_span(away_seconds, span)
    )


def is_in_span(away_seconds: float, span: AgeSpan) -> bool:
    """Return whether the time away is within the span. SQL makes the same comparison."""
    least, most = span.at_least_seconds, span.less_than_seconds
    return (least is None or away_seconds >= least) and (most is None or away_seconds < most)
