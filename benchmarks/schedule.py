"""The figures of the schedule: the most regular starts in a second, and the distance to the bound.

    python -m benchmarks.schedule

Arithmetic only: no server and no clock, so the figures are the same on every machine.
docs/decisions/0017 quotes them. It fails when a fleet exceeds the bound that
`domain.schedule.starts_bound` promises for it.
"""

from __future__ import annotations

import sys
from hashlib import blake2b
from math import ceil, floor

from domain import schedule

HOUR_SECONDS = 3600
CELL_SECONDS = 0.01  # starts are counted in cells, rounded outwards: the answer is never too low
LARGEST_SERIES = 10_000
MOST_IN_A_SECOND = 100


def main() -> int:
    print("regular starts in the worst second")
    print(f"10,000 workspaces at 300 s: {_worst(10_000)}, bound {_bound({300: 10_000}):.1f}")
    print(f"the same with hashed phases: {_worst_of_hashes(10_000)}")
    mixed = {300: 700, 60: 300}
    print(f"700 at 300 s and 300 at 60 s: {_worst_together(mixed)}, bound {_bound(mixed):.1f}")
    dividing = [
        interval for interval in range(60, HOUR_SECONDS + 1) if HOUR_SECONDS % interval == 0
    ]
    excess = _search_hour(dividing)
    print(f"worst fleet of the {len(dividing)} intervals that divide an hour: bound {excess:+.2f}")
    single = max(map(_excess_of_one, range(2, HOUR_SECONDS + 1, 5)))
    print(
        f"worst single series: 1.3 x workspaces / interval {single:+.2f}, times three "
        f"{3 * single:.2f} <= 5"
    )
    return 0 if excess <= 0 and 3 * single <= 5 else 1


def _worst(workspaces: int) -> int:
    return schedule.worst_second(range(workspaces), 300)


def _worst_together(counts: dict[int, int]) -> int:
    return schedule.worst_second_of_all(
        {interval: range(count) for interval, count in counts.items()}
    )


def _bound(counts: dict[int, int]) -> float:
    return schedule.starts_bound({interval: count - 1 for interval, count in counts.items()})


def _worst_of_hashes(workspaces: int) -> int:
    """Return the worst second when each phase is a hash of the workspace instead."""
    digests = (blake2b(b"%d" % number, digest_size=8).digest() for number in range(workspaces))
    phases = sorted(int.from_bytes(digest, "big") / 2**64 * 300 for digest in digests)
    around = phases + [phase + 300 for phase in phases]
    window, worst, end = 1 + schedule.jitter_seconds(300), 0, 0
    for at, phase in enumerate(phases):
        while end < len(around) and around[end] < phase + window:
            end += 1
        worst = max(worst, end - at)
    return worst


def _search_hour(intervals: list[int]) -> float:
    """Return how far the worst of all fleets is above the bound, whatever its size and intervals.

    For each cell of the hour, every series has the size with which its share of the excess is
    greatest. A series that would lower the excess is left out.
    """
    cells = round(HOUR_SECONDS / CELL_SECONDS)
    excess = [0.0] * cells
    for interval in intervals:
        of_one = [max(0.0, most - 1) for most in _excess_by_cell(interval)]
        for first in range(0, cells, len(of_one)):
            for cell, above in enumerate(of_one, first):
                excess[cell] += above
    return max(excess) - 2


def _excess_of_one(interval: int) -> float:
    """Return the most starts above 1.3 x workspaces / interval in any second, over all sizes.

    Phases are multiples of one ratio. So a window that begins at workspace k contains the ordinals
    whose distance from k, forwards or backwards, has its multiple within the window. `ahead[a]` is
    the distance forwards within which a + 1 of them are found, k itself among them; `behind[b]` is
    the same backwards.
    """
    span = interval - 2 * schedule.margin_seconds(interval)
    window = (1 + schedule.jitter_seconds(interval)) / span
    shares = [distance * schedule.GOLDEN_RATIO % 1 for distance in range(LARGEST_SERIES)]
    ahead = [distance for distance, share in enumerate(shares) if share < window]
    behind = [0] + [
        distance for distance, share in enumerate(shares) if distance and 1 - share < window
    ]
    return max(
        a + 1 + b - 1.3 * (forwards + backwards + 1) / interval
        for a, forwards in enumerate(ahead[:MOST_IN_A_SECOND])
        for b, backwards in enumerate(behind[:MOST_IN_A_SECOND])
        if forwards + backwards < LARGEST_SERIES
    )


def _excess_by_cell(interval: int) -> list[float]:
    """Return, for each cell, the most starts above 1.3 x workspaces / interval that a second which
    begins there can hold, over all sizes of the series.
    """
    cells = round(interval / CELL_SECONDS)
    counts, most = [0] * cells, [0.0] * cells
    for ordinal in range(min(LARGEST_SERIES, 20 * interval)):
        phase, share = schedule.phase_of(ordinal, interval), 1.3 * (ordinal + 1) / interval
        first = floor((phase - 1) / CELL_SECONDS)
        last = ceil((phase + schedule.jitter_seconds(interval)) / CELL_SECONDS)
        for cell in range(first, min(last, first + cells)):
            at = cell % cells
            counts[at] += 1
            most[at] = max(most[at], counts[at] - share)
    return most


if __name__ == "__main__":
    sys.exit(main())
