"""Values a second that are committed: over `POST /ingest` and over a stream, against Zabbix.

Each side gets the same PostgreSQL server in turn, with the same settings. An update of five signals
is five values. The stream's vehicles send five signals each, once, so none is superseded. Before a
run counts, it is verified: every stored event against a model, every value of Zabbix as a row.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Final, NamedTuple

from benchmarks import frames, http_ingest, updates
from benchmarks.feed import Feed, new_feed
from benchmarks.figure import Figure
from benchmarks.progress import Progress
from benchmarks.rounds import Cost, ratios
from benchmarks.service import Sizes, prepare
from benchmarks.trees import inspect, present_folder
from benchmarks.zabbix_peer import open_zabbix

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from benchmarks.place import Place
    from benchmarks.updates import Task

    Side = Callable[[], Awaitable[Cost]]  # its rate is in values

MUST_INGEST: Final = 0.65
MUST_STREAM: Final = 0.4
ROUNDS: Final = 3
BATCH: Final = 500
DEVICES: Final = 10_000  # of the requests
SIGNALS: Final = 5
# The stream's window only groups what is sent; a shorter one wastes less of a run of seconds.
WINDOW_SECONDS: Final = 0.5


class Amounts(NamedTuple):
    """The work of one run of each side."""

    updates: int
    vehicles: int
    values: int


FULL: Final = Amounts(updates=80_000, vehicles=20_000, values=400_000)
QUICK: Final = Amounts(updates=30_000, vehicles=5_000, values=200_000)


async def measure(place: Place, quick: bool) -> list[Figure]:
    """Measure all three sides, ROUNDS times in turn. Raises NotVerified and CannotBeMeasured."""
    amounts, progress = QUICK if quick else FULL, Progress()
    async with open_zabbix(place) as zabbix:
        tree = await inspect("the present tree", present_folder())
        template = await prepare(tree, place, Sizes(amounts.vehicles, DEVICES, 1))
        task = updates.new_task(amounts.updates, DEVICES)
        requests = partial(http_ingest.measure_requests, template, place, task, BATCH)
        sides: dict[str, Side] = {
            "zabbix": partial(zabbix.measure, amounts.values),
            "ingest": partial(_as_values, requests, values_per_update(task)),
            "stream": partial(
                frames.measure_ours, template, place, _new_stream(amounts), WINDOW_SECONDS
            ),
        }
        found: dict[str, list[Cost]] = {name: [] for name in sides}
        for number in range(ROUNDS):
            for name in list(sides)[:: 1 if number % 2 == 0 else -1]:
                cost = await sides[name]()
                found[name].append(cost)
                progress.tell(f"round {number + 1}, {name}: {cost.rate:,.0f} values a second")
    return [
        _judge("B10", found["ingest"], found["zabbix"], MUST_INGEST),
        _judge("B10 stream", found["stream"], found["zabbix"], MUST_STREAM),
    ]


def _new_stream(amounts: Amounts) -> Feed:
    feed = new_feed(amounts.vehicles, SIGNALS * amounts.vehicles, datetime.now(UTC))
    return feed._replace(burst=SIGNALS)


def values_per_update(task: Task) -> float:
    """Return the share of values that are committed: what is no news is judged and not stored."""
    events = (event for history in task.expected.events.values() for event in history)
    return sum(len(event.readings) for event in events) / task.load.updates


async def _as_values(measure: Side, per_update: float) -> Cost:
    cost = await measure()
    return Cost(cost.rate * per_update, cost.own_us / per_update, cost.database_us / per_update)


def _judge(name: str, ours: Sequence[Cost], peer: Sequence[Cost], must: float) -> Figure:
    rates = ratios([cost.rate for cost in ours], [cost.rate for cost in peer])
    seen = {
        "values a second": median(cost.rate for cost in ours),
        "Zabbix's values a second": median(cost.rate for cost in peer),
        "lowest ratio": rates.low,
        "highest ratio": rates.high,
        "core µs a value": median(cost.own_us for cost in ours),
        "PostgreSQL's core µs a value": median(cost.database_us for cost in ours),
        "Zabbix's core µs a value": median(cost.own_us for cost in peer),
        "PostgreSQL's core µs a value for Zabbix": median(cost.database_us for cost in peer),
    }
    return Figure(name, rates.median, must, seen=seen)
