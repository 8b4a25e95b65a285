"""Every page of the running service, for tests that look at all of them.

Owns the address of each: of a simulated fleet in which something has happened.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.browser.service import CUTOVER
from tests.pages.every_page import address_of, every_page

if TYPE_CHECKING:
    from collections.abc import Mapping

    from playwright.sync_api import Page

    from api.pages.page import PageRoute
    from tests.browser.service import Service

LIVELY: Final = "harbour"
SILENCE_SECONDS: Final = 120.0
_LOOK_SECONDS: Final = 0.5
_FOR_GOOD_SECONDS: Final = 35.0  # another vehicle reports every 20 s or so, and then not in time
_CUTOVER_PAGES: Final = "/workspaces/<workspace_id>/admin"
_QUERIES: Final = {"show_cutover_change": "?read_owner=core"}  # pages that need one


every: Final = pytest.mark.parametrize("route", every_page(), ids=lambda route: route.name)


def wait_until_lively(service: Service) -> Mapping[str, str]:
    """Wait for a silent device in a simulated fleet. Return the parts of the pages' addresses."""
    until = time.monotonic() + SILENCE_SECONDS
    while time.monotonic() < until:
        stale = service.ask("GET", f"/workspaces/{LIVELY}/health?state=stale")["items"]
        found = [each for each in stale if each["freshness_age_seconds"] > _FOR_GOOD_SECONDS]
        if found:
            return {"workspace_id": LIVELY, "device_id": found[0]["device_id"]}
        time.sleep(_LOOK_SECONDS)
    raise AssertionError(f"no device of {LIVELY} fell silent within {SILENCE_SECONDS:g} s")


def show(page: Page, route: PageRoute, parts: Mapping[str, str], cookies: list[Any]) -> None:
    """Open a page as its viewer does: signed in, but for a page that is open to everyone."""
    if route.scope is not None:
        page.context.add_cookies(cookies)
    if route.path.startswith(_CUTOVER_PAGES) and parts["workspace_id"] == LIVELY:
        parts = {**parts, "workspace_id": CUTOVER}
    answer = page.goto(address_of(route.path, parts) + _QUERIES.get(route.name, ""))
    assert answer is not None
    assert answer.status == 200, page.inner_text("main")
