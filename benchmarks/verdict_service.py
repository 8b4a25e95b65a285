"""The shards of the verdict run: started, paused, killed and asked over HTTP.

Owns their processes and the client of their API. It uses only commands, settings and the HTTP API.
"""

from __future__ import annotations

import sys
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from signal import SIGCONT, SIGKILL, SIGSTOP
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import orjson
import trio

from benchmarks.workers import Worker, WorkerFailed, open_worker, run_to_end

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType
    from typing import Self

    from lastheard.simulation import SimulatedFleet

PREFIX = "/api/telematics-mvp"
SCOPES = ("read", "ingest", "control", "admin")
START_SECONDS = 60.0
ANSWER_SECONDS = 20.0
LONG_BEFORE = timedelta(hours=3)  # older than the records that a moved unit still has
# -P keeps the working directory off the path: it is a folder of strangers.
COMMAND = (sys.executable, "-P", "-m", "lastheard")


class Shards:
    """The running shards by name. Every request goes to one that runs; `key` opens their API."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._key = ""
        self._stack: dict[str, AsyncExitStack] = {}
        self._workers: dict[str, Worker] = {}
        self._clients: dict[str, httpx.AsyncClient] = {}
        self._paused: set[str] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for name in list(self._stack):
            await self.end(name)

    async def prepare(self) -> None:
        """Migrate the database and make a key."""
        await run_to_end("migrate", [*COMMAND, "migrate"], self._environment)
        scopes = [word for scope in SCOPES for word in ("--scope", scope)]
        command = [*COMMAND, "token", "create", "verdicts", *scopes]
        self._key = (await run_to_end("token create", command, self._environment)).strip()

    async def start(self, name: str) -> None:
        """Start a shard; return when it listens."""
        stack = AsyncExitStack()
        environment = {**self._environment, "LASTHEARD_SHARD_ID": name}
        worker = await stack.enter_async_context(
            open_worker(f"serve of {name}", [*COMMAND, "serve"], environment)
        )
        self._stack[name], self._workers[name] = stack, worker
        port = await _wait_started(worker)
        self._clients[name] = await stack.enter_async_context(
            httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{port}{PREFIX}",
                headers={"authorization": f"Bearer {self._key}"},
                timeout=ANSWER_SECONDS,
                trust_env=False,
            )
        )

    def pause(self, name: str) -> None:
        self._workers[name].process.send_signal(SIGSTOP)
        self._paused.add(name)

    def go_on(self, name: str) -> None:
        self._workers[name].process.send_signal(SIGCONT)
        self._paused.discard(name)

    async def kill(self, name: str) -> None:
        self._workers[name].process.send_signal(SIGKILL)
        await self.end(name)

    async def end(self, name: str) -> None:
        """End a shard in order, or what is left of it."""
        if name in self._paused:
            self.go_on(name)
        self._clients.pop(name, None)
        self._workers.pop(name, None)
        with trio.CancelScope(shield=True):
            await self._stack.pop(name).aclose()

    @property
    def answering(self) -> list[str]:
        return [name for name in self._clients if name not in self._paused]

    async def get(self, path: str, shard: str | None = None) -> Any:
        """Return an answer's body. Raises httpx.HTTPError."""
        answer = await self._clients[shard or self.answering[0]].get(path)
        answer.raise_for_status()
        return orjson.loads(answer.content)

    async def put(self, path: str, body: Any) -> None:
        _expect_success(await self._clients[self.answering[0]].put(path, json=body))

    async def delete(self, path: str) -> None:
        _expect_success(await self._clients[self.answering[0]].delete(path))

    async def post(self, path: str, body: Any) -> Any:
        answer = _expect_success(await self._clients[self.answering[0]].post(path, json=body))
        return orjson.loads(answer.content)


class Account(NamedTuple):
    """One simulated account, as a workspace of its own. `moved` are units of other vehicles."""

    fleet: SimulatedFleet
    vehicles: Sequence[tuple[str, str]]
    moved: frozenset[str]
    http_url: str
    credential: str  # by reference

    @property
    def name(self) -> str:
        return self.fleet.name

    @property
    def path(self) -> str:
        return f"/workspaces/{self.name}/providers/{self.fleet.provider}"

    def connection(self, **changes: object) -> dict[str, object]:
        """Return the body of the account's connection."""
        is_stream = self.fleet.provider == "viriciti"
        return {
            "provider_type": self.fleet.provider,
            "transport": "stream" if is_stream else "poll",
            "base_url": self.http_url if is_stream else f"{self.http_url}/rfms",
            "credential": self.credential,
            # The simulated vehicles report more often than the vendor's documents promise.
            "expected_update_seconds": 1,
            "active": True,  # left out, it would stay off after it was switched off
            **changes,
        }

    def device(self, external_id: str, vehicle_id: str, name: str) -> dict[str, object]:
        return {
            "provider_id": self.fleet.provider,
            "external_id": external_id,
            "vehicle_id": vehicle_id,
            "vehicle_name": name,
        }


async def configure_account(
    shards: Shards, account: Account, *, thresholds: Mapping[str, float], interval: int
) -> None:
    """Configure the account over HTTP. A moved unit was in another vehicle for hours before."""
    workspace = f"/workspaces/{account.name}"
    body = {"name": account.name, "poll_interval_seconds": interval, "thresholds": thresholds}
    await shards.put(workspace, body)
    await shards.put(account.path, account.connection())
    for external_id in account.moved:
        before = f"{workspace}/devices/before-{external_id}"
        device = account.device(external_id, f"other-{external_id}", "before")
        began = datetime.now(UTC) - LONG_BEFORE
        await shards.put(before, {**device, "activated_at": began.isoformat()})
        await shards.delete(before)
    devices = [
        {
            "device_id": external_id,
            **account.device(external_id, f"vehicle-{external_id}", name),
        }
        for external_id, name in account.vehicles
    ]
    await shards.post(f"{workspace}/devices/import", {"devices": devices})


async def _wait_started(worker: Worker) -> int:
    """Wait until the service listens; return its port, from its log."""
    with trio.move_on_after(START_SECONDS):
        while worker.process.poll() is None:
            for line in worker.read_errors().splitlines():
                if '"service_started"' in line and line.startswith("{") and line.endswith("}"):
                    return int(orjson.loads(line)["port"])
            await trio.sleep(0.1)
    raise WorkerFailed(f"the service did not start\n{worker.tail()}")


def _expect_success(answer: httpx.Response) -> httpx.Response:
    if not answer.is_success:
        raise httpx.HTTPError(
            f"{answer.request.method} {answer.request.url.path}: {answer.status_code} "
            f"{answer.text[:500]}"
        )
    return answer
