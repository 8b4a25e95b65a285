"""Run `lastheard` from another checkout, and write down which of its files run when.

    python tests/processes/traced.py CHECKOUT FILE serve

FILE gets a line for each call of a function of the checkout, and for each time a coroutine goes on:
the monotonic clock in nanoseconds, which all processes of a machine share, and the module's path.
An empty FILE traces nothing. Imports nothing of this checkout, only of the other.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import FrameType


def trace(root: str, out: Path) -> None:
    """Write calls to `out` from now on. Only those of this thread: the event loop's."""
    prefix = root + "/"
    # Line by line, because the process may be killed.
    lines = out.open("w", encoding="utf-8", buffering=1)

    def note(frame: FrameType, event: str, _argument: Any) -> None:
        name = frame.f_code.co_filename
        # .venv may lie in the checkout.
        if event == "call" and name.startswith(prefix) and name[len(prefix)] != ".":
            lines.write(f"{time.monotonic_ns()} {name[len(prefix) :]}\n")

    sys.setprofile(note)


def drop_unknown_settings(source: str) -> None:
    """Remove settings that the checkout does not know: `lastheard` refuses to start with them."""
    for name in list(os.environ):
        prefix, _, setting = name.partition("LASTHEARD_")
        is_ours = not prefix and setting and not setting.startswith("SECRET_")
        if is_ours and f" {setting.lower()}: " not in source:
            del os.environ[name]


def settings_source(root: Path) -> str:
    """Return the text of all files in which the checkout declares its settings."""
    files = sorted((root / "lastheard").glob("*settings.py"))
    return "".join(file.read_text(encoding="utf-8") for file in files)


def main() -> None:
    checkout, out, *arguments = sys.argv[1:]
    root = str(Path(checkout).resolve())
    # Instead of this file's folder, so that nothing here hides a module of the checkout.
    sys.path[0] = root
    sys.argv = ["lastheard", *arguments]
    drop_unknown_settings(settings_source(Path(root)))
    from lastheard.__main__ import main as command

    if out:
        trace(root, Path(out))
    command()


if __name__ == "__main__":
    main()
