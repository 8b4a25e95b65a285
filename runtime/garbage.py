"""Settings of the garbage collector for a long-lived process that works in batches.

This module owns the collector's thresholds. It must never switch the collector off: exceptions with
tracebacks make cycles, which only the collector frees.
"""

from __future__ import annotations

import gc

# A unit of a thousand updates makes tens of thousands of short-lived containers. With Python's
# default of 700, the young generation is scanned dozens of times for each unit, and nothing is
# found that reference counting has not freed already.
YOUNG_OBJECTS = 50_000
YOUNG_SCANS_PER_MIDDLE = 20
MIDDLE_SCANS_PER_FULL = 50


def freeze_and_tune() -> None:
    """Exempt all present objects from collection, and set the thresholds.

    Call it once when the service is set up. The exempt objects are the code and everything that the
    actors share. Actors are made later, so full collections, which are rare, still look at them.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, YOUNG_SCANS_PER_MIDDLE, MIDDLE_SCANS_PER_FULL)
