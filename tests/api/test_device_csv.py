"""The devices' CSV comes back through the import, also by way of a spreadsheet."""

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
HEADER = "device_id,provider_id,external_id,vehicle_id,vehicle_name"
BODY = {"provider_id": "live", "vehicle_id": "v", "vehicle_name": "Bus"}
# Names that a spreadsheet, a CSV or a careless reader would change.
NAMES = (
    '=HYPERLINK("https://example.org","Bus 7")',
    "-7",
    "+49 30 12",
    "@home",
    "'s-Hertogenbosch 12",
    "'=1",
    "''",
    " two spaces  ",
    '"quoted", with; all\u2028of it',
    "\uff1dwide",
    "007",
    "1E5",
    "Überlandbus ß 北",
    "\ufeffmark",
)


async def export(harness: Harness, query: str = "") -> bytes:
    answer = await harness.ask("GET", f"{DEVICES}?format=csv{query}")
    assert (answer.status, answer.headers["content-type"]) == (200, "text/csv; charset=utf-8")
    return answer.body


async def take(harness: Harness, raw: bytes, workspace: str = "north") -> Answer:
    return await harness.ask(
        "POST",
        f"/workspaces/{workspace}/devices/import",
        data=raw,
        headers={"Content-Type": "text/csv"},
    )


async def shown(harness: Harness, workspace: str = "north") -> list[Any]:
    return [
        {key: value for key, value in item.items() if key != "workspace_id"}
        for page in await harness.walk(f"/workspaces/{workspace}/devices")
        for item in page["items"]
    ]


def odd_tags(number: int) -> list[str]:
    """Return no, one or two of the odd names as tags."""
    return [name.strip() for name in NAMES[number : number + number % 3]]


async def put_odd_devices(harness: Harness) -> None:
    for number, name in enumerate(NAMES):
        overrides = {"delayed_after_seconds": 400 + number / 3, "grace_seconds": 1e-7}
        body = {**BODY, "external_id": f"e-{number}", "overrides": overrides}
        body |= {"vehicle_name": name, "activated_at": "2026-05-01T10:00:00.123456Z"}
        body |= {"tags": odd_tags(number)}
        answer = await harness.ask("PUT", f"{DEVICES}/odd-{number:02}", json=body)
        assert answer.status == 201, answer.body


def resaved(raw: bytes, delimiter: str, **form: Any) -> bytes:
    """Return the CSV as a spreadsheet saves it: with a byte order mark and its own separator."""
    rows = csv.reader(io.StringIO(raw.decode("utf-8-sig"), newline=""))
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, **form).writerows(rows)
    return b"\xef\xbb\xbf" + text.getvalue().encode()


async def test_an_exported_csv_changes_nothing_when_it_comes_back(harness: Harness) -> None:
    await put_odd_devices(harness)
    before = await shown(harness)
    count = await harness.get("/workspaces/north")
    raw = await export(harness)
    answer = await take(harness, raw)
    assert answer.json == {"devices": 17, "created": 0, "updated": 17, "swapped": 0}
    assert await shown(harness) == before
    assert (await harness.get("/workspaces/north"))["config_version"] == count["config_version"]
    assert await export(harness) == raw


@pytest.mark.parametrize(
    ("delimiter", "form"),
    [
        (",", {}),
        (";", {}),
        ("\t", {}),
        (";", {"quoting": csv.QUOTE_ALL}),
        (";", {"lineterminator": "\n"}),
        (",", {"lineterminator": "\r"}),
    ],
    ids=["comma", "semicolon", "tab", "all quoted", "line feeds", "carriage returns"],
)
async def test_a_csv_from_a_spreadsheet_makes_the_same_devices(
    harness: Harness, delimiter: str, form: dict[str, Any]
) -> None:
    await put_odd_devices(harness)
    raw = await export(harness)
    answer = await take(harness, resaved(raw, delimiter, **form), "south")
    assert (answer.status, answer.json["devices"]) == (200, 17), answer.body
    assert await shown(harness, "south") == await shown(harness)


async def test_cells_that_a_spreadsheet_adds_are_no_columns(harness: Harness) -> None:
    text = f"{HEADER},,\r\nd-1,live,vid-1,v-1,Bus 1,,\r\n,,,,,,\r\nd-2,live,vid-2,v-2,Bus 2,,\r\n"
    answer = await take(harness, text.encode())
    assert (answer.status, answer.json["created"]) == (200, 2), answer.body
    shifted = await take(harness, f"{HEADER},,\nd-3,live,vid-3,v-3,Bus, 3,\n".encode())
    assert (shifted.status, shifted.json["errors"][0]["row"]) == (422, 2)


async def test_a_decimal_comma_is_read_where_semicolons_separate(harness: Harness) -> None:
    header = HEADER.replace(",", ";") + ";grace_seconds"
    answer = await take(harness, f"{header}\nd-1;live;vid-1;v-1;Bus 1;90,5\n".encode())
    assert answer.status == 200, answer.body
    assert (await harness.get(f"{DEVICES}/d-1"))["overrides"]["grace_seconds"] == 90.5


async def test_no_cell_of_the_devices_csv_is_a_formula(harness: Harness) -> None:
    await put_odd_devices(harness)
    rows = list(csv.DictReader(io.StringIO((await export(harness)).decode(), newline="")))
    for column in ("vehicle_name", "tags"):
        cells = [row[column] for row in rows if row["device_id"].startswith("odd")]
        assert len(cells) == len(NAMES)
        assert not [cell for cell in cells if cell.startswith(tuple("=+-@\uff1d "))]


async def test_retired_devices_are_marked_and_not_taken_back(harness: Harness) -> None:
    await harness.ask("DELETE", f"{DEVICES}/bus-2")
    assert b"bus-2" not in await export(harness)
    raw = await export(harness, "&include_retired=true")
    answer = await take(harness, raw)
    (fault,) = answer.json["errors"]
    assert (answer.status, fault["row"], fault["column"]) == (422, 3, "retired_at")
    assert "delete the row, or empty the cell" in fault["detail"]
    row = re.search(rb"bus-2.*", raw)
    assert row is not None
    emptied = raw.replace(row[0], row[0].rpartition(b",")[0] + b",\r")
    assert (await take(harness, emptied)).status == 200
    assert (await harness.get(f"{DEVICES}/bus-2"))["active"] is True


async def test_a_long_list_of_devices_comes_in_several_files(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.device_list.MAX_DEVICES", 1000)
    many = [draft(f"d-{index:04}") for index in range(1100)]
    await harness.stores.registry.put_devices("north", many)
    first = await harness.ask("GET", DEVICES, headers={"Accept": "text/csv"})
    (target,) = re.findall(r'^<(\?.*)>; rel="next"$', first.headers["link"])
    rest = await harness.ask("GET", f"{DEVICES}{target}")
    ids = [
        row["device_id"]
        for answer in (first, rest)
        for row in csv.DictReader(io.StringIO(answer.body.decode(), newline=""))
    ]
    assert (len(ids), len(set(ids)), "link" in rest.headers) == (1103, 1103, False)


@pytest.mark.parametrize(
    ("row", "column", "remedy"),
    [
        ("d 2,live,vid-2,v-2,Bus 2,", "device_id", "pattern"),
        ("import,live,vid-2,v-2,Bus 2,", "device_id", "choose another"),
        ("d-2,live,,v-2,Bus 2,", "external_id", "fill it in"),
        ("d-2,live,vid-2,v-2,Bus 2,soon", "grace_seconds", "write seconds, such as 900"),
        ("d-2,live,vid-2,v-2,Bus 2,-1", "grace_seconds", "greater than 0"),
        ("d-2,nobody,vid-2,v-2,Bus 2,", "provider_id", "Create it first"),
        ("d-2,live,x-bus-3,v-2,Bus 2,", "external_id", "belongs to active device bus-3"),
        ("d-1,live,vid-2,v-2,Bus 2,", "device_id", "at row 2 too: delete one"),
        ("d-2,live,vid-2,v-2,Bus, 2,", None, "into quotes"),
        ("d-2,live", None, "keep empty cells"),
    ],
)
async def test_an_error_names_row_column_and_remedy(
    harness: Harness, row: str, column: str | None, remedy: str
) -> None:
    text = f"{HEADER},grace_seconds\nd-1,live,vid-1,v-1,Bus 1,90\n\n{row}\n"
    answer = await take(harness, text.encode())
    (fault,) = answer.json["errors"]
    assert answer.status in {409, 422}
    assert (fault["row"], fault.get("column")) == (4, column)
    assert fault["detail"].startswith("Row 4" + (f", column {column}: " if column else ": "))
    assert remedy in fault["detail"]
    assert len(await shown(harness)) == 3


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"\xff\xfed\x00", "Save it as"),
        ("Fahrzeug;Straße\n".encode("cp1252"), "Save it as"),
        (f'{HEADER}\nd-1,live,vid,v,Bus "7" red"\n"'.encode(), "each quote within is doubled"),
        (b"d-1,live,vid-1,v-1,Geheim\n", "row 1, lacks device_id, provider_id"),
        (b"", "add the columns"),
    ],
)
async def test_a_file_that_is_no_such_csv_says_what_to_do(
    harness: Harness, raw: bytes, words: str
) -> None:
    answer = await take(harness, raw)
    (fault,) = answer.json["errors"]
    assert (answer.status, fault["pointer"], fault["detail"]) == (422, "", answer.json["detail"])
    assert words in fault["detail"]
    assert b"Geheim" not in answer.body
