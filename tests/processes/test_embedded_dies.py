"""The embedded PostgreSQL is killed under `serve --embedded`, and other commands use its folder."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from random import Random
from signal import SIGKILL, SIGTERM
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import pytest
import trio

from lastheard.embedded import open_shared, open_supervised
from runtime.supervisor import Intensity
from storage.embedded import EmbeddedUnavailable, find_running_server
from storage.embedded.process import find_live_postmaster
from tests.conftest import fetch
from tests.postgres import public_folder
from tests.processes.child import LASTHEARD, Child, open_child, run_lastheard
from tests.processes.history import find_unstored
from tests.processes.poster import Poster
from tests.processes.rows import fetch_history
from tests.processes.shard import PREFIX

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from storage.embedded import EmbeddedPostgres

pytestmark = [pytest.mark.processes, pytest.mark.postgres]

BACK_SECONDS = 60.0  # a crash recovery, on a crowded machine
VANS = [f"van-{number}" for number in range(5)]


@pytest.fixture
def folder() -> Iterator[Path]:
    with public_folder("lastheard-dies-") as folder:
        yield folder


class Served:
    """A running `serve --embedded`, and the postmaster that it started."""

    def __init__(self, child: Child, folder: Path, ports: dict[str, Any]) -> None:
        self.child = child
        self.cluster = folder / "postgresql" / "postgres" / "cluster"
        self.port: int = ports["port"]
        self.probes = f"http://127.0.0.1:{ports['probe_port']}"
        self.statuses: dict[str, list[int]] = {"/healthz": [], "/readyz": []}

    def postmaster(self) -> int:
        found = find_live_postmaster(self.cluster)
        assert found is not None
        return found[0].pid

    async def watch_probes(self) -> None:
        """Ask both probes until cancelled."""
        async with httpx.AsyncClient(base_url=self.probes, timeout=10.0, trust_env=False) as client:
            while True:
                for path, statuses in self.statuses.items():
                    statuses.append((await client.get(path)).status_code)
                await trio.sleep(0.05)

    async def wait_for_readiness(self, status: int) -> None:
        """Wait until /readyz answers with this status. Earlier answers do not count."""
        seen = len(self.statuses["/readyz"])
        with trio.fail_after(BACK_SECONDS):
            while status not in self.statuses["/readyz"][seen:]:  # noqa: ASYNC110
                await trio.sleep(0.02)


def environment(folder: Path) -> dict[str, str]:
    settings = {
        "embedded": "true",
        "data_dir": str(folder),
        "shard_id": "embedded",
        "http_port": "0",
        "probe_port": "0",
    }
    return {f"LASTHEARD_{name.upper()}": value for name, value in settings.items()}


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[Served]:
    """Run `lastheard serve --embedded` on a data folder during the block, then end it in order."""
    async with open_child(*LASTHEARD, "serve", environment=environment(folder)) as child:
        started = await child.wait_for_record("service_started", BACK_SECONDS)
        try:
            yield Served(child, folder, started)
        finally:
            child.send(SIGTERM)
            with trio.CancelScope(shield=True):
                await child.wait_ended(BACK_SECONDS)


async def make_key(folder: Path) -> str:
    made = await run_lastheard(
        *("token", "create", "test", "--scope", "read", "--scope", "ingest", "--scope", "control"),
        environment=environment(folder),
        seconds=BACK_SECONDS,
    )
    assert made.exit_code == 0, made.tail()
    (line,) = made.out.splitlines()
    return line


async def test_a_killed_postmaster_comes_back_by_itself(folder: Path) -> None:
    async with serving(folder) as served, trio.open_nursery() as nursery:
        key = await make_key(folder)
        await make_depot(served, key)
        poster = Poster("post", VANS, key, Random(7))
        poster.shard_port = served.port
        nursery.start_soon(served.watch_probes)
        nursery.start_soon(poster.run)
        await poster.wait_for_verdicts(3)
        await served.wait_for_readiness(200)

        killed = served.postmaster()
        os.kill(killed, SIGKILL)
        await served.wait_for_readiness(503)
        await served.wait_for_readiness(200)
        await poster.wait_for_verdicts(3)
        await poster.finish()

        (died,) = served.child.events("embedded_postgresql_died")
        assert (died["pid"], died["status"], died["adopted"]) == (killed, -SIGKILL, False)
        assert served.postmaster() != killed
        assert set(served.statuses["/healthz"]) == {200}
        dsn = await find_running_server(folder / "postgresql")
        assert dsn is not None
        events, _ = await fetch_history(dsn)
        assert find_unstored(poster.acknowledged, events) == []
        nursery.cancel_scope.cancel()
    assert served.child.exit_code == 0


async def make_depot(served: Served, key: str) -> None:
    """Make a workspace over the API whose data only a client sends."""
    base = f"http://127.0.0.1:{served.port}{PREFIX}/workspaces/depot"
    headers = {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(headers=headers, timeout=20.0, trust_env=False) as client:
        bodies: list[tuple[str, dict[str, Any]]] = [
            ("", {"name": "Depot", "poll_interval_seconds": 3600}),
            (
                "/providers/telemetry",
                {
                    "provider_type": "rfms",
                    "transport": "poll",
                    "base_url": "https://example.com",
                    "active": False,
                },
            ),
            *(
                (
                    f"/devices/{van}",
                    {
                        "provider_id": "telemetry",
                        "external_id": van,
                        "vehicle_id": f"v-{van}",
                        "vehicle_name": van,
                    },
                )
                for van in VANS
            ),
        ]
        for path, body in bodies:
            answer = await client.put(base + path, json=body)
            assert answer.status_code in (200, 201), answer.text


async def test_an_adopted_server_is_restarted_under_the_same_dsn(
    folder: Path,
) -> None:
    async with serving(folder) as served:
        orphan = served.postmaster()
        served.child.send(SIGKILL)
        await served.child.wait_ended()
        assert psutil.pid_exists(orphan)
        async with open_supervised(folder / "postgresql") as server:
            dsn = server.dsn
            assert (server.pid, server.statistics().adopted) == (orphan, True)
            os.kill(orphan, SIGKILL)
            assert await until_another_answers(folder, orphan) == server.pid != orphan
            assert server.dsn == dsn


async def until_another_answers(folder: Path, killed: int) -> int:
    """Wait until another server answers on this folder. Returns its process id."""
    cluster = folder / "postgresql" / "postgres" / "cluster"
    with trio.fail_after(BACK_SECONDS):
        while True:
            found = find_live_postmaster(cluster)
            if (
                found is not None
                and found[0].pid != killed
                and await find_running_server(folder / "postgresql")
            ):
                return found[0].pid
            await trio.sleep(0.05)


async def test_a_server_that_dies_again_and_again_ends_the_block(folder: Path) -> None:
    data_dir = folder / "postgresql"
    killed: list[int] = []

    async def kill_for_ever(server: EmbeddedPostgres) -> None:
        living = server.pid
        while True:
            killed.append(living)
            os.kill(living, SIGKILL)
            living = await until_another_answers(folder, living)

    async def serve() -> None:
        async with open_supervised(
            data_dir, intensity=Intensity(restarts=2, within_seconds=600.0)
        ) as server:
            await kill_for_ever(server)

    with pytest.raises(
        EmbeddedUnavailable, match=r"more than 2 times within 600 s: its own words are in .*log"
    ):
        await serve()
    assert len(killed) == 3
    assert await find_running_server(data_dir) is None


async def test_a_block_failing_with_its_server_gets_the_servers_fault(folder: Path) -> None:
    async def lose_the_server() -> None:
        async with open_supervised(
            folder / "postgresql", intensity=Intensity(restarts=0, within_seconds=600.0)
        ) as server:
            os.kill(server.pid, SIGKILL)
            try:
                await trio.sleep_forever()
            finally:
                raise ConnectionError("lost with the server")

    with pytest.raises(EmbeddedUnavailable, match="more than 0 times"):
        await lose_the_server()


async def test_a_serve_whose_server_cannot_start_again_ends_non_zero(folder: Path) -> None:
    async with open_child(*LASTHEARD, "serve", environment=environment(folder)) as child:
        await child.wait_for_record("service_started", BACK_SECONDS)
        served = Served(child, folder, {"port": 0, "probe_port": 0})
        postmaster = served.postmaster()
        control = served.cluster / "global" / "pg_control"
        control.rename(control.with_name("elsewhere"))
        os.kill(postmaster, SIGKILL)
        assert await child.wait_ended(BACK_SECONDS) == 69
        last_line = child.errors.splitlines()[-1]
    assert "died or failed to start more than 5 times within 30 s" in last_line


async def test_a_token_made_beside_a_running_serve_works_at_once(folder: Path) -> None:
    async with serving(folder) as served:
        postmaster = served.postmaster()
        key = await make_key(folder)
        async with httpx.AsyncClient(trust_env=False) as client:
            url = f"http://127.0.0.1:{served.port}{PREFIX}/runtime"
            answer = await client.get(url, headers={"authorization": f"Bearer {key}"})
        assert answer.status_code == 200
        assert answer.json()["process"]["database"]["server_version"].startswith("18.")
        checked = await run_lastheard("migrate", "--check", environment=environment(folder))
        assert (checked.exit_code, checked.out.split(",")[0].split()[0]) == (0, "schema")
        assert served.postmaster() == postmaster
        assert served.child.events("embedded_postgresql_died") == []
    assert served.child.exit_code == 0


async def test_a_shared_server_is_replaced_only_when_its_owner_ends(folder: Path) -> None:
    data_dir = folder / "postgresql"
    async with open_supervised(data_dir) as server:
        async with open_shared(data_dir) as (dsn, is_ours):
            assert (dsn, is_ours) == (server.dsn, False)
        assert await server.is_alive()
    async with open_shared(data_dir) as (again, is_ours):
        assert (again, is_ours) == (dsn, True)
        assert await trio.to_thread.run_sync(fetch, again, "SELECT 1 AS one")
    assert await find_running_server(data_dir) is None
