"""Tables that fit the terminal: the least important columns go first, and no number is ever cut.

Owns how a table is made narrower. Every cell is a `Text`, which rich shows unchanged. In a plain
string, rich would read [brackets] and :words: of a customer's name as markup.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final, NamedTuple

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lastheard.wording import wrap_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import TextIO

MIN_WIDTH: Final = 6  # of a column that may be shortened
GAP: Final = 2  # between two columns
PIPE_WIDTH: Final = 160  # a pipe has no width, and rich's guess of 80 would leave columns out


def open_console() -> Console:
    """Return a console on standard output that is as wide as the terminal, or as $COLUMNS."""
    width = None if sys.stdout.isatty() else width_of_pipe()
    return Console(soft_wrap=True, highlight=False, width=width)


def width_of_pipe() -> int:
    """Return the width of output that goes to no terminal: $COLUMNS, if it is set."""
    wanted = os.environ.get("COLUMNS", "")
    return int(wanted) if wanted.isdecimal() and int(wanted) > 0 else PIPE_WIDTH


def width_of_terminal(stream: TextIO) -> int | None:
    """Return the width of the terminal that the stream leads to; None if it leads to none."""
    return Console(file=stream).width if stream.isatty() else None


class Column(NamedTuple):
    """One column of a table.

    `leave_out` is the order in which columns are left out of a narrow table, the highest first; a
    column with 0 always stays. `shortens` says that its texts may be cut, which ends them with `…`.
    """

    heading: str
    leave_out: int = 0
    shortens: bool = False
    is_number: bool = False


def fit_table(
    title: str, columns: Sequence[Column], rows: Iterable[Sequence[str | Text]], width: int
) -> Table:
    """Return a table of at most `width` characters. Its caption names the columns left out.

    It is wider only if the columns that always stay need more.
    """
    cells = [[_text(cell) for cell in row] for row in rows]
    widths = [
        max(_width(Text(column.heading)), *(_width(row[place]) for row in cells), 0)
        for place, column in enumerate(columns)
    ]
    shown = _choose(columns, widths, width)
    limits = _shorten(columns, widths, shown, width)
    table = make_table(title)
    table.caption = _caption(columns, shown, width)
    for place in shown:
        column = columns[place]
        table.add_column(
            column.heading,
            justify="right" if column.is_number else "left",
            no_wrap=True,
            width=limits[place],
        )
    total = sum(limits[place] for place in shown) + GAP * (len(shown) - 1)
    if total > width:
        table.width = total  # otherwise rich cuts every column, numbers too
    for row in cells:
        table.add_row(*(_cut(row[place], limits[place]) for place in shown))
    return table


def make_table(title: str) -> Table:
    """Return a table without columns, in the style of all tables."""
    return Table(
        title=Text(title, "table.title"),
        title_justify="left",
        caption_justify="left",
        box=SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, GAP - 1, 0, 0),  # the box adds one
    )


def _text(cell: str | Text) -> Text:
    return Text(cell) if isinstance(cell, str) else cell


def _width(text: Text) -> int:
    return max((cell_len(line) for line in text.plain.splitlines()), default=0)


def _cut(text: Text, limit: int) -> Text:
    cut = text.copy()
    cut.truncate(limit, overflow="ellipsis")
    return cut


def _choose(columns: Sequence[Column], widths: Sequence[int], width: int) -> list[int]:
    """Return the places of the columns that there is room for."""
    shown = list(range(len(columns)))

    def least(place: int) -> int:
        return min(widths[place], MIN_WIDTH) if columns[place].shortens else widths[place]

    while sum(map(least, shown)) + GAP * (len(shown) - 1) > width:
        last = max(shown, key=lambda place: columns[place].leave_out)
        if not columns[last].leave_out:
            break
        shown.remove(last)
    return shown


def _shorten(
    columns: Sequence[Column], widths: Sequence[int], shown: Sequence[int], width: int
) -> list[int]:
    """Return the width of each column: the widest of those that may be shortened give way."""
    limits = list(widths)
    names = [place for place in shown if columns[place].shortens]
    over = sum(limits[place] for place in shown) + GAP * (len(shown) - 1) - width
    for _ in range(max(0, over)):
        widest = max(names, key=lambda place: limits[place], default=None)
        if widest is None or limits[widest] <= MIN_WIDTH:
            break
        limits[widest] -= 1
    return limits


def _caption(columns: Sequence[Column], shown: Sequence[int], width: int) -> Text | None:
    hidden = [column.heading for place, column in enumerate(columns) if place not in shown]
    if not hidden:
        return None
    names = ", ".join(hidden).replace("\n", "")
    return Text(wrap_lines(f"no room in {width} columns for: {names}", width))
