"""Clients without a key cannot close the API, fill its log, or keep a probe from its answer."""

from __future__ import annotations

import json
import sys
from collections import Counter
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

import httpx
import pytest
import trio

from tests.processes.child import LASTHEARD, open_child
from tests.processes.fleets import make_key
from tests.processes.nuisances import nuisances
from tests.processes.shard import PREFIX, open_shard
from tests.processes.strangers import connect

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from tests.conftest import Stores

pytestmark = [pytest.mark.processes, pytest.mark.postgres]

ATTACK_SECONDS: Final = 10.0
BEGINS_SECONDS: Final = 1.0  # until all strangers have connected
ANSWER_SECONDS: Final = 5.0
CLIENTS: Final = 4
NUISANCE_TIMES: Final = 40


async def count_answers(
    ask: Callable[[], Awaitable[int]], seconds: float, pause_seconds: float
) -> Counter[str]:
    """Ask again and again. Counts each status, or the exception in its place."""
    answers: Counter[str] = Counter()
    until = trio.current_time() + seconds
    while trio.current_time() < until:
        try:
            answers[str(await ask())] += 1
        except httpx.HTTPError as error:
            answers[type(error).__name__] += 1
        await trio.sleep(pause_seconds)
    return answers


async def ask_anew(url: str, key: str | None = None) -> int:
    """Ask on a new connection."""
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(
        timeout=ANSWER_SECONDS, trust_env=False, headers=headers
    ) as client:
        return (await client.get(url)).status_code


async def test_good_keys_and_probes_are_answered_while_strangers_flood(
    dsn: str, postgres_stores: Stores
) -> None:
    key = await make_key(postgres_stores)
    good: Counter[str] = Counter()
    probes: Counter[str] = Counter()
    async with open_shard(dsn, key) as shard:
        started = await shard.child.wait_for_record("service_started")
        url = f"http://127.0.0.1:{shard.port}{PREFIX}/workspaces"
        probe_urls = [
            f"http://127.0.0.1:{started.get('probe_port', shard.port)}{path}"
            for path in ("/healthz", "/readyz")
        ]
        arguments = (
            sys.executable,
            "-m",
            "tests.processes.strangers",
            str(shard.port),
            str(ATTACK_SECONDS),
        )
        async with open_child(*arguments) as strangers, trio.open_nursery() as nursery:

            async def count_good(*, anew: bool) -> None:
                async def ask() -> int:
                    return await ask_anew(url, key) if anew else (await shard.get(url)).status_code

                good.update(await count_answers(ask, ATTACK_SECONDS - 2 * BEGINS_SECONDS, 0.02))

            async def count_probes(probe_url: str) -> None:
                probes.update(
                    await count_answers(
                        lambda: ask_anew(probe_url), ATTACK_SECONDS - 2 * BEGINS_SECONDS, 0.2
                    )
                )

            await trio.sleep(BEGINS_SECONDS)
            for number in range(CLIENTS):
                nursery.start_soon(lambda anew: count_good(anew=anew), number % 2 == 0)
            for probe_url in probe_urls:
                nursery.start_soon(count_probes, probe_url)
            await strangers.wait_ended(ATTACK_SECONDS + ANSWER_SECONDS)
            did = json.loads(strangers.out)
        traffic = (await shard.runtime())["http"]

    print(f"strangers {did}\ngood {dict(good)}\nprobes {dict(probes)}\ntraffic {traffic}")
    assert did["half_open"] >= 1100, did
    assert good["200"] >= 0.95 * good.total(), (good, did)
    assert good["200"] >= 5  # also on a busy machine
    assert probes == {"200": probes.total()}, (probes, did)
    assert probes.total() >= 5
    assert shard.child.events("http_connection_failed") == []
    assert len(shard.child.errors) < 20_000


async def test_strangers_write_at_most_one_line_of_a_kind(
    dsn: str, postgres_stores: Stores
) -> None:
    key = await make_key(postgres_stores)
    # With so long a TTL, a busy machine does not cause log lines about the session.
    async with open_shard(dsn, key, ttl_seconds="120") as shard:
        await shard.wait_ready()
        quiet = len(shard.child.records)
        began = trio.current_time()
        await run_all(nuisances(shard.port, NUISANCE_TIMES), at_once=100)
        took = trio.current_time() - began
        traffic = (await shard.runtime())["http"]
        lines = Counter(record["event"] for record in shard.child.records[quiet:])
        said = "".join(json.dumps(record) for record in shard.child.records[quiet:])

    minutes = 1 + int(took // 60)
    assert {event: count for event, count in lines.items() if count > minutes} == {}
    assert len(said) < 20_000 * minutes
    # The nuisances still caused failures, and the limit on log lines was at work.
    failures, told = traffic["contained_failures"], lines["http_connection_failed"]
    assert failures > minutes
    assert traffic["log_lines_suppressed"] >= failures - told
    assert told >= 1
    assert lines["http_application_failed"] >= 1


async def run_all(calls: Iterable[Callable[[], Awaitable[None]]], *, at_once: int) -> None:
    free = trio.CapacityLimiter(at_once)

    async def call_one(call: Callable[[], Awaitable[None]]) -> None:
        async with free:
            await call()

    async with trio.open_nursery() as nursery:
        for call in calls:
            nursery.start_soon(call_one, call)


async def test_good_keys_and_probes_are_answered_without_descriptors(
    dsn: str, postgres_stores: Stores
) -> None:
    key = await make_key(postgres_stores)
    few = ("sh", "-c", 'ulimit -n 90; exec "$@"', "sh", *LASTHEARD)
    async with open_shard(dsn, key, command=few) as shard, AsyncExitStack() as strangers:
        started = await shard.child.wait_for_record("service_started")
        await shard.wait_ready()
        for number in range(150):
            stream = await connect(f"127.0.0.{3 + number % 2}", shard.port)
            await strangers.enter_async_context(stream)
            await stream.send_all(b"GET / HTTP/1.1\r\n")
        for path in ("/healthz", "/readyz"):
            assert await ask_anew(f"http://127.0.0.1:{started['probe_port']}{path}") == 200
        assert await ask_anew(f"http://127.0.0.1:{shard.port}{PREFIX}/workspaces", key) == 200
        traffic = (await shard.runtime())["http"]
    assert traffic["accept_failures"] > 0
    assert traffic["connections_evicted"] > 0
    assert len(shard.child.events("http_accept_failed")) == 1
    (short,) = shard.child.events("descriptors_short")
    assert (short["limit"], "LASTHEARD_HTTP_MAX_CONNECTIONS" in short["remedy"]) == (90, True)
