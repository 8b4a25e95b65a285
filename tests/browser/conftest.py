"""One Chromium and one running service for all browser tests.

Every test is marked `browser`. It is skipped where Playwright or Chromium are not, with the
remedy; LASTHEARD_NO_SKIP=1 turns that into a failure.
"""

from __future__ import annotations

import asyncio
import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.every_page import wait_until_lively
from tests.browser.service import running_service
from tests.browser.watching import FLAGS, watched_page
from tests.conftest import database_copied
from tests.debian import find_program

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from playwright.sync_api import Browser, Page

    from tests.browser.service import Service
    from tests.browser.watching import Watched

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(_HERE):
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.timeout(300))


@pytest.fixture(scope="session")
def chromium() -> Path:
    """The browser's program. Comes first, so that nothing is started for a test that is skipped."""
    if find_spec("playwright") is None:
        remedy = "Playwright is not installed: make test-browser installs it"
        if os.environ.get("LASTHEARD_NO_SKIP") == "1":
            pytest.fail(remedy)
        pytest.skip(remedy)
    return find_program("chromium", "chromium")


@pytest.fixture(scope="session")
def service(
    chromium: Path,
    postgres_server: str,
    postgres_template: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("credentials")
    with (
        database_copied(postgres_server, postgres_template) as dsn,
        running_service(dsn, folder) as running,
    ):
        yield running


@pytest.fixture(scope="session")
def browser(chromium: Path, service: Service) -> Iterator[Browser]:
    """Chromium. It depends on the service, because both need loops and this one is in the way."""
    from playwright.sync_api import sync_playwright

    # Playwright needs the loop of asyncio itself; trio-asyncio gives another by default.
    asyncio.set_event_loop_policy(asyncio.DefaultEventLoopPolicy())
    try:
        with sync_playwright() as playwright:
            launched = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
            yield launched
            launched.close()
    finally:
        asyncio.set_event_loop_policy(None)


@pytest.fixture(scope="session")
def cookies(browser: Browser, service: Service) -> list[Any]:
    """The cookie of one sign-in with a key for everything, for pages of other contexts."""
    with watched_page(browser, service.address) as (page, _):
        page.goto(service.sign_in_address)
        page.wait_for_url("**/")
        return list(page.context.cookies())


@pytest.fixture(scope="session")
def lively(service: Service) -> Mapping[str, str]:
    """The ids in the addresses of pages, when something has happened there."""
    return wait_until_lively(service)


@pytest.fixture
def watched(browser: Browser, service: Service) -> Iterator[tuple[Page, Watched]]:
    """A page that nobody is signed in on. The test fails if it complains of anything."""
    with watched_page(browser, service.address) as (page, watch):
        yield page, watch
        assert watch.complaints == []


@pytest.fixture
def stranger(watched: tuple[Page, Any]) -> Page:
    """The page of nobody: no cookie."""
    return watched[0]


@pytest.fixture
def page(stranger: Page, service: Service) -> Page:
    """A page that is signed in with a key for everything, and shows the fleet."""
    stranger.goto(service.sign_in_address)
    stranger.wait_for_url("**/")
    return stranger
