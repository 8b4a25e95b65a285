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
    actors share.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, YOUNG_SCANS_PER_MIDDLE, MIDDLE_SCANS_PER_FULL)


def freeze_more() -> None:
    """Exempt what was made since, at once and without a pause.

    Call it after making many objects that stay, such as the actors of a page of workspaces. A
    collection would look at all of them, for half a second with 10,000 workspaces, and find nothing
    to free. What is garbage already, but was not collected, is kept until `thaw`.
    """
    gc.freeze()


def thaw() -> None:
    """Collect everything, and exempt what is left. Pauses for as long as that takes.

    Call it after many frozen objects were given up: without it, those in reference cycles would
    stay for ever.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
