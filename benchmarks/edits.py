"""One edit of one file in a copy of the product: how every tool here puts a fault into it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path


class DoesNotApply(Exception):
    """The place of an edit was not found exactly once."""


class Edit(NamedTuple):
    """`pattern` (with (?s) and (?m)) is replaced in `file`, at exactly one place."""

    file: str
    pattern: str
    replacement: str

    def apply(self, folder: Path, name: str) -> None:
        """Edit the file below `folder`. Raises DoesNotApply, with the name of the mutant."""
        path = folder / self.file
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        edited, places = re.subn(
            self.pattern, self.replacement, text, flags=re.DOTALL | re.MULTILINE
        )
        if places != 1:
            raise DoesNotApply(
                f"mutant '{name}' does not apply: its place was found {places} times in "
                f"{self.file}, not once. The code has moved; move the edit of the mutant"
            )
        path.write_text(edited, encoding="utf-8")
