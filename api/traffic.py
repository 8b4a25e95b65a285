"""The counters of one HTTP server. The server, the frame and the gate count; `/runtime` shows them.

It owns numbers only and must never decide anything: a limit stands in the module that enforces it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from runtime.logs import suppressed_lines


@dataclass(slots=True)
class HttpTraffic:
    """Counts since the start of the process; those named open or in flight are present values."""

    connections_open: int = 0
    connections_refused: int = 0  # at the limit of all connections, when none may be closed
    connections_refused_of_address: int = 0  # at the limit of one address
    connections_evicted: int = 0  # closed to make room for a new one
    accept_failures: int = 0
    contained_failures: int = 0  # connections that ended with an exception
    write_timeouts: int = 0  # clients that stopped reading
    requests: int = 0
    in_flight: int = 0
    peak_in_flight: int = 0
    shed: int = 0  # refused because too many were in flight, in all or of one share
    rate_limited: int = 0  # answered 429
    wrong_keys: int = 0  # answered 401 or 429 without a place in flight
    refused: Counter[str] = field(default_factory=Counter)  # shed and rate-limited, by limit
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
        """Return plain values. `log_lines_suppressed` counts those of the whole process."""
        return {
            **asdict(self),
            "log_lines_suppressed": suppressed_lines(),
            "refused": dict(self.refused),
            "responses": dict(self.responses),
        }
