"""What the parts of a process measure, and how they report it.

A part reports a figure at the moment when the fact happens, by calling an `Observe`. It does not
know who keeps the figure: lastheard/metrics.py passes histograms and counters in. Figures that a
part keeps anyway are not reported here; they are read from its `statistics()`.

An `Observe` must not block and must not raise. It costs a microsecond or two, so it is called once
for a request, a unit, a cycle or a call, and never for a frame or an update.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol


class Observe(Protocol):
    """Takes one figure with the values of its labels, in the order that `Measures` gives."""

    def __call__(self, value: float, /, *labels: str) -> None: ...


def ignore(value: float, /, *labels: str) -> None:
    """Keep nothing of a figure: for tests and tools that measure nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """Where each figure goes. The comment names its unit and its labels, in order.

    A figure whose unit is "1" is a number of events: it is added up.
    """

    request_seconds: Observe = ignore  # until the answer begins; route, method
    requests: Observe = ignore  # 1; route, method, class of the status: "2xx"
    unit_seconds: Observe = ignore  # of the attempt that was committed
    unit_updates: Observe = ignore  # updates
    unit_failures: Observe = ignore  # 1; kind
    cycles: Observe = ignore  # 1; outcome
    cycle_seconds: Observe = ignore  # from its start to its outcome
    cycle_lateness_seconds: Observe = ignore  # from the slot's beginning to the start; trigger
    call_seconds: Observe = ignore  # of a provider; host
    calls: Observe = ignore  # 1; host, "ok" or the class of the fault
    connection_wait_seconds: Observe = ignore  # for a database connection; pool
    loop_lag_seconds: Observe = ignore  # how late a sleeping task was woken


UNMEASURED: Final = Measures()
