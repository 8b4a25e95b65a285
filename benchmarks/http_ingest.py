"""Updates a second over `POST /ingest`, a whole process and eight clients.

The reference is the product's own rate from mailbox to commit (B2): the same load of the same
workspaces, in the same run.

Before a run counts, it is verified: every answer, the ingest actor's counts, and every stored row
against an independent model.
"""

from __future__ import annotations

from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks import cores, unit_cost
from benchmarks.figure import Figure
from benchmarks.names import UPDATES
from benchmarks.place import read_stored
from benchmarks.rounds import Cost, ratios
from benchmarks.service import open_service
from benchmarks.verification import check_counts, check_stored, require
from benchmarks.workers import open_worker

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from benchmarks.place import Place
    from benchmarks.service import Template
    from benchmarks.updates import Task

MUST = 0.6
CLIENTS = 8
BATCHES = (500, 100)
QUICK_ROUNDS, FULL_ROUNDS = 2, 5


async def measure(place: Place, quick: bool) -> list[Figure]:
    """Measure both sizes of requests and the way below them, in turn. Raises NotVerified."""
    below, task = await unit_cost.Sides.prepare(place), unit_cost.new_task(quick)
    requests = partial(measure_requests, below.template, place, task, size=unit_cost.SIZE)
    sides: dict[str, Callable[[], Awaitable[Cost]]] = {
        "below": partial(below.run_ours, task),
        **{f"{batch}": partial(requests, batch) for batch in BATCHES},
    }
    found: dict[str, list[Cost]] = {name: [] for name in sides}
    for number in range(QUICK_ROUNDS if quick else FULL_ROUNDS):
        for name in list(sides)[:: 1 if number % 2 == 0 else -1]:
            found[name].append(await sides[name]())
    return [_judge(batch, found[f"{batch}"], found["below"]) for batch in BATCHES]


def _judge(batch: int, ours: Sequence[Cost], below: Sequence[Cost]) -> Figure:
    rates = ratios([cost.rate for cost in ours], [cost.rate for cost in below])
    seen = {
        "updates a second": median(cost.rate for cost in ours),
        "updates a second from mailbox to commit": median(cost.rate for cost in below),
        "core µs an update": median(cost.own_us for cost in ours),
        "PostgreSQL's core µs an update": median(cost.database_us for cost in ours),
        "core µs an update from mailbox to commit": median(cost.own_us for cost in below),
    }
    return Figure(f"B6 requests of {batch} updates", rates.median, MUST, seen=seen)


async def measure_requests(
    template: Template,
    place: Place,
    task: Task,
    batch: int,
    *,
    size: int = 0,
    clients: int = CLIENTS,
) -> Cost:
    """Send the load in requests of `batch` updates to a new process, and verify it.

    `size` devices are one workspace each; with 0, all are in one. Raises NotVerified.
    """
    dsn = await place.new_database(template.database)
    load, tree = task.load, template.tree
    async with open_service(tree, dsn, template.key) as service:
        port = service.client.base_url.port
        numbers = (*load, batch, clients, size)
        command = tree.command("benchmarks.http_clients", port, template.key, *numbers)
        async with open_worker("the clients", command, tree.environment()) as worker:
            await worker.hear("ready")
            await place.checkpoint()
            before = cores.of_process(service.pid), place.core_seconds()
            await worker.tell("go")
            told = await worker.hear("seconds")
            own = cores.of_process(service.pid) - before[0]
            database = place.core_seconds() - before[1]
        counts = (await service.runtime())["ingest"]
        require(
            [
                *check_stored(await read_stored(dsn, UPDATES), task.expected),
                *check_counts(counts, task.expected, load.updates),
                *_check_answers(told["outcomes"], task),
            ]
        )
    await place.drop_database(dsn)
    per_update = 1e6 / load.updates
    return Cost(load.updates / told["seconds"], own * per_update, database * per_update)


def _check_answers(outcomes: dict[str, Any], task: Task) -> list[str]:
    if outcomes == task.expected.outcomes:
        return []
    return [f"identities: the answers say {outcomes}; the load has {task.expected.outcomes}"]
