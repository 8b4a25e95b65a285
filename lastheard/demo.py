"""`lastheard demo`: everything on this machine, and a check at the end that it worked.

Owns the order (our PostgreSQL, the simulated fleets, a key, one shard), the demo's short
thresholds, and its length. demo_view.py prints and judges; the service is the same as with `serve`.
"""

from __future__ import annotations

from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING

import trio

from api.keys import mint_key
from domain.changes import Author
from domain.model import Policy
from lastheard.client import save_access
from lastheard.demo_cutover import (
    LEGACY_CREDENTIAL,
    STORY_SECONDS,
    WORKSPACE,
    CutoverStory,
)
from lastheard.demo_cutover import (
    POLL_INTERVAL_SECONDS as CUTOVER_INTERVAL_SECONDS,
)
from lastheard.demo_view import DemoView, WorkspaceWatch
from lastheard.service import Service
from lastheard.serving import StopSignal, open_database, until_stopped
from lastheard.simulation import configure_fleet, run_simulator, write_secret
from lastheard.tracing import open_tracing
from ports.cutovers import Force, new_draft
from runtime.clock import SystemClock
from storage.cutovers import PostgresCutovers
from storage.gateway import Database
from storage.keys import PostgresKeys
from storage.registry.store import PostgresRegistry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from lastheard.settings import Settings
    from lastheard.simulation import Simulated

# Short enough that every state occurs within 45 s: some simulated vehicles fall silent after 15 s,
# and some report every 20 s only.
POLICY = Policy(
    freshness_target_seconds=8, delayed_after_seconds=9, stale_after_seconds=22, grace_seconds=20
)
POLL_INTERVAL_SECONDS = 5
AUTHOR = Author("lastheard demo")
MANY_DEVICES = 200
ALL_STATES_SECONDS = 60.0  # with some patience for a slow machine


async def run_demo(settings: Settings, *, seconds: float | None, everything: bool = False) -> int:
    """Run until a signal, or for so many seconds after the start. Return the exit code.

    `everything`: the fleets have every fault of the simulator, not a few mild ones.
    """
    fleets = (
        ("--everything", "--devices", str(MANY_DEVICES)) if everything else ("--demo", "--legacy")
    )

    async def main(signal: StopSignal) -> int:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        view = DemoView()
        view.say(f"starting PostgreSQL in {settings.data_dir} (the first time takes a few seconds)")
        async with (
            open_tracing(settings),
            open_database(settings) as dsn,
            run_simulator(*fleets) as simulated,
        ):
            view.say(
                f"simulated fleets at {simulated.http_url}: "
                f"{', '.join(t.name for t in simulated.tenants)}"
            )
            key = await _prepare(dsn, settings, simulated)
            story = _make_story(settings, simulated, view)
            service = Service(settings, dsn)
            signal.started(service.stop)
            return await _run_service(service, settings, simulated, key, view, story, seconds)

    return await until_stopped(main)


async def _run_service(
    service: Service,
    settings: Settings,
    simulated: Simulated,
    key: str,
    view: DemoView,
    story: CutoverStory | None,
    seconds: float | None,
) -> int:
    """Run the service until its time is over or it is asked to stop. Return the exit code.

    That is the service's own if it failed, else 0 if what was counted holds, or 1.
    """
    watch = WorkspaceWatch([tenant.name for tenant in simulated.tenants], SystemClock().wall())
    time = trio.CancelScope()
    async with trio.open_nursery() as nursery:
        await nursery.start(service.run)
        async with _until_stop_requested(service):
            address = f"http://127.0.0.1:{service.port}"
            view.introduce(address, key, save_access(settings.data_dir, address, key))
            view.say(f"metrics  http://127.0.0.1:{service.probe_port}/metrics  (with the key)\n")
            time.deadline = trio.current_time() + (float("inf") if seconds is None else seconds)
            with time:
                async with trio.open_nursery() as showing:
                    if story is not None:
                        showing.start_soon(story.run, address, key)
                    await view.keep_showing(watch, address, key, service)
        service.stop()
    if service.exit_code:
        return service.exit_code
    # A demo that was ended early may not have had the time for a cycle in every workspace. Then a
    # missing cycle is no failure.
    in_full = time.cancelled_caught
    return view.conclude(
        watch,
        service,
        in_full=in_full,
        wants_states=in_full and (seconds or 0.0) >= ALL_STATES_SECONDS,
        lacks_story=story is not None
        and not story.is_complete
        and in_full
        and (seconds or 0.0) >= STORY_SECONDS,
    )


def _make_story(settings: Settings, simulated: Simulated, view: DemoView) -> CutoverStory | None:
    """Return the cutover that the demo shows; None without a legacy system."""
    if simulated.legacy_credential is None:
        return None
    path = settings.credentials_folder / LEGACY_CREDENTIAL
    return CutoverStory(simulated, write_secret(path, simulated.legacy_credential), view.say)


@asynccontextmanager
async def _until_stop_requested(service: Service) -> AsyncIterator[None]:
    """Cancel the block when the service begins to end, since its database closes soon after."""
    async with trio.open_nursery() as nursery:

        async def cancel_when_requested() -> None:
            await service.wait_stop_requested()
            nursery.cancel_scope.cancel()

        nursery.start_soon(cancel_when_requested)
        yield
        nursery.cancel_scope.cancel()


async def _prepare(dsn: str, settings: Settings, simulated: Simulated) -> str:
    """Configure the fleets' workspaces and devices; return a new key, which has every scope.

    This comes before the service runs. Otherwise the service would call simulators of an earlier
    demo, which are gone.
    """
    async with aclosing(Database(dsn, pool_size=1)) as database:
        for tenant in simulated.tenants:
            await configure_fleet(
                PostgresRegistry(database),
                simulated,
                tenant,
                credentials_dir=settings.credentials_folder,
                policy=POLICY,
                poll_interval_seconds=CUTOVER_INTERVAL_SECONDS
                if tenant.name == WORKSPACE
                else POLL_INTERVAL_SECONDS,
            )
            # An earlier demo in the same folder may have left it with the legacy system.
            await PostgresCutovers(database).put_cutover(
                tenant.name, draft=new_draft(), force=Force("a new demo"), by=AUTHOR
            )
        record, key = mint_key(
            "demo", frozenset({"read", "ingest", "control", "admin"}), None, None
        )
        await PostgresKeys(database).replace_key(record, by=AUTHOR)
    return key
