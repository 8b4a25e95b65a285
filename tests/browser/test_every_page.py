"""Every page in a browser: no complaint, no serious barrier, no sideways scrolling, and a picture.

The list of pages is the table of the pages themselves, so a new page is covered.
"""

from __future__ import annotations

import importlib.resources
import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.browser.every_page import every, show
from tests.browser.pictures import write_picture
from tests.browser.watching import watched_page

if TYPE_CHECKING:
    from collections.abc import Mapping

    from playwright.sync_api import Browser, Page

    from api.pages.page import PageRoute
    from tests.browser.service import Service

# Width, height and theme: a phone, a desk, and a wall.
SCREENS: Final = [
    (390, 844, "light"),
    (1280, 800, "light"),
    (1280, 800, "dark"),
    (1920, 1080, "light"),
]
SERIOUS: Final = ("serious", "critical")


@every
@pytest.mark.parametrize(("width", "height", "theme"), SCREENS)
def test_a_page_fits_its_screen_and_hinders_nobody(
    browser: Browser,
    service: Service,
    route: PageRoute,
    width: int,
    height: int,
    theme: str,
    lively: Mapping[str, str],
    cookies: list[Any],
    tmp_path: Path,
) -> None:
    folder = Path(os.environ.get("LASTHEARD_PICTURES") or tmp_path)
    screen = watched_page(browser, service.address, width=width, height=height, theme=theme)
    with screen as (page, watch):
        show(page, route, lively, cookies)
        page.wait_for_load_state("load")
        write_picture(page, folder / _name(route, width, theme))
        assert page.locator("h1").count() == 1
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert find_barriers(page) == []
        assert watch.complaints == []


def _name(route: PageRoute, width: int, theme: str) -> str:
    page = route.name.removeprefix("show_").replace("_", "-")
    return f"{page}-{width}.png" if theme == "light" else f"{page}-{width}-{theme}.png"


def find_barriers(page: Page) -> list[str]:
    """Return what axe finds serious or critical on the page, with the places."""
    page.evaluate(_axe())  # evaluated: the policy of the pages refuses an added script
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{each['impact']} {each['id']}: {node['target']} {node['failureSummary']}"
        for each in found["violations"]
        if each["impact"] in SERIOUS
        for node in each["nodes"][:5]
    ]


@cache
def _axe() -> str:
    return (importlib.resources.files("axe_playwright_python") / "axe.min.js").read_text()
