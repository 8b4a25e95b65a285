"""Pages of lists: the start of a page, the cursor of the next one, and the instant of all of them.

We signed the keys inside a cursor, so their types are not checked again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from api.cursors import Cursor, CursorCodec

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from api.cursors import Key
    from api.services import ApiServices

RowT = TypeVar("RowT")


class Paging:
    """Reads and writes the cursors of lists.

    `kind` names the list with its workspace and filters.
    """

    def __init__(self, services: ApiServices) -> None:
        self._codec = CursorCodec(services.cursor_key)
        self._clock = services.clock

    def decode(self, token: str | None, kind: str) -> Cursor | None:
        """Return the cursor in `token`; None for the first page. Raises Problem 400."""
        return None if token is None else self._codec.decode(token, kind=kind)

    def key_after(self, token: str | None, kind: str) -> Any:
        """Return the only key of a list that is sorted by one column; None for the first page."""
        cursor = self.decode(token, kind)
        return None if cursor is None else cursor.after[0]

    def encode(
        self,
        kind: str,
        keys: tuple[Key, ...] | None,
        evaluated_at: datetime | None = None,
        source: str = "",
    ) -> str | None:
        """Return the cursor after the item with `keys`; None when `keys` is None (no next page)."""
        if keys is None:
            return None
        return self._codec.encode(Cursor(kind, evaluated_at or self._clock.now(), keys, source))


def cut_page(rows: Sequence[RowT], limit: int) -> tuple[Sequence[RowT], RowT | None]:
    """Return the first `limit` rows, and the last of these if more rows follow, else None.

    Ask the store for `limit + 1` rows.
    """
    return rows[:limit], rows[limit - 1] if len(rows) > limit else None
