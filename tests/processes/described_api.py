"""Schemathesis against a real process on PostgreSQL: requests from the API's own description.

It sends what the description allows and what it forbids. The key opens everything. Every check of
schemathesis.toml is on, and that of schemathesis_checks.py: no undocumented answer, and no 5xx but
the documented 503.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from tests.processes.fleets import make_depot, make_key
from tests.processes.shard import open_shard

if TYPE_CHECKING:
    from tests.conftest import Stores

_HERE = Path(__file__).parent
_COMMAND = Path(sys.executable).with_name("st")
_HOOKS = {"SCHEMATHESIS_HOOKS": str(_HERE / "schemathesis_checks.py")}


async def ask_all_that_is_described(
    dsn: str, stores: Stores, folder: Path, *, seconds: float | None, seed: str, phases: str
) -> None:
    """Run for so many seconds, or once through the phases.

    Raises AssertionError on a finding. Schemathesis prints it with a request that repeats it.
    """
    key = await make_key(stores)
    await make_depot(stores, 5)
    async with open_shard(dsn, key) as shard:
        await shard.wait_ready()
        command = [
            str(_COMMAND),
            *("--config-file", str(_HERE / "schemathesis.toml")),
            *("run", f"http://127.0.0.1:{shard.port}/openapi.json"),
            *("--header", f"Authorization: Bearer {key}"),
            *("--phases", phases, "--seed", seed, "--continue-on-failure"),
            *("--request-timeout", "20", "--no-color"),
            *(() if seconds is None else ("--max-time", f"{seconds:g}")),
        ]
        with trio.fail_after((seconds or 0) + 300):
            ended = await trio.run_process(
                command, check=False, cwd=folder, env=os.environ | _HOOKS
            )
        assert (await shard.get("/healthz")).status_code == 200
    assert ended.returncode == 0, "the findings are above, each with a request that repeats it"
