"""The garbage collector, told what it cannot know: what lives as long as the process, and how much is made per batch.

Owns its thresholds. Must never switch it off: exceptions with tracebacks make cycles, and those have to go.
"""

from __future__ import annotations

import gc

# A unit of a thousand updates makes tens of thousands of short-lived containers. With Python's default of 700 the young
# generation is scanned dozens of times for each unit, and finds nothing that counting had not freed already.
YOUNG_OBJECTS = 50_000
YOUNG_SCANS_PER_MIDDLE = 20
MIDDLE_SCANS_PER_FULL = 50


def settle() -> None:
    """Call once when the service stands: no collection looks again at what has been made by then, which is the code
    and everything that the actors share. The actors come later; full collections look at them, which are rare.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, YOUNG_SCANS_PER_MIDDLE, MIDDLE_SCANS_PER_FULL)
