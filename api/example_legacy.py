"""The values of the examples of answers that a legacy system has a part in."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

UNAVAILABLE: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "workspace_id": "harbour",
        "reason": "legacy-unreachable",
        "detail": "the legacy system answered 503",
    }
)
# By slug, as in api/example_values.py.
LEGACY_PROBLEMS: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "legacy-missing": {
            "detail": "The workspace has no legacy system to read from: configure `legacy` at "
            "`…/cutover`, or leave out `read_owner`."
        },
        "legacy-unreachable": {
            "detail": "The legacy system answered 503. Core's own values are at `?read_owner=core`."
        },
        "legacy-unfit": {
            "detail": "The legacy system's answer does not fit: /values/items (data.state) found "
            "nothing where a list of items must be. Core's own values are at `?read_owner=core`.",
            "expression": "data.state",
        },
    }
)
