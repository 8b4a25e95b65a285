"""The trend of parity as a picture: one bar for each compared cycle, oldest to the left.

Owns the geometry. The scale ends at a few times the larger limit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HEIGHT: Final = 100.0
_LEAST_TOP: Final = 0.01
_HEADROOM: Final = 1.2
_MOST_LIMITS: Final = (
    3.0  # a higher mismatch is cut off, so that the limits stay far from the ground
)
_LEAST_BAR: Final = 3.0  # so that a cycle without mismatch is seen


class ParityBar(NamedTuple):
    """One cycle. `height` in units of HEIGHT; None: nothing could be compared."""

    cycle: Mapping[str, Any]
    height: float | None
    is_beyond: bool


class ParityPicture(NamedTuple):
    """The bars, and where the two limits are, from the top."""

    bars: Sequence[ParityBar]
    gate_y: float
    guardrail_y: float
    top_share: float


def draw_parity(
    newest_first: Sequence[Mapping[str, Any]], gate_share: float, guardrail_share: float
) -> ParityPicture:
    """Return the picture of the comparisons, with the limits of gate and guardrail as lines."""
    limit = max(gate_share, guardrail_share, _LEAST_TOP)
    most = max((one["mismatch_share"] or 0.0 for one in newest_first), default=0.0)
    top = max(limit * _HEADROOM, min(most, limit * _MOST_LIMITS, 1.0))
    bars = [_bar(one, top, gate_share) for one in reversed(newest_first)]
    return ParityPicture(bars, _y(gate_share, top), _y(guardrail_share, top), top)


def _bar(cycle: Mapping[str, Any], top: float, gate_share: float) -> ParityBar:
    share = cycle["mismatch_share"]
    if share is None:
        return ParityBar(cycle, None, is_beyond=False)
    height = min(HEIGHT, max(_LEAST_BAR, HEIGHT * share / top))
    return ParityBar(cycle, round(height, 2), share > gate_share)


def _y(share: float, top: float) -> float:
    return round(HEIGHT * (1 - share / top), 2)
