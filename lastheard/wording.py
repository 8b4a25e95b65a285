"""Words that several commands print, and how they are broken into lines."""

from __future__ import annotations

from textwrap import fill


def counted(count: int, noun: str) -> str:
    """Return a number with its noun: `1 device`, `2 devices`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def wrap_lines(text: str, width: int | None) -> str:
    """Return the text with no line wider than `width` columns; None leaves it as it is.

    Lines are broken between words only, so a wider word, such as an address, stays whole.
    """
    if width is None:
        return text
    return "\n".join(_wrap(line, width) for line in text.splitlines())


def _wrap(line: str, width: int) -> str:
    if len(line) <= width:
        return line
    return fill(line, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
