"""What one HTTP server has seen: counters that the listener and the frame raise and `/runtime` and `/metrics` show.

It owns numbers only. It must never decide anything: limits live with whoever enforces them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from runtime.logs import suppressed_lines


@dataclass(slots=True)
class HttpTraffic:
    """Counts since the start of the process, except those that say open or in flight."""

    connections_open: int = 0
    connections_refused: int = 0  # at the limit of all connections, with none that could be closed instead
    connections_refused_of_address: int = 0  # at the limit of one address
    connections_evicted: int = 0  # closed in favour of a new one
    accept_failures: int = 0
    contained_failures: int = 0  # connections that ended with an exception of the server's own code
    write_timeouts: int = 0  # clients that stopped reading
    requests: int = 0
    in_flight: int = 0
    peak_in_flight: int = 0
    shed: int = 0  # refused because too many were in flight, in all or of one share
    rate_limited: int = 0  # answered 429
    wrong_keys: int = 0  # answered 401 or 429 without a place in flight
    refused: Counter[str] = field(default_factory=Counter)  # shed and rate-limited requests by which limit
    deadlines_passed: int = 0
    responses: Counter[str] = field(default_factory=Counter)  # by class: "2xx", "5xx"

    def start_request(self) -> None:
        self.requests += 1
        self.in_flight += 1
        self.peak_in_flight = max(self.peak_in_flight, self.in_flight)

    def end_request(self) -> None:
        self.in_flight -= 1

    def count_response(self, status: int) -> None:
        self.responses[f"{status // 100}xx"] += 1

    def statistics(self) -> dict[str, Any]:
        """Plain values; the suppressed log lines are those of the whole process."""
        return {
            **asdict(self),
            "log_lines_suppressed": suppressed_lines(),
            "refused": dict(self.refused),
            "responses": dict(self.responses),
        }
