"""What an id of ours looks like: of a workspace, a provider connection, a device.

Nothing else can be one, so a text that is no id names nothing, and never reaches a query.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

ID_PATTERN = r"^[A-Za-z0-9._:-]{1,64}$"
_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")


def is_id(text: str) -> bool:
    """Return whether the text may be an id of ours. Every such text can be stored."""
    return _ID.fullmatch(text) is not None


def are_ids(texts: Iterable[str]) -> bool:
    """Return whether each of the texts may be an id of ours."""
    return all(map(_ID.fullmatch, texts))
