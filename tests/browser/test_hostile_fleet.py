"""A hostile fleet in a browser: no dialog, no broken policy, nothing from another host."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from tests.browser.every_page import every, show
from tests.browser.watching import watched_page
from tests.pages.hostile import EVIL, PARTS, configure_hostile_fleet
from tests.processes.instances import ask

if TYPE_CHECKING:
    from collections.abc import Mapping

    from playwright.sync_api import Browser, Page

    from api.pages.page import PageRoute
    from tests.browser.service import Service


@pytest.fixture(scope="module")
def hostile(service: Service) -> Mapping[str, str]:
    """The hostile fleet, stored in the service. Returns the ids in its pages' addresses."""

    async def ask_service(method: str, path: str, body: Any, headers: Mapping[str, str]) -> Any:
        return await ask(service.shard, method, path, body, **headers)

    service.call(configure_hostile_fleet, ask_service, datetime.now(UTC))
    return PARTS


@every
def test_a_browser_takes_no_text_from_outside_for_more(
    browser: Browser,
    service: Service,
    route: PageRoute,
    hostile: Mapping[str, str],
    cookies: list[Any],
) -> None:
    with watched_page(browser, service.address) as (page, watch):
        show(page, route, hostile, cookies)
        page.wait_for_load_state("load")
        assert find_foreign(page) == []
        assert watch.complaints == []


@pytest.mark.parametrize("key", [f"lh_{quote(EVIL)}", "lh_%E0%A4", "%"])
def test_a_key_in_an_address_is_text_too(browser: Browser, service: Service, key: str) -> None:
    with watched_page(browser, service.address) as (page, watch):
        watch.allowed = ("status of 401",)  # the key is sent, and is wrong
        page.goto(f"/sign-in#{key}")
        page.wait_for_load_state("networkidle")
        assert find_foreign(page) == []
        assert watch.complaints == []


def find_foreign(page: Page) -> list[str]:
    """Return elements that no page of ours has."""
    found = page.evaluate(
        """() => [...document.querySelectorAll(
            "x-evil, [x-evil], img, iframe, script:not([src^='/assets/']), [style], [onerror]"
        )].map((each) => each.outerHTML.slice(0, 200))"""
    )
    return list(found)
