"""Every page that is declared, with an address of each: tests take new pages from here.

Owns the ids that stand in such an address. A page with a part that has no example is an error.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, cast

from api.pages.app import declare_pages
from api.pages.contract import path_of
from api.pages.page import Pages

if TYPE_CHECKING:
    from collections.abc import Mapping

    from api.pages.page import PageRoute

QUERIES: Final = {"show_cutover_change": "?read_owner=legacy"}  # of pages that need one
_PART = re.compile(r"/<(?:\w+:)?(\w+)>")


class _NoServices:
    """Stands for services while pages are declared. Whatever is taken from it is the same."""

    min_poll_interval_seconds = 60  # the settings page computes with it

    def __getattr__(self, name: str) -> Any:
        return self


def every_route() -> list[PageRoute]:
    """Return all that is declared: pages, actions, downloads, streams and assets."""
    nothing: Any = _NoServices()
    return list(declare_pages(Pages(nothing, nothing, nothing)))


def every_page() -> list[PageRoute]:
    """Return the pages with a template."""
    return [route for route in every_route() if route.template is not None]


def address_of(path: str, parts: Mapping[str, str]) -> str:
    """Return an address of a route, with these ids in it. Raises KeyError for a part without."""
    return _PART.sub(lambda found: path_of(parts[cast("str", found[1])]), path)
