"""Every write of configuration takes the ETag that its client has seen, and refuses a stale one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import trio

from api.app import PREFIX
from tests.api.test_access import DEVICE, PROVIDER

if TYPE_CHECKING:
    from tests.api.harness import Answer, Harness

WORKSPACE = "/workspaces/{workspace_id}"
CONNECTION, ONE_DEVICE = (
    f"{WORKSPACE}/providers/{{provider_id}}",
    f"{WORKSPACE}/devices/{{device_id}}",
)
IDS = {"workspace_id": "north", "provider_id": "live", "device_id": "bus-1"}
POLICY = {"stale_after_seconds": 1000}


class Resource(NamedTuple):
    """A kind of resource, its writes with a body for each, and a patch that moves it."""

    path: str
    writes: dict[str, Any]
    move: Any
    puts: tuple[Any, ...]  # two bodies that differ in the member `differs`
    differs: str


RESOURCES = {
    "workspace": Resource(
        WORKSPACE,
        {"PUT": {"name": "Put"}, "PATCH": {"name": "Patched"}, "DELETE": None},
        {"name": "Moved"},
        ({"name": "First"}, {"name": "Second"}),
        "name",
    ),
    "policy": Resource(
        f"{WORKSPACE}/policy",
        {"PUT": POLICY, "PATCH": POLICY},
        {"stale_after_seconds": 1200},
        ({"grace_seconds": 7}, {"grace_seconds": 8}),
        "grace_seconds",
    ),
    "cutover": Resource(
        f"{WORKSPACE}/cutover",
        {"PUT": {"provider_mode": "mixed"}, "PATCH": {"provider_mode": "mixed"}},
        {"gate": {"cycles": 6}},
        ({"provider_mode": "mixed"}, {"provider_mode": "depot_sim"}),
        "provider_mode",
    ),
    "connection": Resource(
        CONNECTION,
        {"PUT": PROVIDER, "PATCH": {"expected_update_seconds": 30}, "DELETE": None},
        {"expected_update_seconds": 60},
        tuple({**PROVIDER, "expected_update_seconds": number} for number in (70, 80)),
        "expected_update_seconds",
    ),
    "device": Resource(
        ONE_DEVICE,
        {
            "PUT": {**DEVICE, "vehicle_name": "Put"},
            "PATCH": {"vehicle_name": "Patched"},
            "DELETE": None,
            "POST /swap": {"external_id": "x-other"},
        },
        {"vehicle_name": "Moved"},
        tuple({**DEVICE, "vehicle_name": name} for name in ("First", "Second")),
        "vehicle_name",
    ),
}
EVERY = pytest.mark.parametrize("kind", RESOURCES)
EVERY_WRITE = pytest.mark.parametrize(
    ("kind", "write"), [(kind, write) for kind, one in RESOURCES.items() for write in one.writes]
)
# A key never changes: it is made and revoked, and revoking it must not wait for a reader.
WITHOUT_TAGS = {("DELETE", "/keys/{key_id}")}


def split(write: str) -> tuple[str, str]:
    """Return the method of a write, and what follows the resource's path."""
    method, _, rest = write.partition(" ")
    return method, rest


async def send(harness: Harness, kind: str, write: str, tag: str, body: Any = None) -> Answer:
    resource, (method, rest) = RESOURCES[kind], split(write)
    body = resource.writes[write] if body is None else body
    path, headers = resource.path.format(**IDS) + rest, {"If-Match": tag}
    return await harness.ask(method, path, headers=headers, **({"json": body} if body else {}))


async def read(harness: Harness, kind: str) -> tuple[Any, str]:
    answer = await harness.ask("GET", RESOURCES[kind].path.format(**IDS))
    return answer.json, answer.headers["etag"]


async def move(harness: Harness, kind: str) -> None:
    headers = {"If-Match": (await read(harness, kind))[1]}
    path, change = RESOURCES[kind].path.format(**IDS), RESOURCES[kind].move
    assert (await harness.ask("PATCH", path, json=change, headers=headers)).status == 200


async def test_every_write_of_configuration_is_here(harness: Harness) -> None:
    described = (await harness.ask("GET", "/openapi.json", key=None)).json["paths"]
    declared = {
        (method.upper(), path.removeprefix(PREFIX)): operation
        for path, operations in described.items()
        for method, operation in operations.items()
        if method in ("put", "patch", "delete") or path.endswith("/swap")
    }
    tested = {
        (split(write)[0], one.path + split(write)[1])
        for one in RESOURCES.values()
        for write in one.writes
    }
    assert set(declared) == tested | WITHOUT_TAGS
    for write in tested:
        names = {parameter["name"] for parameter in declared[write]["parameters"]}
        assert ("If-Match" in names, "412" in declared[write]["responses"]) == (True, True), write


@EVERY_WRITE
async def test_a_stale_tag_is_412_and_nothing_changes(
    harness: Harness, kind: str, write: str
) -> None:
    _, seen = await read(harness, kind)
    await move(harness, kind)
    before = await read(harness, kind)
    refused = await send(harness, kind, write, seen)
    assert (refused.status, refused.problem) == (412, "precondition-failed")
    assert refused.headers["etag"] == before[1]
    assert await read(harness, kind) == before


@EVERY_WRITE
async def test_the_answer_to_a_write_has_the_tag_of_what_it_made(
    harness: Harness, kind: str, write: str
) -> None:
    if kind == "workspace":
        await harness.ask("PATCH", "/workspaces/north", json={"active": False})
    elif kind == "connection" and write == "DELETE":
        for bus in ("bus-1", "bus-2", "bus-3"):
            await harness.ask("DELETE", f"/workspaces/north/devices/{bus}")
    _, seen = await read(harness, kind)
    answer = await send(harness, kind, write, seen)
    assert answer.status == 200, answer.body
    assert answer.headers["etag"] == (await read(harness, kind))[1] != seen


@EVERY
async def test_of_two_puts_with_one_tag_exactly_one_is_stored(harness: Harness, kind: str) -> None:
    _, seen = await read(harness, kind)
    resource = RESOURCES[kind]
    answers: dict[int, Answer] = {}

    async def put(number: int) -> None:
        answers[number] = await send(harness, kind, "PUT", seen, resource.puts[number])

    async with trio.open_nursery() as nursery:
        for number in range(2):
            nursery.start_soon(put, number)
    (winner,) = (number for number, answer in answers.items() if answer.status == 200)
    assert answers[1 - winner].problem == "precondition-failed"
    assert answers[1 - winner].status == 412
    stored, tag = await read(harness, kind)
    assert stored[resource.differs] == resource.puts[winner][resource.differs]
    assert tag == answers[winner].headers["etag"]
    audit = await harness.get("/workspaces/north/audit")
    (entry,) = (item for item in audit["items"] if item["who"] != "system")
    assert entry["before"][resource.differs] != stored[resource.differs]
    assert entry["after"][resource.differs] == stored[resource.differs]
