"""The simulator as a process: its line, its ends."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import orjson
import psutil
import pytest
import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.processes

COMMAND = [
    sys.executable,
    "-m",
    "simulator",
    "--devices",
    "4",
    "--tenants",
    "2",
    "--rfms-tenants",
    "1",
]
# Starts the simulator as its child, passes its line on and waits to be killed.
PARENT = """
import subprocess, sys, time
child = subprocess.Popen([*sys.argv[1:]], stdout=subprocess.PIPE, start_new_session=True)
sys.stdout.write(child.stdout.readline().decode()); sys.stdout.flush()
time.sleep(60)
"""


@asynccontextmanager
async def started(
    command: list[str], **options: Any
) -> AsyncIterator[tuple[trio.Process, dict[str, Any]]]:
    """A process that has printed its line; killed at the end of the block if it still lives."""
    with trio.fail_after(20):
        process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE, **options)
        try:
            yield process, orjson.loads(await read_line(process))
        finally:
            process.kill()
            await process.wait()


async def read_line(process: trio.Process) -> bytes:
    assert process.stdout is not None
    line = b""
    while not line.endswith(b"\n"):
        chunk = await process.stdout.receive_some()
        assert chunk, "it ended without its line"
        line += chunk
    return line


async def wait_until_gone(pid: int) -> None:
    while _is_running(pid):  # noqa: ASYNC110 not our child, so there is nothing to wait for
        await trio.sleep(0.05)


def _is_running(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_says_where_it_is_and_ends_cleanly_on_a_signal(number: signal.Signals) -> None:
    async with started(COMMAND) as (process, facts):
        async with httpx.AsyncClient(base_url=facts["http_url"], trust_env=False) as http:
            key = facts["tenants"][0]["credential"]
            addresses = [tenant["base_url"] for tenant in facts["tenants"]]
            assert addresses == [facts["http_url"], f"{facts['http_url']}/rfms"]
            assets = await http.get("/api/v1/my/assets", headers={"x-api-key": key})
        process.send_signal(number)
        assert await process.wait() == 0
    assert len(assets.json()) == 2
    assert facts["ws_url"] == f"ws://127.0.0.1:{facts['port']}"
    assert [(each["provider"], each["vehicles"]) for each in facts["tenants"]] == [
        ("viriciti", 2),
        ("rfms", 2),
    ]


async def test_it_ends_when_its_parent_is_killed() -> None:
    command = [sys.executable, "-c", PARENT, *COMMAND, "--exit-with-parent"]
    async with started(command) as (parent, facts):
        parent.kill()
        await wait_until_gone(facts["pid"])


async def test_it_ends_at_once_if_its_parent_is_already_gone() -> None:
    with trio.fail_after(20):
        done = await trio.run_process([*COMMAND, "--exit-with-parent", "1"], capture_stdout=True)
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--faults", "gremlins=1"], b"unknown fault 'gremlins'"),
        (["--devices", "1"], b"1 devices cannot fill 2 tenants"),
    ],
)
async def test_wrong_flags_end_it_with_two_and_a_reason(flags: list[str], complaint: bytes) -> None:
    with trio.fail_after(20):
        done = await trio.run_process([*COMMAND, *flags], check=False, capture_stderr=True)
    assert done.returncode == 2
    assert complaint in done.stderr


async def test_a_port_in_use_ends_it_with_a_sentence() -> None:
    async with started(COMMAND) as (_, facts):
        command = [*COMMAND, "--port", str(facts["port"])]
        done = await trio.run_process(
            command, check=False, capture_stdout=True, capture_stderr=True
        )
    assert (done.returncode, done.stdout) == (69, b"")
    assert done.stderr.startswith(b"cannot listen on 127.0.0.1 port ")
    assert b"Traceback" not in done.stderr


async def test_the_demo_s_fleets_come_up() -> None:
    async with started([sys.executable, "-m", "simulator", "--demo", "--seed", "3"]) as (_, facts):
        assert [each["provider"] for each in facts["tenants"]] == ["viriciti"] * 3 + ["rfms"] * 2


async def test_the_fleets_with_every_fault_come_up() -> None:
    command = [sys.executable, "-m", "simulator", "--everything", "--devices", "200"]
    async with started([*command, "--pace", "4", "--without", "never+silent"]) as (_, facts):
        assert [each["provider"] for each in facts["tenants"]] == ["viriciti"] * 4 + ["rfms"] * 4
        assert sum(each["vehicles"] for each in facts["tenants"]) == 200


async def test_its_line_has_the_legacy_system_if_there_is_one() -> None:
    command = [*COMMAND, "--legacy", "--legacy-faults", "registry=halved"]
    async with started(command) as (_, facts), httpx.AsyncClient(trust_env=False) as http:
        legacy = facts["legacy"]
        answer = await http.get(
            f"{legacy['base_url']}/legacy/fleet-01/vehicles",
            headers={"X-Legacy-Token": legacy["credential"]},
        )
    assert [one["id"] for one in answer.json()["data"]["vehicles"]] == ["bus_0001"]


async def test_without_the_flag_there_is_no_legacy_system() -> None:
    async with started(COMMAND) as (_, facts), httpx.AsyncClient(trust_env=False) as http:
        answers = [
            await http.get(f"{facts['http_url']}{path}")
            for path in ("/legacy/fleet-01/vehicles", "/sim/legacy")
        ]
    assert "legacy" not in facts
    assert [answer.status_code for answer in answers] == [404, 404]


@pytest.mark.parametrize("text", ["lga=1", "lag=x", "losses=2"])
async def test_a_wrong_fault_of_the_legacy_system_is_explained(text: str) -> None:
    ended = await trio.run_process(
        [*COMMAND, "--legacy", "--legacy-faults", text], capture_stderr=True, check=False
    )
    assert ended.returncode == 2
    assert text.partition("=")[0].encode() in ended.stderr
    assert b"Traceback" not in ended.stderr
