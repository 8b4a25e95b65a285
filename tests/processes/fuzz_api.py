"""Schemathesis over the served OpenAPI document: `make fuzz-api`. Not part of `make test`.

A real process on PostgreSQL is asked everything that its description allows and forbids, with a key
that opens everything and every check on: no undocumented answer, and no 5xx but the documented 503.
FUZZ_SECONDS bounds the run (120); FUZZ_SEED repeats one. Ends by itself, red on a finding.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from tests.processes.fleets import make_depot, make_key
from tests.processes.shard import open_shard

if TYPE_CHECKING:
    from tests.conftest import Stores

pytestmark = [pytest.mark.processes, pytest.mark.postgres, pytest.mark.timeout(900)]

SECONDS = os.environ.get("FUZZ_SECONDS", "120")
SEED = os.environ.get("FUZZ_SEED", "1")
SCHEMATHESIS = Path(sys.executable).with_name("st")


async def test_no_answer_is_undocumented(dsn: str, postgres_stores: Stores, tmp_path: Path) -> None:
    key = await make_key(postgres_stores)
    await make_depot(postgres_stores, 5)
    async with open_shard(dsn, key) as shard:
        await shard.wait_ready()
        command = [
            str(SCHEMATHESIS),
            *("--config-file", str(Path(__file__).with_name("schemathesis.toml"))),
            *("run", f"http://127.0.0.1:{shard.port}/openapi.json"),
            *("--header", f"Authorization: Bearer {key}"),
            *("--seed", SEED, "--max-time", SECONDS, "--continue-on-failure"),
            *("--request-timeout", "20", "--no-color"),
        ]
        with trio.fail_after(800):
            ended = await trio.run_process(command, check=False, cwd=tmp_path)
        assert (await shard.get("/healthz")).status_code == 200
    assert ended.returncode == 0, "what it found stands above, each with a request that repeats it"
