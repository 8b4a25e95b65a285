"""CSV for people, who open it in a spreadsheet: no cell may become a formula there.

Owns the escaping, and its undoing when such a CSV comes back. Names of vehicles come from outside,
and a spreadsheet takes text that begins with = + - @ for a formula.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import datetime

from quart import Response

from runtime.instants import format_instant

CSV_MEDIA_TYPE = "text/csv"
# A tab, a line break or an apostrophe in front of the sign hides it from a check of the first
# character, but a spreadsheet may drop that character.
_FULL_WIDTH = ("\uff1d", "\uff0b", "\uff0d", "\uff20")  # some spreadsheets read these as = + - @
_RISKY = ("=", "+", "-", "@", "\t", "\r", "\n", "'", *_FULL_WIDTH)

Cell = str | float | datetime | None


def write_csv(header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """Return RFC 4180 text, with CRLF line ends."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(header)
    writer.writerows([_to_cell(value) for value in row] for row in rows)
    return text.getvalue()


def csv_response(text: str, filename: str) -> Response:
    headers = {
        "Cache-Control": "no-store",
        "Content-Disposition": f'attachment; filename="{filename}"',
    }
    return Response(text, headers=headers, content_type=f"{CSV_MEDIA_TYPE}; charset=utf-8")


def read_cell(cell: str) -> str:
    """Return the text of a cell, trimmed, or without the apostrophe that `write_csv` put first."""
    hidden = cell[1:]
    if cell.startswith("'") and _needs_apostrophe(hidden):
        return hidden
    return cell.strip()


def _to_cell(value: Cell) -> str:
    match value:
        case None:
            return ""
        case datetime():
            return format_instant(value)
        case str():
            return f"'{value}" if _needs_apostrophe(value) else value
        case _:
            return f"{value:.3f}"


def _needs_apostrophe(text: str) -> bool:
    """Return whether a spreadsheet might run the text, or whether reading it would trim it.

    Some spreadsheets ignore spaces in front of a sign.
    """
    return text.startswith(_RISKY) or text != text.strip()
