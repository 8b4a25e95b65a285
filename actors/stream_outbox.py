"""A stream's way to the mailbox: what is ready to be submitted, and waits while its lane is full.

Owns the order of a stream's submissions, and the bound on facts that wait. Never waits itself.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from domain.model import ConnectionFact, Submission
from runtime.mailbox import LaneFull, MailboxClosed

if TYPE_CHECKING:
    from datetime import datetime

    from actors.fleet import FleetView
    from actors.ingest import IngestActor
    from domain.model import ConnectionFactKind
    from ports.providers import ProviderFault
    from runtime.clock import SharedClock

MAX_UNSENT_EDGES = 20
MAX_FAULT_LENGTH = 500


class StreamOutbox:
    """Submissions of one stream, first in, first out.

    Overflow policy: at most one submission with data waits, because the caller adds the next one
    only when `send` has returned True; the rest coalesces in its buffer. Of edges of the connection
    the newest are kept.
    """

    def __init__(
        self, provider_id: str, view: FleetView, ingest: IngestActor, clock: SharedClock
    ) -> None:
        self._provider_id = provider_id
        self._view = view
        self._ingest = ingest
        self._clock = clock
        self._unsent: list[Submission] = []

    def __len__(self) -> int:
        """Return how many submissions wait."""
        return len(self._unsent)

    def send(self) -> bool:
        """Submit what waits; return whether all of it has gone. Does not block."""
        while self._unsent:
            try:
                self._ingest.submit_nowait(self._unsent[0])
            except (LaneFull, MailboxClosed):
                return False
            del self._unsent[0]
        return True

    def add(self, submission: Submission) -> None:
        """Add data. It goes with the next `send`."""
        self._unsent.append(submission)

    def add_fact(
        self,
        kind: ConnectionFactKind,
        fault: ProviderFault | None = None,
        begun_at: datetime | None = None,
    ) -> None:
        """Submit a fact of now about the connection, behind what waits. Does not block."""
        fact = ConnectionFact(
            self._view.workspace_id,
            self._provider_id,
            kind,
            self._clock.now(),
            None if fault is None else fault.fault,
            None if fault is None else str(fault)[:MAX_FAULT_LENGTH],
            begun_at,
        )
        self.add_facts((fact,))

    def add_facts(self, facts: tuple[ConnectionFact, ...]) -> None:
        """Submit facts, if there are any, behind what waits. Does not block."""
        if not facts:
            return
        self._forget_oldest_edge()
        self._unsent.append(
            Submission(
                origin="stream",
                trace_id=uuid.uuid4().hex,
                ownership=self._view.ownership,
                facts=facts,
            )
        )
        self.send()

    def _forget_oldest_edge(self) -> None:
        """Bound the edges that wait while the database is away: the newest are kept."""
        edges = [one for one in self._unsent if not (one.updates or one.invalid)]
        if len(edges) >= MAX_UNSENT_EDGES:
            self._unsent.remove(edges[0])
