"""What the writers of one ingest actor know together: whether commits fail, and what was committed.

Owns the numbers of units, which are unique within a session, and the edge of a trouble, which is
logged once however many writers meet it. It must never call a trouble over while a batch that met
it is still in hand.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from runtime.logs import EdgeLog, get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from domain.model import SessionRef
    from runtime.faults import EnvironmentFault


class CommitRecord:
    """The counts and the trouble of all writers."""

    def __init__(self, waiting_size: Callable[[], int]) -> None:
        """`waiting_size` tells how much waits, for the log line when commits begin to fail."""
        self._waiting_size = waiting_size
        self._edge = EdgeLog(get_logger("ingest"), "ingest_commit")
        # Writers whose batch in hand has met a failure; None: a look, or a unit of counts, has.
        self._failing: set[int | None] = set()
        self._numbered_session: SessionRef | None = None
        self._last_number = 0
        self.units = 0  # committed
        self.largest_unit = 0  # in updates
        # When a unit writes refusals that are only counted, on trio's clock; infinite: none wait. A
        # minute after the last unit, all of them are due.
        self.counts_due_at = math.inf

    @property
    def is_failing(self) -> bool:
        """True from a failed attempt or look until the next good one of the same batch."""
        return self._edge.is_failing

    def number_unit(self, session: SessionRef) -> int:
        """Return the number of a writer's next unit. Each session counts its units from 1."""
        if session != self._numbered_session:
            self._numbered_session, self._last_number = session, 0
        self._last_number += 1
        return self._last_number

    def note_unit(self, size: int) -> None:
        self.units += 1
        self.largest_unit = max(self.largest_unit, size)

    def note_failure(self, fault: EnvironmentFault, writer: int | None = None) -> None:
        """Log the failure if it is the first of a trouble. `writer`: whose batch has met it."""
        self._failing.add(writer)
        self._edge.failed(fault, waiting=self._waiting_size())

    def note_success(self, writer: int | None = None) -> None:
        """Note that the writer's batch is committed or out of its hand, or that a look succeeded.

        Logs the end of a trouble if nobody is left who met it.
        """
        self._failing -= {writer, None}
        if not self._failing:
            self._edge.recovered()
