"""Tables fit the terminal: less important columns go, and no number is ever cut."""

from __future__ import annotations

import io
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from lastheard.fitting import Column, fit_table, width_of_pipe
from lastheard.tables import health_table

if TYPE_CHECKING:
    from rich.table import Table

WIDTHS = range(60, 200, 7)
DEVICE = {
    "workspace_id": "stadtwerke-nord-betriebshof",
    "vehicle_name": "Gelenkbus 4711 der Linie 17 (電気)",
    "device_id": "unit-0123456789abcdef",
    "state": "awaiting-first-data",
    "reason": "credentials_rejected",
    "party": "customer",
    "freshness_age_seconds": 3599.0,
    "away_for_seconds": 90 * 86_400.0 + 23 * 3600,
    "last_update_received_at": "2026-05-01T12:00:00Z",
    "old_signals": ["state_of_charge_percent", "odometer_km", "speed"],
}


def lines_of(table: Table, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("with_workspace", [False, True])
@pytest.mark.parametrize("width", [80, 160])
def test_a_health_table_fits_and_cuts_no_age(width: int, *, with_workspace: bool) -> None:
    lines = lines_of(health_table("Health", [DEVICE], width, with_workspace=with_workspace), width)
    assert max(map(cell_len, lines)) <= width
    text = "\n".join(lines)
    assert "59 min 59 s" in text
    assert "awaiting-first-data" in text
    assert "credentials_rejected" in text
    assert ("no room in" in text) is (width == 80)
    assert ("2026-05-01 12:00:00" in text) is (width == 160)


def test_a_wider_table_never_shows_less() -> None:
    shown = [
        {name for name in ("vehicle", "away", "device", "(UTC)") if name in text}
        for text in ("".join(lines_of(health_table("", [DEVICE], n), n)[:4]) for n in WIDTHS)
    ]
    assert all(narrow <= wide for narrow, wide in pairwise(shown))
    assert len(shown[-1]) == 4


@pytest.mark.parametrize("width", WIDTHS)
def test_only_texts_that_may_be_shortened_are_cut(width: int) -> None:
    columns = [
        Column("name", shortens=True),
        Column("count", is_number=True),
        Column("note", 1, shortens=True),
    ]
    lines = lines_of(fit_table("t", columns, [("n" * 50, "1234567890", "x" * 90)], width), width)
    assert max(map(len, lines)) <= width
    assert "1234567890" in "\n".join(lines)


def test_an_empty_table_has_its_headings() -> None:
    assert "state" in "\n".join(lines_of(health_table("Worklist: 0 devices", [], 80), 80))


@pytest.mark.parametrize(("columns", "width"), [("80", 80), ("", 160), ("wide", 160), ("0", 160)])
def test_a_pipe_is_as_wide_as_columns_says(
    monkeypatch: pytest.MonkeyPatch, columns: Any, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert width_of_pipe() == width


@pytest.mark.parametrize("width", [20, 25, 40])
def test_without_room_a_table_is_wider_and_numbers_are_whole(width: int) -> None:
    columns = (Column("lane"), Column("peak", 1, is_number=True), Column("held", is_number=True))
    table = fit_table("lanes", columns, [("stream", "7", "1234567890123456789012345678")], width)
    console = Console(file=io.StringIO(), width=width, highlight=False, soft_wrap=True)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert "stream  1234567890123456789012345678" in shown
    assert "…" not in shown
    caption = shown.partition("no room")[2].splitlines()
    assert all(len(line) <= max(width, len("columns")) for line in caption)
