"""A picture of every page on a phone, a desk and a wall.

`make pictures` writes them to docs/pages/. Otherwise they go to the folder of the test, so that
each run shows that they can be made, and are small.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.browser.every_page import DESK, PHONE, WALL, every, show
from tests.browser.watching import watched_page

if TYPE_CHECKING:
    from collections.abc import Mapping

    from playwright.sync_api import Browser

    from api.pages.page import PageRoute
    from tests.browser.service import Service

SIZES: Final = {PHONE: 844, DESK: 800, WALL: 1080}
MAX_BYTES: Final = 150_000
COLOURS: Final = 128
_SCREENS_HIGH: Final = 2  # a longer page is cut


@every
@pytest.mark.parametrize("width", SIZES)
def test_a_page_makes_a_small_picture(
    browser: Browser,
    service: Service,
    route: PageRoute,
    width: int,
    lively: Mapping[str, str],
    cookies: list[Any],
    tmp_path: Path,
) -> None:
    folder = Path(os.environ.get("LASTHEARD_PICTURES") or tmp_path)
    height = SIZES[width]
    with watched_page(browser, service.address, width=width, height=height) as (page, _):
        show(page, route, lively, cookies)
        page.wait_for_timeout(300)  # scripts have brought ages and zones up to date
        long = page.evaluate("document.documentElement.scrollHeight")
        shown = {"x": 0, "y": 0, "width": width, "height": min(long, _SCREENS_HIGH * height)}
        taken = page.screenshot(full_page=True, clip=shown)  # type: ignore[arg-type,unused-ignore]
    file = folder / f"{route.name.removeprefix('show_')}-{width}.png"
    file.write_bytes(shrink(taken))
    assert file.stat().st_size <= MAX_BYTES


def shrink(picture: bytes) -> bytes:
    """Return a PNG of few colours: a page has few."""
    from PIL import Image

    written = io.BytesIO()
    Image.open(io.BytesIO(picture)).convert("RGB").quantize(COLOURS).save(
        written, format="PNG", optimize=True
    )
    return written.getvalue()
