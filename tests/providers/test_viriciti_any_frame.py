"""Whatever a ViriCiti frame holds, it is read, ignored or malformed."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from domain.position import POSITION
from domain.signals import CATALOGUE, InvalidValue, check_value
from providers.viriciti.wire import LABELS, interpret
from tests.providers.viriciti_shapes import frame, is_dumpable, json_values

if TYPE_CHECKING:
    from ports.providers import FrameVerdict


@given(st.binary() | st.text())
def test_no_bytes_and_no_text_make_it_raise(raw: str | bytes) -> None:
    interpret(raw)


@given(json_values)
def test_no_json_makes_it_raise(value: Any) -> None:
    _assert_sound(
        interpret(orjson.dumps(value, default=str) if is_dumpable(value) else repr(value))
    )


@given(
    st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("vid", "label", "time", "value", "type"), json_values)
    )
)
def test_no_payload_makes_it_raise(payload: dict[str, Any]) -> None:
    for message in ({"type": "vehicles", "payload": payload}, payload):
        if is_dumpable(message):
            _assert_sound(interpret(orjson.dumps(message)))


@given(
    st.sampled_from(sorted(LABELS)),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**63), 2**64 - 1),
)
def test_every_reading_is_of_the_catalogue_and_of_its_type(
    label: str, time: int, value: float
) -> None:
    _assert_sound(
        interpret(
            frame(label=label, time=time, value=value if label != "gps" else f"{value}|{value}")
        )
    )


def _assert_sound(verdict: FrameVerdict) -> None:
    """Assert exactly one of readings, ignored and malformed, and values of their signals' types."""
    assert [
        bool(verdict.readings),
        verdict.ignored is not None,
        verdict.malformed is not None,
    ].count(True) == 1
    for reading in verdict.readings:
        checked = check_value(reading.signal, reading.value)
        assert reading.signal in {*CATALOGUE, POSITION}
        assert reading.observed_at.tzinfo is UTC
        if isinstance(checked, InvalidValue):
            assert any(word in checked.why for word in ("below", "above", "not available"))
