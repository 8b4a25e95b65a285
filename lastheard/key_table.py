"""The table of `lastheard token list`, which fits a terminal of 80 columns.

Ids and times are never shortened. Names, scopes and workspaces continue on the next line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from api.keys import KeyState, state_of
from lastheard.fitting import make_table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from rich.table import Table

    from ports.keys import ListedKey

_STYLE = {KeyState.ACTIVE: "green", KeyState.EXPIRED: "yellow", KeyState.REVOKED: "red"}


def keys_table(keys: Sequence[ListedKey], now: datetime) -> Table:
    """Return a line for each key: its name and id, what it opens, and whether it still does."""
    table = make_table(f"Keys: {len(keys)} (times in UTC, last used to the minute)")
    table.add_column("name", overflow="fold", min_width=6)
    table.add_column("id", no_wrap=True)
    table.add_column("scopes", overflow="fold", min_width=7)
    table.add_column("workspaces", overflow="fold", min_width=8)
    table.add_column("until", no_wrap=True)
    table.add_column("last used", no_wrap=True, justify="right")
    for key in keys:
        table.add_row(
            Text(key.name),
            Text(key.key_id),
            Text(" ".join(sorted(key.scopes))),
            Text("all" if key.workspaces is None else " ".join(sorted(key.workspaces))),
            _until(key, now),
            Text("never" if key.last_used_at is None else f"{key.last_used_at:%Y-%m-%d %H:%M}"),
        )
    return table


def _until(key: ListedKey, now: datetime) -> Text:
    """Return the day on which the key stops or stopped, and why it does not work any more."""
    state = state_of(key, now)
    ended_at = key.revoked_at or key.expires_at
    day = "no end" if ended_at is None else f"{ended_at:%Y-%m-%d}"
    word = "" if state is KeyState.ACTIVE else f"\n{state}"
    return Text(f"{day}{word}", _STYLE[state])
