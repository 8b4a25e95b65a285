"""Tags of devices: a set of short labels, by which devices and their health are filtered."""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.api.harness import draft

if TYPE_CHECKING:
    from tests.api.harness import Answer, Harness

DEVICES = "/workspaces/north/devices"
BUS = f"{DEVICES}/bus-1"
BODY = {
    "provider_id": "live",
    "external_id": "x-bus-1",
    "vehicle_id": "v-bus-1",
    "vehicle_name": "Bus 1",
}
REMEDY = "a tag has 1 to 64 characters, none of them | or a control character"


async def put(harness: Harness, **more: Any) -> Answer:
    present = await harness.get(BUS)
    return await harness.ask("PUT", BUS, json={name: present[name] for name in BODY} | more)


async def take(harness: Harness, header: str, row: str) -> Answer:
    columns = "device_id,provider_id,external_id,vehicle_id,vehicle_name"
    present = await harness.get(BUS)
    stored = ",".join(["bus-1", *(present[name] for name in BODY)])
    return await harness.ask(
        "POST",
        f"{DEVICES}/import",
        data=f"{columns}{header}\r\n{stored}{row}\r\n".encode(),
        headers={"Content-Type": "text/csv"},
    )


async def tags(harness: Harness) -> list[str]:
    found: list[str] = (await harness.get(BUS))["tags"]
    return found


async def test_tags_are_a_set_and_are_shown_sorted(harness: Harness) -> None:
    given = ["line 7", " depot north ", "Depot", "line 7", "Stra\u00dfe", "u\u0308", "\u00fc"]
    made = await put(harness, tags=given)
    assert made.json["tags"] == ["Depot", "Stra\u00dfe", "depot north", "line 7", "\u00fc"]
    again = await put(harness, tags=given[::-1])
    assert (again.status, again.headers["etag"]) == (200, made.headers["etag"])


async def test_tags_that_a_request_leaves_out_stay(harness: Harness) -> None:
    await put(harness, tags=["depot"])
    assert (await put(harness)).json["tags"] == ["depot"]
    await harness.ask("PATCH", BUS, json={"vehicle_name": "Other"})
    swap = await harness.ask("POST", f"{BUS}/swap", json={"external_id": "x-new"})
    assert swap.json["device"]["tags"] == ["depot"]
    assert (await take(harness, "", "")).status == 200
    await harness.ask("DELETE", BUS)
    assert (await put(harness)).json["tags"] == ["depot"]


@pytest.mark.parametrize("method", ["PUT", "PATCH", "import", "csv"])
async def test_an_empty_list_takes_the_tags_away(harness: Harness, method: str) -> None:
    await put(harness, tags=["depot"])
    match method:
        case "PUT":
            await put(harness, tags=[])
        case "PATCH":
            await harness.ask("PATCH", BUS, json={"tags": []})
        case "import":
            device = {**{n: (await harness.get(BUS))[n] for n in BODY}, "device_id": "bus-1"}
            body = {"devices": [device | {"tags": []}]}
            await harness.ask("POST", f"{DEVICES}/import", json=body)
        case _:
            await take(harness, ",tags", ",")
    assert await tags(harness) == []


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
@pytest.mark.parametrize(
    ("given", "pointer"),
    [
        (["a", ""], "/tags/1"),
        (["  "], "/tags/0"),
        (["a", "b|c"], "/tags/1"),
        (["a\nb"], "/tags/0"),
        (["a\u0000"], "/tags/0"),
        (["x" * 65], "/tags/0"),
        ([7], "/tags/0"),
        ([str(n) for n in range(21)], "/tags"),
        ("depot", "/tags"),
        (None, "/tags"),
    ],
)
async def test_a_tag_that_is_none_is_refused_at_its_place(
    harness: Harness, method: str, given: Any, pointer: str
) -> None:
    body = {n: (await harness.get(BUS))[n] for n in BODY} if method == "PUT" else {}
    answer = await harness.ask(method, BUS, json={**body, "tags": given})
    assert (answer.status, answer.problem, answer.pointers) == (422, "invalid-body", [pointer])
    if pointer != "/tags" and given != [7]:
        assert REMEDY in answer.json["errors"][0]["detail"]
    assert await tags(harness) == []


async def test_a_cell_has_several_tags(harness: Harness) -> None:
    taken = await take(harness, ",tags", ',"line 7 | depot, ""north""|\'tis"')
    assert taken.status == 200, taken.body
    assert await tags(harness) == ["'tis", 'depot, "north"', "line 7"]


async def test_a_wrong_tag_of_a_cell_names_row_and_column(harness: Harness) -> None:
    answer = await take(harness, ",tags", ",depot||line 7")
    (fault,) = answer.json["errors"]
    assert (answer.status, fault["row"], fault["column"]) == (422, 2, "tags")
    assert fault["pointer"] == "/devices/0/tags/1"
    assert fault["detail"].startswith(f"Row 2, column tags: {REMEDY}")


async def put_tagged(harness: Harness) -> None:
    many = [
        draft(f"t-{n}", tags=(("depot n\u00f6rd", "line 7") if n % 2 else ("depot",)))
        for n in range(6)
    ]
    await harness.stores.registry.put_devices("north", many)
    await harness.stores.registry.put_devices("south", many)


@pytest.mark.parametrize("path", ["devices", "health", "issues", "worklist"])
async def test_lists_are_filtered_by_a_tag_page_by_page(harness: Harness, path: str) -> None:
    await put_tagged(harness)
    harness.let_pass(4000)  # all of them are issues
    within = path if path == "worklist" else f"workspaces/north/{path}"
    query = f"/{within}?tag=depot%20no%CC%88rd&limit=2"
    pages = await harness.walk(query)
    found = [item for page in pages for item in page["items"] if item["workspace_id"] == "north"]
    assert [item["device_id"] for item in found] == ["t-1", "t-3", "t-5"]
    assert {tuple(item["tags"]) for item in found} == {("depot n\u00f6rd", "line 7")}
    if path == "health":
        assert sum(pages[0]["counts"].values()) == 9  # of all devices, whatever the filter
    other = await harness.ask("GET", query.replace("depot", "other") + "&cursor=" + _cursor(pages))
    assert other.status == 400


def _cursor(pages: list[Any]) -> str:
    found = next(page["next_cursor"] for page in pages if page["next_cursor"])
    assert isinstance(found, str)
    return found


@pytest.mark.parametrize("path", ["devices", "health", "issues"])
async def test_a_csv_is_filtered_and_has_the_tags(harness: Harness, path: str) -> None:
    await put_tagged(harness)
    await put(harness, tags=["=1+1", "line 7"])
    harness.let_pass(4000)
    answer = await harness.ask("GET", f"/workspaces/north/{path}?format=csv&tag=line%207")
    rows = list(csv.DictReader(io.StringIO(answer.body.decode(), newline="")))
    assert {row["device_id"]: row["tags"] for row in rows} == {
        "bus-1": "'=1+1|line 7",
        "t-1": "depot n\u00f6rd|line 7",
        "t-3": "depot n\u00f6rd|line 7",
        "t-5": "depot n\u00f6rd|line 7",
    }


async def test_a_filter_that_is_no_tag_is_refused(harness: Harness) -> None:
    answer = await harness.ask("GET", f"{DEVICES}?tag=a%7Cb")
    assert (answer.status, answer.problem) == (400, "invalid-parameter")
    assert re.search(REMEDY.replace("|", r"\|"), answer.json["errors"][0]["detail"])
