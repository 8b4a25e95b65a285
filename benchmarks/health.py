"""Health's 95th percentile at the client: one workspace of 500 devices, under some ingest load
(NFR-005).

The reference is a bare quart-trio route in a process of its own that answers the same document.
One client asks both in turn, while updates arrive over HTTP all the time. Every answer of health is
verified: each device once, in the state that it must be in.
"""

from __future__ import annotations

import time
from statistics import quantiles
from typing import TYPE_CHECKING, NamedTuple

import httpx
import orjson
import trio

from benchmarks.ingest_bodies import make_batch
from benchmarks.load import device_of
from benchmarks.names import HEALTH
from benchmarks.rounds import in_turn
from benchmarks.service import PREFIX, open_service
from benchmarks.verification import check_health, require
from benchmarks.workers import open_worker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.place import Place
    from benchmarks.service import Service, Template
    from benchmarks.trees import Tree

DEVICES = 500
SILENT = 50  # devices that never report; their grace is an hour
BATCH = 50  # updates
BATCH_SECONDS = 0.25
WARM_UP = 5  # requests before the first that counts
PATH = f"{PREFIX}/workspaces/{HEALTH}/health?limit={DEVICES}"
STATES = {
    device_of(number): "awaiting-first-data" if number < SILENT else "healthy"
    for number in range(DEVICES)
}


class HealthRound(NamedTuple):
    """The p95 of both in milliseconds, from one block of requests each.

    The reference's is 0 when it was not asked.
    """

    ours: float
    reference: float


async def measure(
    template: Template, place: Place, rounds: int, requests: int, *, reference: bool = True
) -> list[HealthRound]:
    """Measure `rounds` blocks of `requests` requests, the sides in turn. Raises NotVerified."""
    dsn = await place.new_database(template.database)
    async with (
        open_service(template.tree, dsn, template.key) as service,
        trio.open_nursery() as nursery,
    ):
        await report_all(service)
        nursery.start_soon(_keep_ingesting, service)
        await _ask(service.client, PATH, WARM_UP, verify=True)
        if reference:
            found = await _measure_both(template.tree, service, rounds, requests)
        else:
            found = [
                HealthRound(p95(await _ask(service.client, PATH, requests, verify=True)), 0.0)
                for _ in range(rounds)
            ]
        nursery.cancel_scope.cancel()
    await place.drop_database(dsn)
    return found


async def report_all(service: Service) -> None:
    """Let every device report that is not one of the silent ones."""
    for start in range(SILENT, DEVICES, BATCH):
        await service.post(
            "/ingest", make_batch(HEALTH, map(device_of, range(start, start + BATCH)))
        )


async def _measure_both(
    tree: Tree, service: Service, rounds: int, requests: int
) -> list[HealthRound]:
    document = (await service.client.get(PATH)).content
    command = tree.command("benchmarks.bare_route")
    async with open_worker("health's reference", command, tree.environment()) as worker:
        await worker.tell(document.decode())
        port = (await worker.hear("port"))["port"]
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", trust_env=False
        ) as client:
            await _ask(client, "/", WARM_UP, verify=False)
            found = []
            for number in range(rounds):
                taken = {}
                for side in in_turn(number, "ours", "reference"):
                    asked = (service.client, PATH) if side == "ours" else (client, "/")
                    taken[side] = p95(await _ask(*asked, requests, verify=side == "ours"))
                found.append(HealthRound(taken["ours"], taken["reference"]))
    return found


async def _ask(client: httpx.AsyncClient, path: str, requests: int, *, verify: bool) -> list[float]:
    """Return the milliseconds of each request, to the last byte. Raises NotVerified."""
    taken = []
    for _ in range(requests):
        began = time.perf_counter()
        answer = await client.get(path)
        taken.append(1000 * (time.perf_counter() - began))
        answer.raise_for_status()
        if verify:
            require(check_health(orjson.loads(answer.content), STATES))
    return taken


async def _keep_ingesting(service: Service) -> None:
    """Let the devices report in turn, BATCH of them every BATCH_SECONDS, until cancelled."""
    start = SILENT
    while True:
        await service.post(
            "/ingest", make_batch(HEALTH, map(device_of, range(start, start + BATCH)))
        )
        start = SILENT + (start + BATCH - SILENT) % (DEVICES - SILENT)
        await trio.sleep(BATCH_SECONDS)


def p95(taken: Sequence[float]) -> float:
    return quantiles(taken, n=20, method="inclusive")[-1]
