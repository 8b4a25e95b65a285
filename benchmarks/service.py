"""A tree's service as a black box: `lastheard serve` on a database, configured and asked over HTTP.

Owns the process and its client. It uses only commands, settings, the HTTP API and a few tables, so
it works with old commits too.
"""

from __future__ import annotations

import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import orjson
import trio

from benchmarks.feed import vid_of
from benchmarks.load import device_of
from benchmarks.names import FRAMES, HEALTH, PROVIDER, UPDATES
from benchmarks.place import name_of
from benchmarks.trees import SECRET_VARIABLE, CannotBeDriven
from benchmarks.workers import Worker, WorkerFailed, open_worker, run_to_end

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from benchmarks.place import Place
    from benchmarks.trees import Tree

PREFIX = "/api/telematics-mvp"
SCOPES = ("read", "ingest", "control", "admin")
START_SECONDS = 60.0
ANSWER_SECONDS = 30.0
MAX_IMPORT = 500  # devices in one request, which a busy machine takes in time, too
# Tree.environment leaves out those that a tree does not know.
SETTINGS = {
    "log_format": "json",
    "http_port": "0",
    "probe_port": "0",
    "shard_id": "bench",
    "outbound_allow": "127.0.0.1",
}


class Sizes(NamedTuple):
    """The number of devices in each workspace."""

    vehicles: int
    devices: int
    health_devices: int


class Template(NamedTuple):
    """A database to copy: migrated, configured, with nobody connected. `key` opens its API."""

    tree: Tree
    database: str
    key: str


class Service:
    """One running shard and a client that sends the key."""

    def __init__(self, worker: Worker, client: httpx.AsyncClient) -> None:
        self._worker = worker
        self.client = client

    @property
    def port(self) -> int:
        port = self.client.base_url.port
        assert port is not None
        return port

    @property
    def pid(self) -> int:
        return self._worker.pid

    def tail(self) -> str:
        """Return the end of its log, for the message of a failure."""
        return self._worker.tail()

    def read_records(self) -> list[dict[str, Any]]:
        """Return the lines of its log so far."""
        lines = self._worker.read_errors().splitlines()
        return [orjson.loads(line) for line in lines if line.startswith("{") and line[-1] == "}"]

    def count_lines(self, event: str) -> int:
        """Return how many lines of its log tell of this event. Cheaper than reading them."""
        return self._worker.read_errors().count(f'"event":"{event}"')

    async def put(self, path: str, body: Any) -> None:
        _expect_success(await self.client.put(PREFIX + path, json=body))

    async def post(self, path: str, body: Any) -> Any:
        answer = await self.client.post(PREFIX + path, content=orjson.dumps(body), headers=_JSON)
        return _expect_success(answer).json()

    async def runtime(self) -> Any:
        """Return the part of `/runtime` about the process itself."""
        return _expect_success(await self.client.get(f"{PREFIX}/runtime")).json()["process"]

    async def put_provider(self, workspace_id: str, base_url: str, *, active: bool) -> None:
        body = {
            "provider_type": "viriciti",
            "transport": "stream",
            "base_url": base_url,
            "credential": f"env:{SECRET_VARIABLE}",
            "active": active,
        }
        await self.put(f"/workspaces/{workspace_id}/providers/{PROVIDER}", body)

    async def put_fleet(self, workspace_id: str, device_ids: Iterable[str]) -> None:
        """Make a workspace with these devices and a provider connection that is switched off."""
        await self.put(
            f"/workspaces/{workspace_id}", {"name": workspace_id, "poll_interval_seconds": 3600}
        )
        await self.put_provider(workspace_id, "http://127.0.0.1:9", active=False)
        devices = [
            {
                "device_id": name,
                "provider_id": PROVIDER,
                "external_id": name,
                "vehicle_id": name,
                "vehicle_name": name,
            }
            for name in device_ids
        ]
        path = f"/workspaces/{workspace_id}/devices/import"
        for start in range(0, len(devices), MAX_IMPORT):
            await self.post(path, {"devices": devices[start : start + MAX_IMPORT]})


_JSON = {"Content-Type": "application/json"}


@asynccontextmanager
async def open_service(
    tree: Tree, dsn: str, key: str, *, module: str = "lastheard", **settings: str
) -> AsyncIterator[Service]:
    """Run `lastheard serve` until the end of the block, with these settings, else its defaults.

    `module` is what is run as `lastheard`.
    """
    with tempfile.TemporaryDirectory(prefix="lastheard-bench-data-") as folder:
        environment = tree.environment(**{**SETTINGS, **settings}, dsn=dsn, data_dir=folder)
        async with open_worker(
            f"serve of {tree.name}", tree.command(module, "serve"), environment
        ) as worker:
            port = await _wait_started(worker)
            async with httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{port}",
                headers={"authorization": f"Bearer {key}"},
                timeout=ANSWER_SECONDS,
                trust_env=False,
            ) as client:
                yield Service(worker, client)


async def prepare(tree: Tree, place: Place, sizes: Sizes) -> Template:
    """Migrate and configure a database with the tree's own commands and API.

    Raises CannotBeDriven.
    """
    try:
        dsn = await place.new_database()
        key = await migrate_and_make_key(tree, dsn)
        async with open_service(tree, dsn, key) as service:
            await service.put_fleet(FRAMES, map(vid_of, range(sizes.vehicles)))
            await service.put_fleet(UPDATES, map(device_of, range(sizes.devices)))
            await service.put_fleet(HEALTH, map(device_of, range(sizes.health_devices)))
    except (WorkerFailed, httpx.HTTPError) as failure:
        raise CannotBeDriven(f"{tree.name} cannot be driven: {failure}") from failure
    return Template(tree, name_of(dsn), key)


async def migrate_and_make_key(tree: Tree, dsn: str) -> str:
    """Migrate a database with the tree's own command, and return a key for its API."""
    environment = tree.environment(**SETTINGS, dsn=dsn, data_dir=str(Path(tempfile.gettempdir())))
    await run_to_end(f"migrate of {tree.name}", tree.command("lastheard", "migrate"), environment)
    scopes = [word for scope in SCOPES for word in ("--scope", scope)]
    command = tree.command("lastheard", "token", "create", "bench", *scopes)
    return (await run_to_end(f"token create of {tree.name}", command, environment)).strip()


async def _wait_started(worker: Worker) -> int:
    """Wait until the service has started; return its port, from its log."""
    with trio.move_on_after(START_SECONDS):
        while worker.process.poll() is None:
            for line in worker.read_errors().splitlines():
                if '"service_started"' in line and line.startswith("{") and line.endswith("}"):
                    return int(orjson.loads(line)["port"])
            await trio.sleep(0.05)
    raise WorkerFailed(f"the service did not start\n{worker.tail()}")


def _expect_success(answer: httpx.Response) -> httpx.Response:
    if not answer.is_success:
        raise httpx.HTTPError(
            f"{answer.request.method} {answer.request.url.path}: {answer.status_code} "
            f"{answer.text[:500]}"
        )
    return answer
