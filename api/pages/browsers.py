"""Browsers in words, for the list of sign-ins: `Firefox on Windows`.

Owns the few names that people know. What a browser says of itself is a claim: it decides nothing.
"""

from __future__ import annotations

from typing import Final

UNKNOWN: Final = "a browser that is not known"
# The first that fits: most browsers also claim to be those below them.
_BROWSERS: Final = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("CriOS/", "Chrome"),
    ("Safari/", "Safari"),
    ("curl/", "curl"),
)
_SYSTEMS: Final = (
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
)


def name_browser(user_agent: str | None) -> str:
    """Return the browser and its system as words, from the header User-Agent."""
    browser = _find(_BROWSERS, user_agent or "")
    system = _find(_SYSTEMS, user_agent or "")
    if browser is None:
        return UNKNOWN
    return browser if system is None else f"{browser} on {system}"


def _find(names: tuple[tuple[str, str], ...], text: str) -> str | None:
    return next((name for mark, name in names if mark in text), None)
