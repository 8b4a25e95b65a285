"""Data points as ViriCiti writes them, and any other JSON, for the tests of its interpretation."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
from hypothesis import strategies as st

MS = 1_566_411_763_290
AT = datetime(2019, 8, 21, 18, 22, 43, 290_000, tzinfo=UTC)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def point(**changes: Any) -> dict[str, Any]:
    return {"vid": "bus_004", "label": "soc", "time": MS, "value": 88.5} | changes


def frame(**changes: Any) -> bytes:
    return orjson.dumps({"type": "vehicles", "payload": point(**changes)})


def nested(levels: int, value: object) -> bytes:
    """A value under so many levels; orjson writes up to 254 of them and reads up to 1,024."""
    return b'{"a":' * levels + orjson.dumps(value) + b"}" * levels


def is_dumpable(value: Any) -> bool:
    """False for integers beyond 64 bits and lone surrogates."""
    try:
        orjson.dumps(value)
    except (TypeError, ValueError):
        return False
    return True
