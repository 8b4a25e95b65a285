"""The counters of one HTTP server. The server, the frame and the gate count; `/runtime` shows them.

It owns numbers only and must never decide anything: a limit stands in the module that enforces it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runtime.logs import suppressed_lines

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpStatistics:
    """Counts of one listener since the start of the process; those named so are present values."""

    connections_open: int  # now
    connections_refused: int  # at the limit of all connections, when none may be closed
    connections_refused_of_address: int  # at the limit of one address
    connections_evicted: int  # closed to make room for a new one
    accept_failures: int
    contained_failures: int  # connections that ended with an exception
    write_timeouts: int  # clients that stopped reading
    requests: int
    in_flight: int  # now
    peak_in_flight: int
    streams_open: int  # now: live pages, whose answers have no end
    shed: int  # refused because too many were in flight, in all or of one share
    rate_limited: int  # answered 429
    wrong_keys: int  # answered 401 or 429 without a place in flight
    refused: Mapping[str, int]  # shed and rate-limited, by limit
    deadlines_passed: int
    responses: Mapping[str, int]  # by class: "2xx", "5xx"
    log_lines_suppressed: int  # of the whole process


@dataclass(slots=True)
class HttpTraffic:
    """The running counters of one listener. HttpStatistics explains each."""

    connections_open: int = 0
    connections_refused: int = 0
    connections_refused_of_address: int = 0
    connections_evicted: int = 0
    accept_failures: int = 0
    contained_failures: int = 0
    write_timeouts: int = 0
    requests: int = 0
    in_flight: int = 0
    peak_in_flight: int = 0
    streams_open: int = 0
    shed: int = 0
    rate_limited: int = 0
    wrong_keys: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    deadlines_passed: int = 0
    responses: Counter[str] = field(default_factory=Counter)

    def start_stream(self) -> None:
        self.requests += 1
        self.streams_open += 1

    def end_stream(self) -> None:
        self.streams_open -= 1

    def start_request(self) -> None:
        self.requests += 1
        self.in_flight += 1
        self.peak_in_flight = max(self.peak_in_flight, self.in_flight)

    def end_request(self) -> None:
        self.in_flight -= 1

    def count_response(self, status: int) -> None:
        self.responses[f"{status // 100}xx"] += 1

    def statistics(self) -> HttpStatistics:
        counts = {name: getattr(self, name) for name in self.__slots__}
        counts |= {"refused": dict(self.refused), "responses": dict(self.responses)}
        return HttpStatistics(**counts, log_lines_suppressed=suppressed_lines())
