"""`lastheard demo` and `lastheard simulate`: the environment and wrong flags do them no harm."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
import trio

from lastheard import settings as settings_module
from lastheard.simulation import list_vehicles, run_simulator
from runtime.faults import EnvironmentFault
from simulator.faults import describe_faults
from tests.postgres import public_folder
from tests.processes.census import Census
from tests.processes.child import LASTHEARD, open_child, run_lastheard
from tests.providers.servers import tcp_server

if TYPE_CHECKING:
    from pathlib import Path

PROXY = {
    "HTTP_PROXY": "http://127.0.0.1:9",
    "http_proxy": "http://127.0.0.1:9",
}  # nobody listens there
SOMEBODYS_DSN = "postgresql://postgres@127.0.0.1:1/lastheard"


@pytest.mark.processes
@pytest.mark.postgres
async def test_the_demo_stays_on_this_machine() -> None:
    with public_folder("lastheard-demo-") as folder:
        census = Census(folder)
        environment = {**census.environment, **PROXY, "LASTHEARD_DSN": SOMEBODYS_DSN}
        try:
            async with open_child(
                *LASTHEARD, "demo", "--data-dir", str(folder), environment=environment
            ) as child:
                await child.wait_for_output("healthy ")
                child.send(signal.SIGTERM)
                assert await child.wait_ended() == 0, child.tail()
                assert "no answer" not in child.out
        finally:
            census.end_all()


def test_an_empty_dsn_overrides_environment_and_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "lastheard.toml"
    file.write_text(f'dsn = "{SOMEBODYS_DSN}"')
    monkeypatch.setenv("LASTHEARD_DSN", SOMEBODYS_DSN)
    assert settings_module.load(file, dsn="", embedded=True).dsn is None


@pytest.mark.processes
async def test_the_simulator_is_asked_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in PROXY.items():
        monkeypatch.setenv(name, value)
    with trio.fail_after(30):
        async with run_simulator("--devices", "2") as simulated:
            vehicles = await list_vehicles(simulated, simulated.tenants[0])
    assert len(vehicles) == 2


@pytest.mark.processes
async def test_a_simulator_that_does_not_start_is_an_outside_fault() -> None:
    with pytest.raises(EnvironmentFault, match="the simulator was not ready"):
        async with run_simulator("--devices", "0"):
            pass


@pytest.mark.processes
async def test_simulating_on_a_port_in_use_says_so() -> None:
    async with tcp_server(trio.aclose_forcefully) as port:
        child = await run_lastheard("simulate", "--port", str(port))
    assert (child.exit_code, child.out) == (69, "")
    assert f"cannot listen on 127.0.0.1 port {port}: Address already in use" in child.errors
    assert "Traceback" not in child.errors


@pytest.mark.processes
async def test_help_names_every_fault() -> None:
    child = await run_lastheard("simulate", "--help")
    assert [line for line in describe_faults().splitlines() if line not in child.out] == []
