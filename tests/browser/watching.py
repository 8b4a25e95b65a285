"""A browser page that is watched: what it complains of, asks of other hosts, or pops up.

Owns the flags of Chromium, and what no page of ours may do.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

FLAGS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE_MS: Final = 60_000
_TELL_VIOLATIONS: Final = """
document.addEventListener("securitypolicyviolation", (event) =>
  console.error(`policy violated: ${event.violatedDirective} by ${event.blockedURI}`));
"""


class Watched:
    """What was wrong with the pages of one browser context. `allowed` is left out of it."""

    def __init__(self, page: Page, address: str) -> None:
        self.wrong: list[str] = []
        self.allowed: tuple[str, ...] = ()
        self._host = urlsplit(address).netloc
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.wrong.append(f"uncaught: {error}"))
        page.on("dialog", self._refuse_dialog)
        page.on("request", self._see_request)

    @property
    def complaints(self) -> list[str]:
        return [each for each in self.wrong if not any(text in each for text in self.allowed)]

    def _hear(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            where = message.location.get("url", "")
            self.wrong.append(f"{message.type}: {message.text} at {where}")

    def _refuse_dialog(self, dialog: Any) -> None:
        self.wrong.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _see_request(self, request: Any) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob", "about") and parts.netloc != self._host:
            self.wrong.append(f"a request to another host: {request.url}")


@contextmanager
def watched_page(
    browser: Browser, address: str, *, width: int = 1280, height: int = 800, theme: str = "light"
) -> Iterator[tuple[Page, Watched]]:
    """Open an empty page of a new context during the block: no cookie, this size and theme."""
    options: dict[str, Any] = {
        "viewport": {"width": width, "height": height},
        "color_scheme": theme,
        "base_url": address,
        "reduced_motion": "reduce",
        "timezone_id": "Europe/Berlin",
        "locale": "en-GB",
    }
    context = browser.new_context(**options)
    context.set_default_timeout(PATIENCE_MS)
    context.add_init_script(_TELL_VIOLATIONS)
    try:
        page = context.new_page()
        yield page, Watched(page, address)
    finally:
        context.close()
