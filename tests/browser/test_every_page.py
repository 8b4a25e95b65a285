"""Every page in a browser: no complaint, no serious barrier, no sideways scrolling.

The list of pages is the table of the pages themselves, so a new page is covered.
"""

from __future__ import annotations

import importlib.resources
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.browser.every_page import DESK, PHONE, WALL, every, show
from tests.browser.watching import watched_page

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from playwright.sync_api import Browser, Page

    from api.pages.page import PageRoute
    from tests.browser.service import Service

SERIOUS: Final = ("serious", "critical")


@pytest.fixture
def screen(
    browser: Browser, service: Service, request: pytest.FixtureRequest
) -> Iterator[tuple[Page, int]]:
    """A page of this width and theme, which may complain of nothing, and its width."""
    width, theme = request.param
    with watched_page(browser, service.address, width=width, theme=theme) as (page, watch):
        yield page, width
        assert watch.complaints == []


@every
@pytest.mark.parametrize(
    "screen", [(PHONE, "dark"), (DESK, "light"), (WALL, "light")], indirect=True, ids=str
)
def test_a_page_fits_the_screen_and_nobody_complains(
    screen: tuple[Page, int], route: PageRoute, lively: Mapping[str, str], cookies: list[Any]
) -> None:
    page, width = screen
    show(page, route, lively, cookies)
    assert page.locator("h1").count() == 1
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@every
@pytest.mark.parametrize(
    "screen", [(PHONE, "light"), (DESK, "light"), (DESK, "dark")], indirect=True, ids=str
)
def test_a_page_has_no_serious_barrier(
    screen: tuple[Page, int], route: PageRoute, lively: Mapping[str, str], cookies: list[Any]
) -> None:
    page, _ = screen
    show(page, route, lively, cookies)
    assert find_barriers(page) == []


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
