"""No cell of our CSV becomes a formula in a spreadsheet."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime

import pytest

from api.spreadsheet import write_csv


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\t", "\r", "\n", "'", "\uff1d"])
def test_text_that_a_spreadsheet_would_run_is_made_plain_text(sign: str) -> None:
    hostile = f'{sign}HYPERLINK("https://example.org","Bus 7")'
    rows = list(csv.reader(io.StringIO(write_csv(["vehicle_name"], [[hostile]]), newline="")))
    assert rows == [["vehicle_name"], [f"'{hostile}"]]


def test_ordinary_cells_stay_as_they_are() -> None:
    at = datetime(2026, 5, 1, 12, tzinfo=UTC)
    text = write_csv(["a", "b", "c", "d"], [["Bus 7, north", None, at, 90.5]])
    assert text == 'a,b,c,d\r\n"Bus 7, north",,2026-05-01T12:00:00Z,90.500\r\n'
