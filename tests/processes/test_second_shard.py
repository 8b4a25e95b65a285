"""A second `serve` on one host, with nothing set: it says what it needs, and who ends for whom."""

from __future__ import annotations

import pytest

from tests.processes.child import LASTHEARD, open_child, run_lastheard

pytestmark = [pytest.mark.processes, pytest.mark.postgres]

SUPERSEDED, UNAVAILABLE = 75, 69


async def test_a_second_shard_on_one_host_says_what_it_needs(dsn: str) -> None:
    """Both have the default shard id, the host's name."""
    ours = {"LASTHEARD_DSN": dsn, "LASTHEARD_HTTP_PORT": "0", "LASTHEARD_PROBE_PORT": "0"}
    async with open_child(*LASTHEARD, "serve", environment=ours) as first:
        port = str((await first.wait_for_record("service_started"))["port"])
        same_port = await run_lastheard("serve", environment={**ours, "LASTHEARD_HTTP_PORT": port})
        assert first.exit_code is None  # a process without its address takes over nothing
        async with open_child(*LASTHEARD, "serve", environment=ours) as second:
            taken = await second.wait_for_record("shard_id_taken_over")
            assert await first.wait_ended() == SUPERSEDED, first.tail()
    assert same_port.exit_code == UNAVAILABLE, same_port.tail()
    assert "another --probe-port and its own LASTHEARD_SHARD_ID" in same_port.errors
    (ended,) = first.events("shard_superseded")
    for said in (taken, ended):
        assert "LASTHEARD_SHARD_ID of its own (the default is the host's name)" in said["remedy"]
