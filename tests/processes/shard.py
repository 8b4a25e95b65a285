"""A shard as a real process on a database of the test, and a client of its API."""

from __future__ import annotations

import tempfile
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import trio

from tests.processes.child import LASTHEARD, PATIENCE_SECONDS, Child, open_child

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

PREFIX = "/api/telematics-mvp"
SHARD_ID = "shard-1"
# Longer than every limit of the service (10 s for an answer of ingest), so that a test gets the
# service's answer and not its own timeout.
ANSWER_SECONDS = 20.0


class Shard:
    """One running `lastheard serve`. Its client sends the key with every request."""

    def __init__(self, child: Child, port: int, client: httpx.AsyncClient) -> None:
        self.child = child
        self.port = port
        self.client = client

    async def get(self, path: str) -> httpx.Response:
        return await self.client.get(path)

    async def runtime(self) -> Any:
        """Return the process's own part of /runtime."""
        answer = await self.get(f"{PREFIX}/runtime")
        assert answer.status_code == 200, answer.text
        return answer.json()["process"]

    async def wait_ready(self, seconds: float = PATIENCE_SECONDS) -> None:
        with trio.fail_after(seconds):
            while (await self.get("/readyz")).status_code != 200:  # noqa: ASYNC110
                await trio.sleep(0.1)

    async def wait_unready(self, seconds: float = PATIENCE_SECONDS) -> httpx.Response:
        """Wait until /readyz refuses, and return its answer."""
        with trio.fail_after(seconds):
            while (answer := await self.get("/readyz")).status_code == 200:  # noqa: ASYNC110
                await trio.sleep(0.1)
            return answer


@asynccontextmanager
async def open_shard(
    dsn: str,
    key: str,
    *,
    shard_id: str = SHARD_ID,
    command: Sequence[str] = LASTHEARD,
    **settings: str,
) -> AsyncIterator[Shard]:
    """Run `lastheard serve` during the block, and kill it at the end.

    `settings`: by their names without the prefix. `command` runs the service in another way.
    """
    ours = {
        "dsn": dsn,
        "shard_id": shard_id,
        "http_port": "0",
        "probe_port": "0",
        "stream_window_seconds": "0.2",
        "log_level": "debug",  # a stream tells its submissions there, and tests count them
        "credentials_dir": tempfile.gettempdir(),  # pytest's folders lie below it
        "outbound_allow": "127.0.0.1",  # where the simulated fleets listen
        **settings,
    }
    environment = {f"LASTHEARD_{name.upper()}": value for name, value in ours.items()}
    async with open_child(*command, "serve", environment=environment) as child:
        port = (await child.wait_for_record("service_started"))["port"]
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}",
            headers={"authorization": f"Bearer {key}"},
            timeout=ANSWER_SECONDS,
            trust_env=False,
        ) as client:
            yield Shard(child, port, client)


def find_uncounted(runtime: Any) -> list[str]:
    """Find the counting identities that do not hold in an answer of /runtime."""
    frames, ingest = runtime["shard"]["frames"], runtime["ingest"]
    sums = {
        "frames": (
            frames["received"],
            sum(frames[part] for part in ("merged", "ignored", "malformed", "pending")),
        ),
        "updates": (ingest["submitted"], sum(ingest["outcomes"].values()) + ingest["pending"]),
    }
    return [
        f"{name}: {whole} are not {parts}"
        for name, (whole, parts) in sums.items()
        if whole != parts
    ]
