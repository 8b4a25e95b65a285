"""The simulator as a process.

It prints one line when it is ready, and ends on SIGTERM, on SIGINT or when its parent is gone.

Owns signals, standard output and the watch on the parent process. A simulator that a service
started runs in a session of its own, so the terminal's Ctrl-C never reaches it. Without the watch
it would go on after a crash of the service.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Any, Final

import orjson
import trio

from simulator.server import CannotStart, Simulator, serve

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator.config import SimulatorConfig

PARENT_POLL_SECONDS: Final = 0.5


def run(
    config: SimulatorConfig,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    parent: int | None = None,
    when_bound: Callable[[Simulator], None] | None = None,
) -> None:
    """Run the simulator. Blocks until a signal, or the end of the process `parent`, ends it.

    Prints one JSON line when the port is bound: event, http_url, ws_url, port, pid, tenants, and
    legacy if there is a legacy system. The
    credentials in it are made up by the simulator and valid nowhere else. `when_bound` is called
    before that, and may raise CannotStart. Raises CannotStart.
    """
    refusal: CannotStart | None = None
    try:
        trio.run(_run, config, host, port, parent, when_bound)
    except* CannotStart as group:
        refusal = _only(group)
    if refusal is not None:  # raised in the handler above, it would be wrapped in a group
        raise refusal


def _only(group: BaseExceptionGroup[CannotStart]) -> CannotStart:
    """Return the innermost exception of nested groups; the first to be raised ends all."""
    inner = group.exceptions[0]
    return _only(inner) if isinstance(inner, BaseExceptionGroup) else inner


async def _run(
    config: SimulatorConfig,
    host: str,
    port: int,
    parent: int | None,
    when_bound: Callable[[Simulator], None] | None,
) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_end_on_signal, signals, nursery.cancel_scope)
            if parent is not None:
                nursery.start_soon(_end_with_parent, parent, nursery.cancel_scope)
            simulator = await nursery.start(_serve, config, host, port)
            if when_bound is not None:
                when_bound(simulator)
            sys.stdout.write(ready_line(simulator) + "\n")
            sys.stdout.flush()


async def _serve(
    config: SimulatorConfig,
    host: str,
    port: int,
    *,
    task_status: trio.TaskStatus[Simulator] = trio.TASK_STATUS_IGNORED,
) -> None:
    await serve(config, host=host, port=port, task_status=task_status)


def ready_line(simulator: Simulator) -> str:
    tenants: list[dict[str, Any]] = [
        {
            "name": provider.tenant.name,
            "provider": str(provider.tenant.vendor),
            "base_url": simulator.base_url_of(provider.tenant),
            "credential": provider.tenant.credential,
            "vehicles": len(provider.tenant.vehicles),
        }
        for provider in simulator.providers
    ]
    facts = {
        "event": "simulator_ready",
        "http_url": simulator.http_url,
        "ws_url": simulator.ws_url,
        "port": simulator.port,
        "pid": os.getpid(),
        "tenants": tenants,
    }
    if simulator.legacy is not None:
        facts["legacy"] = {"base_url": simulator.http_url, "credential": simulator.legacy.token}
    return orjson.dumps(facts).decode()


async def _end_on_signal(signals: Any, scope: trio.CancelScope) -> None:
    """Cancel the scope at the first signal. Waits without a deadline: the signal ends the wait."""
    async for _ in signals:
        scope.cancel()
        return


async def _end_with_parent(parent: int, scope: trio.CancelScope) -> None:
    """Cancel the scope when the parent has ended.

    An orphan gets another parent, so another parent id means the end; also if the parent ended
    before this began.
    """
    while os.getppid() == parent:  # noqa: ASYNC110 - the kernel sends no event for it
        await trio.sleep(PARENT_POLL_SECONDS)
    scope.cancel()
