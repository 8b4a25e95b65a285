"""An ordered stop: readiness fails first; all else goes on until load balancers have noticed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
import trio

from tests.acceptance.harness import open_harness, until
from tests.acceptance.shard import update

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.conftest import Logbook
    from tests.acceptance.shard import Shard

DRAIN_SECONDS = 2.0
STEPS = ["readiness", "load_balancers", "http", "hand_over", "flush", "session"]


async def test_a_stopped_service_is_not_ready_drains_and_then_ends(
    dsn: str, tmp_path: Path, logbook: Logbook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LASTHEARD_DRAIN_SECONDS", str(DRAIN_SECONDS))
    async with open_harness(dsn, tmp_path) as harness:
        shard, now = harness.shard, await harness.now()
        await shard.add_pushed_fleet("harbour", ["bus-1"])
        before = await _checks(shard)
        stopped_at = trio.current_time()
        shard.service.stop()
        await until(lambda: _is_unready(shard), within=DRAIN_SECONDS / 2)
        during = await _checks(shard)
        outcomes = await shard.outcomes(update("harbour", "bus-1", now, soc_percent=61))
        await trio.sleep(stopped_at + DRAIN_SECONDS * 0.75 - trio.current_time())
        probed = f"http://127.0.0.1:{shard.service.probe_port}"
        late = [
            await _ask_anew(base, path)
            for base in (str(shard.client.base_url), probed)
            for path in ("/healthz", "/readyz")
        ]
        was_running = not shard.ended.is_set()
        with trio.fail_after(10):
            await shard.ended.wait()
        lasted = trio.current_time() - stopped_at
        with pytest.raises(httpx.ConnectError):
            await _ask_anew(str(shard.client.base_url), "/healthz")

    assert before == (200, dict.fromkeys(before[1], True))
    assert during == (503, before[1] | {"not_draining": False})
    assert outcomes == ["accepted"]
    assert (late, was_running) == ([200, 503, 200, 503], True)
    assert lasted >= DRAIN_SECONDS
    ended = [(line["step"], line["outcome"]) for line in logbook.lines(event="shutdown_step_ended")]
    assert ended == [(step, "done") for step in STEPS]


async def _checks(shard: Shard) -> tuple[int, dict[str, bool]]:
    """Return the status of /readyz, and the result of every check."""
    answer = await shard.ask("GET", "/readyz", key=None)
    return answer.status, answer.json["checks"]


async def _is_unready(shard: Shard) -> bool:
    return not await shard.is_ready()


async def _ask_anew(base: str, path: str) -> int:
    """Return the status of an answer on a new connection, which needs an open listener."""
    async with httpx.AsyncClient(base_url=base, trust_env=False) as client:
        return (await client.get(path)).status_code
