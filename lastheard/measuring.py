"""The figures that need a memory: histograms, and counts that outlive what was counted.

Owns their names, buckets and labels, and the bound of labels that come from outside. The parts that
report them know none of it (runtime/measures.py). Everything else is read from the statistics when
it is asked for (lastheard/families.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client import Counter, Histogram, disable_created_metrics

from actors.unit_committer import FAILURE_KINDS
from domain.cycles import CycleOutcome, CycleTrigger
from runtime.measures import Measures

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from prometheus_client import CollectorRegistry

    from runtime.measures import Observe

MAX_HOSTS: Final = 100  # of providers; more are counted together, as OTHER
OTHER: Final = "other"
_ANSWERS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_UNITS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_UPDATES: Final = (1, 5, 10, 50, 100, 250, 500, 750, 1000)
_CYCLES: Final = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
_LATENESS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0)
_CALLS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_WAITS: Final = (0.0001, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0)
_LAGS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
_ENDED: Final = [outcome for outcome in CycleOutcome if outcome is not CycleOutcome.RUNNING]
# A second series for each count, with the time of its making, would say what the process's start
# says already.
disable_created_metrics()  # type: ignore[no-untyped-call]


def make_measures(registry: CollectorRegistry, pools: Iterable[str]) -> Measures:
    """Return where the parts of the process report to; the figures are in `registry`.

    Series whose labels are known in advance are there from the start, at 0: a rate needs the value
    before the first event.
    """
    make = _Maker(registry)
    hosts = BoundedNames(MAX_HOSTS)
    return Measures(
        request_seconds=make.histogram(
            "http_request_duration_seconds",
            "Requests to the API, until the answer begins",
            _ANSWERS,
            ("route", "method"),
        ),
        requests=make.counter(
            "http_requests",
            "Requests to the API, by route, method and class of the answer's status",
            ("route", "method", "status"),
        ),
        unit_seconds=make.histogram(
            "unit_duration_seconds", "Attempts to commit a unit that succeeded", _UNITS
        ),
        unit_updates=make.histogram("unit_updates", "Updates in a committed unit", _UPDATES),
        unit_failures=make.counter(
            "unit_failures",
            "Attempts to commit a unit that failed, by kind",
            ("kind",),
            [(kind,) for kind in FAILURE_KINDS],
        ),
        cycles=make.counter(
            "cycles",
            "Poll cycles that ended, by outcome; missed ones are those that nobody started",
            ("outcome",),
            [(outcome,) for outcome in _ENDED],
        ),
        cycle_seconds=make.histogram(
            "cycle_duration_seconds", "Poll cycles, from the start to the outcome", _CYCLES
        ),
        cycle_lateness_seconds=make.histogram(
            "cycle_lateness_seconds",
            "Starts of poll cycles, from the beginning of the slot, by trigger",
            _LATENESS,
            ("trigger",),
            [(CycleTrigger.SCHEDULE,), (CycleTrigger.LATE,)],
        ),
        call_seconds=_by_host(
            make.histogram(
                "provider_call_duration_seconds",
                "HTTP calls to providers, without the wait for their turn",
                _CALLS,
                ("host",),
            ),
            hosts,
        ),
        calls=_by_host(
            make.counter(
                "provider_calls",
                "HTTP calls to providers that ended, by host and outcome: ok, or the fault's class",
                ("host", "outcome"),
            ),
            hosts,
        ),
        connection_wait_seconds=make.histogram(
            "database_connection_wait_seconds",
            "Waits for a database connection, by pool",
            _WAITS,
            ("pool",),
            [(pool,) for pool in pools],
        ),
        loop_lag_seconds=make.histogram(
            "event_loop_lag_seconds", "How late the event loop woke a sleeping task", _LAGS
        ),
    )


class BoundedNames:
    """Label values from outside: the first `limit` keep their names, the others are OTHER."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._known: set[str] = set()

    def bounded(self, name: str) -> str:
        if name in self._known:
            return name
        if len(self._known) >= self._limit:
            return OTHER
        self._known.add(name)
        return name


def _by_host(observe: Observe, hosts: BoundedNames) -> Observe:
    """Return the same with its first label bounded."""
    return lambda value, /, *labels: observe(value, hosts.bounded(labels[0]), *labels[1:])


class _Maker:
    """Makes figures in one registry, and returns for each the function that reports to it."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def histogram(
        self,
        name: str,
        text: str,
        buckets: Sequence[float],
        labels: Sequence[str] = (),
        known: Iterable[Sequence[str]] = (),
    ) -> Observe:
        figure = Histogram(
            f"lastheard_{name}", f"{text}.", labels, buckets=buckets, registry=self._registry
        )
        for values in known:
            figure.labels(*values)
        if not labels:
            return lambda value, /, *_: figure.observe(value)
        return lambda value, /, *values: figure.labels(*values).observe(value)

    def counter(
        self, name: str, text: str, labels: Sequence[str], known: Iterable[Sequence[str]] = ()
    ) -> Observe:
        figure = Counter(f"lastheard_{name}", f"{text}.", labels, registry=self._registry)
        for values in known:
            figure.labels(*values)
        return lambda value, /, *values: figure.labels(*values).inc(value)
