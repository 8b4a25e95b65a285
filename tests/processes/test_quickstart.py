"""The quickstart leads to a healthy bus: the page's own commands, played from an empty folder."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from signal import SIGKILL
from typing import Final

import pytest
import trio

from tests.postgres import MAJOR, find_binaries
from tests.processes.census import Census
from tests.processes.child import open_child
from tests.processes.external import open_external
from tests.processes.replication import find_free_ports

pytestmark = [pytest.mark.processes, pytest.mark.postgres]

PAGE: Final = Path(__file__).parents[2] / "docs" / "quickstart.md"
BUDGET_SECONDS: Final = 300.0
INDENT: Final = "    "


def commands_of(page: str) -> str:
    """Return the indented blocks of a page, which are its commands, without their indent."""
    lines = page.splitlines()
    return "\n".join(
        line.removeprefix(INDENT)
        for number, line in enumerate(lines)
        if line.startswith(INDENT) or (not line and _is_inside(lines, number))
    )


def _is_inside(lines: list[str], number: int) -> bool:
    """Return whether an empty line has a line of the same block on both sides."""
    around = lines[number - 1], lines[min(number + 1, len(lines) - 1)]
    return all(line.startswith(INDENT) for line in around)


def _path() -> str:
    """Return a PATH with `lastheard`, `psql`, and what every machine has."""
    own = (Path(sys.executable).parent, find_binaries(MAJOR).folder)
    return ":".join((*map(str, own), "/usr/bin", "/bin"))


def put_ports(script: str, ports: dict[str, int]) -> str:
    """Replace the ports of the page by free ones of this machine."""
    for name, port in ports.items():
        assert name in script
        script = re.sub(rf"\b{name}\b", str(port), script)
    return script


async def test_the_quickstart_leads_to_a_healthy_bus(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ends with the page's last command; `set -e` ends it with the first that fails."""
    api, probes = find_free_ports(2)
    census = Census(tmp_path)
    async with open_external() as server:
        script = put_ports(commands_of(PAGE.read_text()), {"5432": server.port, "8081": probes})
        began = trio.current_time()
        async with open_child(
            *("bash", "-euxo", "pipefail", "-c", f"cd {tmp_path}\n{script}"),
            environment={
                **census.environment,
                "PATH": _path(),
                "LASTHEARD_HTTP_PORT": str(api),
                "LASTHEARD_PROBE_PORT": str(probes),
                "LASTHEARD_ADDRESS": f"http://127.0.0.1:{api}",
                "COLUMNS": "120",
            },
        ) as page:
            try:
                code = await page.wait_ended(BUDGET_SECONDS)
            finally:
                page.send_to_group(SIGKILL)
        seconds = trio.current_time() - began
        left = await census.wait_for_silence(10.0)
    with capsys.disabled():
        print(f"\nquickstart on PostgreSQL {MAJOR}: {seconds:.0f} s")
    assert code == 0, page.tail()
    assert left == []
    assert "Health of fleet-01: 5 devices" in page.out
    assert re.search(r"bus_000\d +healthy +reporting", page.out)
    assert "+ device harbour-lines/bus-1" in page.out
    assert '"shutdown_step_ended"' in (tmp_path / "serve.log").read_text()
