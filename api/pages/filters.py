"""Filters of a list in the address of its page: read from it, and links that change one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from quart import request

if TYPE_CHECKING:
    from collections.abc import Iterable

Pair = tuple[str, str]


def read_filters(names: Iterable[str]) -> list[Pair]:
    """Return the filters that the address has, as a query of the API. Empty ones are left out."""
    return [(name, text) for name in names for text in request.args.getlist(name) if text.strip()]


def link_with(filters: Iterable[Pair], *, path: str | None = None, **changes: str | None) -> str:
    """Return the page's address with some filters changed; None takes one away.

    The list begins anew, so the cursor is left out unless it is named.
    """
    kept = [(name, text) for name, text in filters if name not in changes]
    named = [(name, text) for name, text in changes.items() if text is not None]
    query = urlencode([*kept, *named])
    return (path or request.path) + (f"?{query}" if query else "")
