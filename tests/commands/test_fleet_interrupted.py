"""`lastheard apply` when somebody else writes, when Ctrl-C comes, and when nobody answers."""

from __future__ import annotations

import signal
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio

from lastheard.client import ApiClient
from lastheard.fleet_apply import FleetStopped, carry_out, prepare
from lastheard.fleet_file import read_fleet
from tests.commands.fleet_service import open_service
from tests.commands.test_fleet_files import DEPOT
from tests.processes.child import LASTHEARD, open_child, run_lastheard
from tests.processes.shard import PREFIX

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.commands.fleet_service import FleetService
    from tests.conftest import Stores

pytestmark = [pytest.mark.processes, pytest.mark.postgres]

MANY = 5000


@pytest.fixture
async def service(dsn: str, postgres_stores: Stores) -> AsyncIterator[FleetService]:
    async with open_service(dsn, postgres_stores) as service:
        yield service


@pytest.fixture
def client(service: FleetService) -> Iterator[ApiClient]:
    with closing(ApiClient(f"http://127.0.0.1:{service.shard.port}", service.key)) as client:
        yield client


def _say_nothing(_: str) -> None:
    pass


async def test_a_change_in_between_ends_it(
    service: FleetService, client: ApiClient, tmp_path: Path
) -> None:
    """Nothing of the workspace is written over what somebody else has just configured."""
    file = tmp_path / "fleet.toml"
    file.write_text(DEPOT)
    await service.apply(file)
    file.write_text(DEPOT.replace('"Depot"', '"North"').replace('"Bus 2"', '"Bus two"'))
    read = partial(prepare, prune=False, switch_off=False, say=_say_nothing)
    works = await trio.to_thread.run_sync(read, client, read_fleet(file))
    body = {"vehicle_name": "Bus II"}
    path = f"{PREFIX}/workspaces/depot/devices/bus-2"
    assert (await service.shard.client.patch(path, json=body)).status_code == 200
    before = await service.export()
    with pytest.raises(FleetStopped, match="workspace depot has changed since it was read"):
        await trio.to_thread.run_sync(carry_out, client, works, _say_nothing)
    assert await service.export() == before
    assert (await service.apply(file))[-1] == "applied: 2 changes"


@pytest.mark.parametrize(
    ("old", "new", "prune"),
    [
        ('"Bus 2"', '"Bus two"', False),
        (DEPOT[DEPOT.rindex("\n[[workspaces.devices]]") :], "", True),
    ],
    ids=["import", "retire"],
)
async def test_a_device_changed_after_the_check_is_left(
    service: FleetService, client: ApiClient, tmp_path: Path, old: str, new: str, prune: bool
) -> None:
    file = tmp_path / "fleet.toml"
    file.write_text(DEPOT)
    await service.apply(file)
    file.write_text(DEPOT.replace('"Depot"', '"North"').replace(old, new))
    read = partial(prepare, prune=prune, switch_off=False, say=_say_nothing)
    works = await trio.to_thread.run_sync(read, client, read_fleet(file))

    def change_after_the_first_request(said: str) -> None:
        assert said == "1 of 2: depot"
        client.send("PATCH", "/workspaces/depot/devices/bus-2", {"vehicle_name": "Bus II"})

    with pytest.raises(FleetStopped, match=r"412 (?s:.*)1 of 2 requests are done"):
        await trio.to_thread.run_sync(carry_out, client, works, change_after_the_first_request)
    device = await service.read("/workspaces/depot/devices/bus-2")
    assert (device["vehicle_name"], device["active"]) == ("Bus II", True)


async def test_a_stale_etag_ends_it_and_says_how_far_it_came(
    service: FleetService, client: ApiClient, tmp_path: Path
) -> None:
    file = tmp_path / "fleet.toml"
    file.write_text(DEPOT)
    await service.apply(file)
    file.write_text(DEPOT.replace('"Depot"', '"North"'))
    read = partial(prepare, prune=False, switch_off=False, say=_say_nothing)
    (work,) = await trio.to_thread.run_sync(read, client, read_fleet(file))
    work.plan.steps[0] = work.plan.steps[0]._replace(conditions={"If-Match": '"0"'})
    with pytest.raises(FleetStopped, match=r"412 (?s:.*)0 of 1 requests are done"):
        await trio.to_thread.run_sync(carry_out, client, [work], _say_nothing)
    assert (await service.read("/workspaces/depot"))["name"] == "Depot"


async def test_after_ctrl_c_the_rest_is_done_by_applying_again(
    service: FleetService, tmp_path: Path
) -> None:
    file = tmp_path / "fleet.toml"
    head, _, _ = DEPOT.partition("\n[[workspaces.devices]]")
    file.write_text(head + "".join(map(_device, range(MANY))))
    command = (*LASTHEARD, "apply", str(file))
    async with open_child(*command, environment=service.environment) as child:
        await child.wait_until(lambda: "3 of 7: depot" in child.errors, "the first devices")
        child.send(signal.SIGINT)
        assert await child.wait_ended() == 130, child.tail()
    assert "interrupted. Apply the file again to do the rest" in child.errors
    assert "Traceback" not in child.errors
    changes = await service.apply(file)
    left = int(changes[-1].removeprefix("applied: ").removesuffix(" changes"))
    assert 0 <= left <= MANY - 1000
    assert await service.apply(file) == ["no change"]
    assert (await service.export()).count("[[workspaces.devices]]") == MANY


def _device(number: int) -> str:
    return (
        f'\n[[workspaces.devices]]\nid = "bus-{number}"\nconnection = "live"\n'
        f'external_id = "x-{number}"\nvehicle_id = "v-{number}"\nvehicle_name = "Bus {number}"\n'
    )


async def test_an_api_that_is_away_is_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "fleet.toml"
    file.write_text(DEPOT)
    environment = {"SECRET_OF_TEST": "lh_0123456789abcdef_x"}
    there = ("--url", "http://127.0.0.1:9", "--key", "env:SECRET_OF_TEST")
    child = await run_lastheard("apply", str(file), *there, environment=environment)
    assert child.exit_code == 69, child.tail()
    assert "no answer from http://127.0.0.1:9" in child.errors
    assert "Traceback" not in child.errors
