"""Pictures of pages: small files, of their first MAX_HEIGHT pixels.

`make pictures` writes them to docs/pages/. Otherwise they go to the folder of the test, so that
each run shows that they can be made.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

MAX_BYTES: Final = 150_000
COLOURS: Final = 128
MAX_HEIGHT: Final = 1600  # a longer page is cut


def write_picture(page: Page, file: Path) -> None:
    """Write what the page looks like now. Fails if the file is not small."""
    size = page.viewport_size
    assert size is not None
    long = page.evaluate("document.documentElement.scrollHeight")
    height = min(long, MAX_HEIGHT)
    taken = page.screenshot(
        full_page=True, clip={"x": 0, "y": 0, "width": size["width"], "height": height}
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(_shrink(taken))
    assert file.stat().st_size <= MAX_BYTES, file


def _shrink(picture: bytes) -> bytes:
    """Return a PNG of few colours: a page has few."""
    from PIL import Image

    written = io.BytesIO()
    Image.open(io.BytesIO(picture)).convert("RGB").quantize(COLOURS).save(
        written, format="PNG", optimize=True
    )
    return written.getvalue()
