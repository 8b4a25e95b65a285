"""One running service for all browser tests: simulated fleets, and a depot that the tests feed.

Owns its processes and the trio loop, in a thread, that starts and ends them. The tests themselves
are plain functions, because Playwright's synchronous interface has a loop of its own in the main
thread. `Service.call` runs an asynchronous function in the service's thread.
"""

from __future__ import annotations

import threading
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import trio

from domain.model import Policy
from lastheard.simulation import configure_fleet, run_simulator
from simulator.legacy_shape import SHAPE
from storage.gateway import Database, open_bridge
from tests.browser.depot import add_depot
from tests.conftest import make_postgres_stores
from tests.processes.child import PATIENCE_SECONDS
from tests.processes.fleets import make_key
from tests.processes.instances import ask
from tests.processes.shard import open_shard

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from lastheard.simulation import Simulated
    from tests.processes.shard import Shard

# One connection of each kind, with every fault of the demo, in a day that a test has time for.
FLEETS: Final = ("--demo", "--legacy", "--seed", "7")
POLICY: Final = Policy(
    freshness_target_seconds=8, delayed_after_seconds=9, stale_after_seconds=22, grace_seconds=20
)
POLL_INTERVAL_SECONDS: Final = 2
CUTOVER: Final = "riverside"  # its vehicles are polled
START_SECONDS: Final = 180.0


@dataclass
class Service:
    """The running service: its address, a key that opens everything, and its simulated fleets."""

    shard: Shard
    key: str
    simulated: Simulated
    credentials: Path
    token: trio.lowlevel.TrioToken

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.shard.port}"

    @property
    def sign_in_address(self) -> str:
        """Return the address that signs in, as the demo prints it."""
        return f"{self.address}/sign-in#{self.key}"

    def call(self, work: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
        """Run an asynchronous function in the service's thread, and return what it returns."""
        return trio.from_thread.run(work, *arguments, trio_token=self.token)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """Return the JSON of a request to the API, which must be a success."""
        return self.call(partial(ask, self.shard, method, path, body, **headers))


@dataclass
class _Running:
    """What the two threads tell each other."""

    ready: threading.Event = field(default_factory=threading.Event)
    stop: trio.Event = field(default_factory=trio.Event)
    service: Service | None = None
    failure: BaseException | None = None


@contextmanager
def running_service(dsn: str, folder: Path) -> Iterator[Service]:
    """Run the service on this database during the block. `folder` is for the credentials."""
    running = _Running()
    thread = threading.Thread(target=_run, args=(dsn, folder, running), name="service")
    thread.start()
    try:
        assert running.ready.wait(START_SECONDS), f"not ready within {START_SECONDS:g} s"
        assert running.service is not None, running.failure
        yield running.service
    finally:
        if running.service is not None:
            running.service.token.run_sync_soon(running.stop.set)
        thread.join(PATIENCE_SECONDS)


def _run(dsn: str, folder: Path, running: _Running) -> None:
    try:
        trio.run(_serve, dsn, folder, running)
    except BaseException as failure:  # told to the main thread
        running.failure = failure
    finally:
        running.ready.set()


async def _serve(dsn: str, folder: Path, running: _Running) -> None:
    async with open_bridge(), run_simulator(*FLEETS) as simulated:
        key = await _configure(dsn, folder, simulated)
        assert simulated.legacy_credential is not None
        async with open_shard(
            dsn,
            key,
            credentials_dir=str(folder),
            min_poll_interval_seconds="2",
            secret_legacy=simulated.legacy_credential,
        ) as shard:
            await shard.wait_ready()
            await add_depot(shard)
            await _begin_shadow(shard, simulated)
            token = trio.lowlevel.current_trio_token()
            running.service = Service(shard, key, simulated, folder, token)
            running.ready.set()
            await running.stop.wait()


async def _begin_shadow(shard: Shard, simulated: Simulated) -> None:
    """Let both systems collect for CUTOVER, so that its gate opens after some cycles.

    The pictures show the credential's name, so it is none of this machine's paths.
    """
    secret = "env:LASTHEARD_SECRET_LEGACY"
    legacy = {"base_url": simulated.http_url, "credential": secret, "shape": SHAPE}
    body = {"legacy": legacy, "poll_owner": "both_shadow", "read_owner": "legacy"}
    await ask(shard, "PUT", f"/workspaces/{CUTOVER}/cutover", body, **{"if-match": "*"})


async def _configure(dsn: str, folder: Path, simulated: Simulated) -> str:
    """Configure the simulated fleets; return a key that opens everything."""
    async with aclosing(Database(dsn, pool_size=1)) as database:
        stores = make_postgres_stores(database)
        for tenant in simulated.tenants:
            await configure_fleet(
                stores.registry,
                simulated,
                tenant,
                credentials_dir=folder,
                policy=POLICY,
                poll_interval_seconds=POLL_INTERVAL_SECONDS,
            )
        return await make_key(stores)
