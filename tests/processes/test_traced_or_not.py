"""Real processes with and without traces: what they import, and how they end."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING, Final

import pytest
import trio

from tests.collector import open_collector, wait_for_spans
from tests.processes.fleets import make_key
from tests.processes.shard import PREFIX, open_shard
from tests.providers.servers import tcp_server

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Stores

pytestmark = [pytest.mark.processes, pytest.mark.postgres]

END_SECONDS: Final = 15.0  # half of what a container gets
# Runs `lastheard`, and says at its end which of the tracing libraries it has imported.
TELLING: Final = """
import sys
from lastheard.__main__ import main
try:
    main()
finally:
    print("imported", sorted({name.split(".")[0] for name in sys.modules} & {
        "opentelemetry", "google", "requests"}))
"""


async def test_without_an_address_no_library_for_traces_is_imported(
    dsn: str, postgres_stores: Stores
) -> None:
    key = await make_key(postgres_stores)
    async with open_shard(dsn, key, command=(sys.executable, "-c", TELLING)) as shard:
        await shard.wait_ready()
        assert (await shard.runtime())["traces"] is None
        shard.child.send(signal.SIGTERM)
        await shard.child.wait_ended()
    assert "imported []" in shard.child.out


async def test_spans_arrive_with_the_shards_name_and_the_header(
    dsn: str, postgres_stores: Stores, tmp_path: Path
) -> None:
    key = await make_key(postgres_stores)
    header = tmp_path / "header"
    header.write_text("Authorization=Bearer of-the-collector\n")
    async with open_collector() as collector:
        settings = {"otlp_url": collector.url, "otlp_headers": f"file:{header}"}
        async with open_shard(dsn, key, **settings) as shard:
            await shard.wait_ready()
            await shard.get(f"{PREFIX}/workspaces")
            await wait_for_spans(collector, 1)
            told = (await shard.runtime())["traces"]
            shard.child.send(signal.SIGTERM)
            assert await shard.child.wait_ended() == 0
    assert collector.asked[0].headers["authorization"] == "Bearer of-the-collector"
    assert collector.resource["service.instance.id"] == "shard-1"
    assert (told["dropped"], told["lost"]) == (0, 0)
    assert told["sent"] >= 1
    assert "of-the-collector" not in shard.child.errors


@pytest.mark.parametrize("hangs", [False, True], ids=["refuses-connections", "never-answers"])
async def test_a_collector_that_is_away_holds_up_no_process(
    dsn: str, postgres_stores: Stores, hangs: bool
) -> None:
    async def hang(_: trio.SocketStream) -> None:
        await trio.sleep_forever()

    key = await make_key(postgres_stores)
    async with tcp_server(hang) as port:
        url = f"http://127.0.0.1:{port if hangs else 1}"
        async with open_shard(dsn, key, otlp_url=url) as shard:
            await shard.wait_ready()
            for _ in range(20):
                assert (await shard.get(f"{PREFIX}/workspaces")).status_code == 200
            assert (await shard.runtime())["traces"]["ended"] >= 20
            shard.child.send(signal.SIGTERM)
            assert await shard.child.wait_ended(END_SECONDS) == 0
    told = [one for one in shard.child.records if "export" in one["event"]]
    assert len(told) <= 1, told
