"""Devices as CSV: the rows that a list shows, and the same rows when they come back in an import.

Owns the columns, and the names of places in a spreadsheet: the header is row 1. A row becomes the
item that JSON would have held, so both obey one set of rules.
"""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from pydantic import ValidationError

from api.bodies import MAX_FAULTY_PARTS, pointer_to
from api.problem_types import INVALID_BODY
from api.problems import FaultyPart, Problem
from api.spreadsheet import Cell, read_cell
from api.tags import of_cell, to_cell
from domain.model import Device
from domain.thresholds import OVERRIDABLE

REQUIRED = ("device_id", "provider_id", "external_id", "vehicle_id", "vehicle_name")
TAGS = "tags"
COLUMNS = (*REQUIRED, *OVERRIDABLE, "activated_at", TAGS)
RETIRED_AT = "retired_at"  # in lists of retired devices only
_KNOWN = (*COLUMNS, RETIRED_AT)
_FIRST_ROW = 2  # of a spreadsheet; its row 1 is the header
_DELIMITERS = ",;\t"  # spreadsheets of many languages write semicolons
_DECIMAL_COMMA = re.compile(r"(\d+),(\d+)")
_PLACE = re.compile(r"/devices/(\d+)(?:/overrides)?(?:/(\w+))?(?:/\d+)?")
_REMEDIES = {
    "missing": "It is empty: fill it in.",
    "float_parsing": "It is no number: write seconds, such as 900.",
    "too_long": "The CSV has too many rows: split it.",
}


class CsvRow(NamedTuple):
    """A CSV row as the item that JSON would hold. `place` counts rows after the header, from 0."""

    place: int
    item: dict[str, Any]


def device_row(device: Device, *, with_retired: bool) -> Sequence[Cell]:
    """Return the device under COLUMNS, and retired_at if wanted. No digit of a number is lost."""
    cells: list[Cell] = [getattr(device, name) for name in REQUIRED]
    for name in OVERRIDABLE:
        seconds = getattr(device.override, name)
        cells.append(None if seconds is None else repr(seconds).removesuffix(".0"))
    cells += [device.activated_at, to_cell(device.tags)]
    return [*cells, device.retired_at] if with_retired else cells


def parse_csv(raw: bytes) -> list[CsvRow]:
    """Return the rows that are not blank, without their empty cells. Raises Problem 422.

    The columns may be separated by commas, semicolons or tabs, and a byte order mark is skipped.
    """
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        detail = f"The CSV is not UTF-8 at byte {error.start}. Save it as “CSV UTF-8”."
        raise _not_taken(detail) from None
    delimiter = _find_delimiter(text)
    header, *rows = _read_rows(text, delimiter)
    names = _named_columns(header)
    _check_header(names)
    filled = [(place, row) for place, row in enumerate(rows) if any(cell.strip() for cell in row)]
    _refuse(_find_ragged(filled, names, len(header)))
    items = [
        CsvRow(place, _to_item(dict(zip(names, row, strict=False)), delimiter))
        for place, row in filled
    ]
    _refuse(_find_retired(items))
    return items


def invalid_cells(error: ValidationError, rows: Sequence[CsvRow]) -> Problem:
    """Return the refusal of a CSV whose rows do not make valid devices."""
    document = {"devices": dict(rows)}
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    parts = [
        FaultyPart(
            pointer=pointer_to(_place(fault["loc"], rows), document),
            detail=_REMEDIES.get(fault["type"]) or fault["msg"].removeprefix("Value error, "),
        )
        for fault in faults[:MAX_FAULTY_PARTS]
    ]
    subject = "1 cell is invalid" if len(faults) == 1 else f"{len(faults)} cells are invalid"
    return Problem(INVALID_BODY, f"{subject}. Nothing was stored.", errors=parts)


def with_rows(problem: Problem) -> Problem:
    """Return a refusal of devices that also names the spreadsheet's rows and columns."""
    problem.errors = tuple(_with_row(part) for part in problem.errors)
    return problem


def name_row(place: int) -> str:
    return f"row {place + _FIRST_ROW}"


def _with_row(part: FaultyPart) -> FaultyPart:
    found = _PLACE.fullmatch(part.pointer or "")
    if found is None:
        return part
    row, column = int(found[1]) + _FIRST_ROW, found[2]
    where = f"Row {row}" if column is None else f"Row {row}, column {column}"
    named = {"row": row, "column": column, "detail": f"{where}: {part.detail}"}
    return part.model_copy(update=named)


def _find_delimiter(text: str) -> str:
    """Return what separates the columns of the header. No column's name has it within."""
    header = text.partition("\n")[0]
    return max(_DELIMITERS, key=header.count)


def _read_rows(text: str, delimiter: str) -> list[list[str]]:
    """Return all rows, at least one. Raises Problem 422."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        return list(reader) or [[]]
    except csv.Error as error:
        remedy = "A cell with quotes stands in quotes, and each quote within is doubled."
        raise _not_taken(f"Not CSV at line {reader.line_num}: {error}. {remedy}") from None


def _named_columns(header: Sequence[str]) -> list[str]:
    """Return the columns' names, without unnamed columns at the end.

    Spreadsheets write such columns where something stood once.
    """
    names = [name.strip() for name in header]
    while names and not names[-1]:
        names.pop()
    return names


def _check_header(names: Sequence[str]) -> None:
    """Raise Problem 422 for columns that are missing, unknown or there twice.

    An unknown name is not repeated: without a header, it is a customer's data.
    """
    if missing := [name for name in REQUIRED if name not in names]:
        raise _not_taken(f"The CSV's header, row 1, lacks {', '.join(missing)}: add the columns.")
    for number, name in enumerate(names, 1):
        if name not in _KNOWN:
            listed = ", ".join(_KNOWN)
            raise _not_taken(f"Row 1, column {number} is not known: delete it. Known are {listed}.")
        if (first := names.index(name) + 1) != number:
            raise _not_taken(f"Row 1, column {number}: {name} is column {first} too: delete one.")


def _find_ragged(
    rows: Iterable[tuple[int, list[str]]], names: Sequence[str], width: int
) -> list[FaultyPart]:
    """Return a fault for each row with too few or too many cells, or with one without a name.

    Such a row may have a separator within a cell: then the cells after it are in wrong columns.
    """
    remedy = "put a cell that holds the separator into quotes, and keep empty cells."
    return [
        FaultyPart(
            pointer=f"/devices/{place}",
            detail=f"It has {len(row)} cells, the header has {width} of which {len(names)} have a "
            f"name: {remedy}",
        )
        for place, row in rows
        if len(row) != width or any(cell.strip() for cell in row[len(names) :])
    ]


def _find_retired(rows: Iterable[CsvRow]) -> list[FaultyPart]:
    remedy = "The device is retired: delete the row, or empty the cell to activate it again."
    return [
        FaultyPart(pointer=f"/devices/{row.place}/{RETIRED_AT}", detail=remedy)
        for row in rows
        if RETIRED_AT in row.item
    ]


def _refuse(faults: Sequence[FaultyPart]) -> None:
    if faults:
        raise Problem(INVALID_BODY, "Nothing was stored.", errors=faults[:MAX_FAULTY_PARTS])


def _not_taken(detail: str) -> Problem:
    """Return the refusal of a body as a whole, hence with the empty pointer."""
    return Problem(INVALID_BODY, detail, errors=[FaultyPart(pointer="", detail=detail)])


def _to_item(row: dict[str, str], delimiter: str) -> dict[str, Any]:
    """Return the row as JSON would hold it. An empty cell is left out, but under tags: no tags."""
    tags = {TAGS: of_cell(read_cell(row.pop(TAGS)))} if TAGS in row else {}
    filled = {name: text for name, cell in row.items() if (text := read_cell(cell))}
    overrides = {name: filled.pop(name) for name in OVERRIDABLE if name in filled}
    if delimiter != ",":  # then a spreadsheet may write 7,5 for 7.5
        overrides = {name: _DECIMAL_COMMA.sub(r"\1.\2", text) for name, text in overrides.items()}
    return {**filled, **tags, **({"overrides": overrides} if overrides else {})}


def _place(loc: tuple[str | int, ...], rows: Sequence[CsvRow]) -> tuple[str | int, ...]:
    """Return `loc` with the row's place in the CSV instead of its index in `rows`."""
    match loc:
        case (devices, int(index), *rest):
            return (devices, rows[index].place, *rest)
        case _:
            return loc
