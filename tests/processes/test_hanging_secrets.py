"""Unreadable secrets: the process serves, uses its other connections, and stops in time."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Any, Final

import pytest
import trio

from tests.processes.child import LASTHEARD
from tests.processes.fleets import make_key
from tests.processes.shard import PREFIX, Shard, open_shard

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.conftest import Stores

pytestmark = [pytest.mark.processes, pytest.mark.postgres]

STOP_SECONDS: Final = 25.0
PROMPT_SECONDS: Final = 1.0
WORKSPACES: Final = 6  # more than there are readers
# The whole service, but reading a file never ends, as on a network file system that went away.
HANGING: Final = (
    sys.executable,
    "-c",
    "import runpy, time, runtime.secret_files as files; "
    "files._read_bounded = lambda file: time.sleep(600); "
    "runpy.run_module('lastheard', run_name='__main__')",
)


async def configure(shard: Shard, workspace_id: str, **credentials: str) -> None:
    """Make a workspace with a polled connection for each credential, by provider_id.

    No server listens at their address.
    """
    made = await shard.client.put(
        f"{PREFIX}/workspaces/{workspace_id}", json={"name": workspace_id}
    )
    assert made.status_code == 201, made.text
    for provider_id, credential in credentials.items():
        body = {
            "provider_type": "rfms",
            "transport": "poll",
            "base_url": "http://127.0.0.1:9",
            "credential": credential,
        }
        with trio.fail_after(5):
            made = await shard.client.put(
                f"{PREFIX}/workspaces/{workspace_id}/providers/{provider_id}", json=body
            )
        assert made.status_code == 201, made.text
        assert bool(made.json()["warnings"]) == credential.startswith("file:")
    device = {
        "provider_id": next(iter(credentials)),
        "external_id": "x",
        "vehicle_id": "v",
        "vehicle_name": "V",
    }
    made = await shard.client.put(f"{PREFIX}/workspaces/{workspace_id}/devices/bus-1", json=device)
    assert made.status_code == 201, made.text


async def run_now(shard: Shard, workspace_id: str) -> dict[str, str]:
    """Run a cycle. Returns its result for each connection."""
    path = f"{PREFIX}/workspaces/{workspace_id}/cycles"
    asked = await shard.client.post(path, json={"when": "now"})
    assert asked.status_code == 202, asked.text
    path = f"{PREFIX}/workspaces/{workspace_id}/cycles/{asked.json()['cycle_id']}"
    with trio.fail_after(30):
        while (cycle := (await shard.get(path)).json()).get("ended_at") is None:  # noqa: ASYNC110 another process
            await trio.sleep(0.1)
    found: dict[str, str] = cycle["summary"]["connections"]
    return found


async def watch(shard: Shard, slow: list[float]) -> None:
    """Ask `/healthz` until cancelled, and note answers that were not prompt."""
    while True:
        asked_at = trio.current_time()
        assert (await shard.get("/healthz")).status_code == 200
        if trio.current_time() - asked_at > PROMPT_SECONDS:
            slow.append(trio.current_time() - asked_at)
        await trio.sleep(0.02)


@pytest.mark.parametrize(
    ("command", "file", "says"),
    [
        (LASTHEARD, "pipe", "the secret file:pipe is not a regular file"),
        (HANGING, "key", "the secret file:key cannot be read now"),
    ],
    ids=["fifo", "dead mount"],
)
async def test_a_secret_that_hangs_stops_nothing_else(
    dsn: str, postgres_stores: Stores, tmp_path: Path, command: Sequence[str], file: str, says: str
) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "key").write_text("fleet-key")
    settings: dict[str, Any] = {
        "credentials_dir": str(tmp_path),
        "secret_free": "free-key",
        "command": command,
    }
    key = await make_key(postgres_stores)
    names = [f"fleet-{number}" for number in range(WORKSPACES)]
    slow: list[float] = []
    found: list[dict[str, str]] = []

    async def note(shard: Shard, name: str) -> None:
        found.append(await run_now(shard, name))

    async with open_shard(dsn, key, **settings) as shard:
        await shard.wait_ready()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch, shard, slow)
            for name in names:
                await configure(shard, name, hangs=f"file:{file}", free="env:LASTHEARD_SECRET_FREE")
            async with trio.open_nursery() as running:
                for name in names:
                    running.start_soon(note, shard, name)
            nursery.cancel_scope.cancel()
        shard.child.send(signal.SIGTERM)
        assert await shard.child.wait_ended(STOP_SECONDS) == 0
    assert (slow, len(found)) == ([], WORKSPACES)
    for connections in found:
        assert connections["hangs"].startswith(f"configuration: {says}")
        assert connections["free"].startswith("outage: ")
    async with open_shard(dsn, key, shard_id="successor", **settings) as successor:
        await successor.wait_ready()
        assert (await run_now(successor, names[0]))["free"].startswith("outage: ")
