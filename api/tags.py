"""The tags of devices: the customer's own labels, such as a depot or a line.

Owns what a tag is, in a body, in a query, in a fleet file and in the cell of a CSV. A device's tags
are a set: they are stored sorted, each once.
"""

import re
import unicodedata
from collections.abc import Iterable
from typing import Annotated

from pydantic import AfterValidator, Field

MAX_TAGS = 20
# It separates the tags of one cell. No column of a CSV is separated by it, and no formula begins
# with it.
SEPARATOR = "|"
_PATTERN = r"^[^\x00-\x1f\x7f|]{1,64}$"
_TAG = re.compile(_PATTERN)


def _read_tag(text: str) -> str:
    """Return the tag without spaces at its ends, composed, so that equal looks are equal text."""
    tag = unicodedata.normalize("NFC", text).strip()
    if _TAG.fullmatch(tag) is None:
        raise ValueError(
            f"a tag has 1 to 64 characters, none of them {SEPARATOR} or a control character: "
            "write it so, or remove it"
        )
    return tag


def _to_set(tags: list[str]) -> list[str]:
    return sorted(set(tags))


Tag = Annotated[
    str,
    AfterValidator(_read_tag),
    Field(json_schema_extra={"pattern": _PATTERN, "minLength": 1, "maxLength": 64}),
]
Tags = Annotated[list[Tag], Field(max_length=MAX_TAGS), AfterValidator(_to_set)]
# The query parameter `tag` of a list.
TagFilter = Annotated[Tag | None, Field(description="only devices with this tag, to the letter")]


def to_cell(tags: Iterable[str]) -> str:
    return SEPARATOR.join(tags)


def of_cell(cell: str) -> list[str]:
    """Return the tags of a cell, not judged yet. An empty cell has none."""
    return cell.split(SEPARATOR) if cell else []
