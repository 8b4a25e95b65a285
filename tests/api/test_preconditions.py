"""A write that has seen an older revision is refused, and a read that has the newest is short."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import trio

from tests.api.test_access import DEVICE, PROVIDER

if TYPE_CHECKING:
    from tests.api.harness import Harness


class Resource(NamedTuple):
    """A resource, one of its kind that does not exist, and bodies that configure either."""

    path: str
    absent: str
    put: Any
    patch: Any
    other: Any  # another patch
    is_conditional: bool = True  # its reads are answered with 304


MOVED = {**DEVICE, "vehicle_name": "Renamed"}
RESOURCES = {
    "workspace": Resource(
        "/workspaces/north",
        "/workspaces/nowhere",
        {"name": "Renamed"},
        {"name": "Patched"},
        {"name": "Other"},
        is_conditional=False,
    ),
    "connection": Resource(
        "/workspaces/north/providers/live",
        "/workspaces/north/providers/second",
        PROVIDER,
        {"settings": {"tongue": "formal"}, "credential": None},
        {"expected_update_seconds": 60},
    ),
    "device": Resource(
        "/workspaces/north/devices/bus-1",
        "/workspaces/north/devices/bus-7",
        MOVED,
        {"vehicle_name": "Patched"},
        {"overrides": {"grace_seconds": 60}},
    ),
}
EVERY = pytest.mark.parametrize("kind", RESOURCES)


async def tag(harness: Harness, path: str) -> str:
    answer = await harness.ask("GET", path)
    return answer.headers["etag"]


@EVERY
async def test_every_answer_has_the_tag_of_what_it_shows(harness: Harness, kind: str) -> None:
    resource = RESOURCES[kind]
    tags = [await tag(harness, resource.path)]
    for method, body in (("PUT", resource.put), ("PATCH", resource.other)):
        answer = await harness.ask(method, resource.path, json=body)
        assert answer.status == 200, answer.body
        assert answer.headers["etag"] == await tag(harness, resource.path)
        tags.append(answer.headers["etag"])
    again = await harness.ask("PATCH", resource.path, json=resource.other)
    assert again.headers["etag"] == tags[-1]  # nothing changed
    assert len(set(tags)) == 3


@EVERY
@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_a_stale_tag_is_412_and_changes_nothing(
    harness: Harness, kind: str, method: str
) -> None:
    resource = RESOURCES[kind]
    seen = await tag(harness, resource.path)
    await harness.ask("PATCH", resource.path, json=resource.other)
    before = await harness.ask("GET", resource.path)
    body = resource.put if method == "PUT" else resource.patch
    for header in (seen, f"W/{before.headers['etag']}", '"nonsense"', "", f'{seen}, "x"'):
        refused = await harness.ask(method, resource.path, json=body, headers={"If-Match": header})
        assert (refused.status, refused.problem) == (412, "precondition-failed"), header
        assert refused.headers["etag"] == before.headers["etag"]
    after = await harness.ask("GET", resource.path)
    assert (after.json, after.headers["etag"]) == (before.json, before.headers["etag"])
    for header in (f'"x", {before.headers["etag"]}', "*"):
        stored = await harness.ask(method, resource.path, json=body, headers={"If-Match": header})
        assert stored.status == 200, header
    bare = {"If-Match": (await tag(harness, resource.path)).strip('"')}
    assert (await harness.ask(method, resource.path, json=body, headers=bare)).status == 200


@EVERY
async def test_if_none_match_of_any_only_creates(harness: Harness, kind: str) -> None:
    resource, only_new = RESOURCES[kind], {"If-None-Match": "*"}
    before = await harness.get(resource.path)
    refused = await harness.ask("PUT", resource.path, json=resource.put, headers=only_new)
    assert (refused.status, await harness.get(resource.path)) == (412, before)
    body = {**resource.put, "external_id": "x-7"} if kind == "device" else resource.put
    made = await harness.ask("PUT", resource.absent, json=body, headers=only_new)
    assert (made.status, made.headers["etag"]) == (201, '"1"')


@EVERY
async def test_if_match_creates_nothing(harness: Harness, kind: str) -> None:
    resource = RESOURCES[kind]
    for match in ("*", '"1"', '"0"'):
        answer = await harness.ask(
            "PUT", resource.absent, json=resource.put, headers={"If-Match": match}
        )
        assert (answer.status, answer.problem) == (412, "precondition-failed")
    assert (await harness.ask("PATCH", resource.absent, json={})).status == 404
    assert (await harness.ask("GET", resource.absent)).status == 404


@EVERY
async def test_a_read_of_what_is_known_is_304(harness: Harness, kind: str) -> None:
    resource = RESOURCES[kind]
    seen = await tag(harness, resource.path)
    for header in (seen, f"W/{seen}", f'"x", {seen}', "*"):
        answer = await harness.ask("GET", resource.path, headers={"If-None-Match": header})
        assert answer.status == (304 if resource.is_conditional else 200)
        assert (answer.body == b"") == resource.is_conditional
        assert answer.headers["etag"] == seen
    await harness.ask("PATCH", resource.path, json=resource.other)
    answer = await harness.ask("GET", resource.path, headers={"If-None-Match": seen})
    assert answer.status == 200


async def test_a_device_is_retired_only_as_it_was_seen(harness: Harness) -> None:
    path = "/workspaces/north/devices/bus-1"
    seen = await tag(harness, path)
    await harness.ask("PATCH", path, json={"vehicle_name": "Renamed"})
    stale = await harness.ask("DELETE", path, headers={"If-Match": seen})
    assert (stale.status, (await harness.get(path))["active"]) == (412, True)
    fresh = await harness.ask("DELETE", path, headers={"If-Match": await tag(harness, path)})
    assert (fresh.status, fresh.json["active"]) == (200, False)


@EVERY
async def test_of_many_writers_with_one_tag_one_is_stored(harness: Harness, kind: str) -> None:
    resource = RESOURCES[kind]
    headers = {"If-Match": await tag(harness, resource.path)}
    statuses: list[int] = []

    async def write(number: int) -> None:
        change: Any = {"overrides": {"grace_seconds": number}}
        if kind == "workspace":
            change = {"name": str(number)}
        answer = await harness.ask("PATCH", resource.path, json=change, headers=headers)
        statuses.append(answer.status)

    async with trio.open_nursery() as nursery:
        for number in range(1, 9):
            nursery.start_soon(write, number)
    assert sorted(statuses) == [200] + [412] * 7


async def test_patches_at_once_lose_no_change(harness: Harness) -> None:
    path, names = "/workspaces/north/devices/bus-1", ("delayed", "stale", "grace")

    async def write(name: str, number: int) -> None:
        change = {"overrides": {f"{name}_seconds": number}}
        assert (await harness.ask("PATCH", path, json=change)).status == 200

    async with trio.open_nursery() as nursery:
        for number, name in enumerate(("delayed_after", "stale_after", "grace"), start=100):
            nursery.start_soon(write, name, number)
        nursery.start_soon(rename, harness, path)
    shown = await harness.get(path)
    assert list(shown["overrides"].values()) == [100.0, 101.0, 102.0], names
    assert shown["vehicle_name"] == "Renamed"


async def rename(harness: Harness, path: str) -> None:
    assert (await harness.ask("PATCH", path, json={"vehicle_name": "Renamed"})).status == 200


@pytest.mark.parametrize(
    "path",
    ["/api/telematics-mvp/provider-types", "/api/telematics-mvp/signals", "/openapi.json", "/docs"],
)
async def test_what_changes_with_the_program_only_is_304(harness: Harness, path: str) -> None:
    first = await harness.ask("GET", path)
    tag = first.headers["etag"]
    assert tag.startswith('W/"')
    for taken in ("gzip", "identity"):
        headers = {"If-None-Match": f'"other", {tag}', "Accept-Encoding": taken}
        again = await harness.ask("GET", path, headers=headers)
        assert (again.status, again.body, again.headers["etag"]) == (304, b"", tag)
    other = await harness.ask("GET", path, headers={"If-None-Match": 'W/"other"'})
    assert (other.status, other.body) == (200, first.body)
    packed = await harness.ask("GET", path, headers={"Accept-Encoding": "gzip"})
    assert (packed.headers["content-encoding"], packed.headers["etag"]) == ("gzip", tag)
