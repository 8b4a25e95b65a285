"""Values a second that are committed: over `POST /ingest` and over streams, against Zabbix.

Each side gets the same PostgreSQL server in turn, with the same settings. An update of five signals
is five values. The requests are those of B6, with 500 updates each. Each vehicle of the streams
sends one signal after the other. A window ends between its fifth and its sixth value, so that an
update has five and hardly any is superseded. The streams are offered a share of what Zabbix took in
the same round, and less until nearly all values are kept. Only values that are stored count. Before
a run counts, it is verified: every stored event against a model, every value of Zabbix as a row.
"""

from __future__ import annotations

from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Final, NamedTuple

from benchmarks import fleet_streams, http_ingest, unit_cost
from benchmarks.feed import LABELS
from benchmarks.figure import Figure
from benchmarks.fleet_streams import Shape
from benchmarks.progress import Progress
from benchmarks.rounds import Cost, ratios
from benchmarks.trees import inspect, present_folder
from benchmarks.verification import NotVerified
from benchmarks.zabbix_peer import open_zabbix

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from benchmarks.fleet_streams import Taken
    from benchmarks.place import Place
    from benchmarks.service import Template
    from benchmarks.updates import Task

    Side = Callable[[], Awaitable[Cost]]  # its rate is in values

MUST_INGEST: Final = 0.65
MUST_STREAM: Final = 0.4
ROUNDS: Final = 3
BATCH: Final = 500
SHAPE: Final = Shape(streams=8, vehicles=1_250)
# A window begins with its first value, and is looked at in tenths: it ends after 4.3 to 4.8 turns.
WINDOW_TURNS: Final = len(LABELS) - 0.7
OFFERED: Final = 0.7  # at most and at first, of what Zabbix took
STEP: Final = 0.85  # of an offer that was too much is the next one
LEAST_OFFERED: Final = 0.1
KEPT: Final = 0.95  # of the values must be stored, or the offer was too much


class Amounts(NamedTuple):
    """The work of one run: Zabbix's values, and the windows of sending over streams."""

    values: int
    windows: int


FULL: Final = Amounts(values=400_000, windows=25)
QUICK: Final = Amounts(values=200_000, windows=8)


async def measure(place: Place, quick: bool) -> list[Figure]:
    """Measure all three sides, ROUNDS times in turn. Raises NotVerified and CannotBeMeasured."""
    amounts, task = QUICK if quick else FULL, unit_cost.new_task(quick)
    async with open_zabbix(place) as zabbix:
        tree = await inspect("the present tree", present_folder())
        requests = (await unit_cost.Sides.prepare(place)).template
        template = await fleet_streams.prepare_streams(tree, place, SHAPE)
        streams = FittingOffer(partial(_take_streams, template, place, amounts.windows))
        peer: list[Cost] = []
        sides: dict[str, Side] = {
            "ingest": partial(_over_requests, requests, place, task),
            "stream": lambda: streams.measure(peer[-1].rate),
        }
        found: dict[str, list[Cost]] = {name: [] for name in sides}
        progress = Progress()
        for number in range(ROUNDS):
            peer.append(await zabbix.measure(amounts.values))
            progress.tell(f"round {number + 1}, zabbix: {peer[-1].rate:,.0f} values a second")
            for name in list(sides)[:: 1 if number % 2 == 0 else -1]:
                cost = await sides[name]()
                found[name].append(cost)
                progress.tell(f"round {number + 1}, {name}: {cost.rate:,.0f} values a second")
    return [
        _judge("B10", found["ingest"], peer, MUST_INGEST, {}),
        _judge(
            "B10 stream",
            found["stream"],
            peer,
            MUST_STREAM,
            {"offered, by Zabbix's": median(streams.fitting)},
        ),
    ]


async def _over_requests(template: Template, place: Place, task: Task) -> Cost:
    cost = await http_ingest.measure_requests(template, place, task, BATCH, size=unit_cost.SIZE)
    values = values_per_update(task)
    return Cost(cost.rate * values, cost.own_us / values, cost.database_us / values)


class FittingOffer:
    """Finds a rate at which streams keep nearly all values.

    A round begins a step above the share of Zabbix's rate at which the last one ended.
    """

    def __init__(self, take: Callable[[float], Awaitable[Taken]]) -> None:
        """`take` runs the streams at so many values a second."""
        self._take = take
        self._share = OFFERED
        self.fitting: list[float] = []  # the share of each round

    async def measure(self, peer_rate: float) -> Cost:
        """Offer less until it fits; return the cost of a stored value. Raises NotVerified."""
        while self._share >= LEAST_OFFERED:
            taken = await self._take(self._share * peer_rate)
            frames = taken.cost.rate / taken.values  # for each value that was stored
            if frames <= 1 / KEPT:
                self.fitting.append(self._share)
                self._share = min(OFFERED, self._share / STEP)
                return Cost(
                    taken.values, taken.cost.own_us * frames, taken.cost.database_us * frames
                )
            self._share *= STEP
        raise NotVerified(
            f"streams: more than {1 - KEPT:.0%} of the values are superseded even at "
            f"{LEAST_OFFERED:.0%} of the rate of Zabbix"
        )


async def _take_streams(template: Template, place: Place, windows: int, offered: float) -> Taken:
    """Offer so many values a second, with a window of WINDOW_TURNS values of a vehicle."""
    turn_seconds = SHAPE.streams * SHAPE.vehicles / offered
    return await fleet_streams.measure_ours(
        template,
        place,
        SHAPE,
        windows * len(LABELS) * turn_seconds,
        offered,
        WINDOW_TURNS * turn_seconds,
    )


def values_per_update(task: Task) -> float:
    """Return the share of values that are committed: what is no news is judged and not stored."""
    events = (event for history in task.expected.events.values() for event in history)
    return sum(len(event.readings) for event in events) / task.load.updates


def _judge(
    name: str,
    ours: Sequence[Cost],
    peer: Sequence[Cost],
    must: float,
    more: Mapping[str, float],
) -> Figure:
    rates = ratios([cost.rate for cost in ours], [cost.rate for cost in peer])
    seen = {
        **more,
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
