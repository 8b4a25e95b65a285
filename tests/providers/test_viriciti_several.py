"""Several ViriCiti data points in one frame: each is judged by itself, also if one is damaged."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from domain.model import Reading
from ports.providers import FrameVerdict
from providers.viriciti.wire import LIMITS, MAX_LINES, interpret
from tests.providers.viriciti_shapes import AT, point

GOOD, BAD = point(vid="a"), point(vid="b", time="now")
READ = FrameVerdict("a", (Reading("soc_percent", 88.5, AT),))
REFUSED = FrameVerdict("b", (), malformed="time is not an instant", signal="soc_percent")


def _typed(one: object) -> dict[str, Any]:
    return {"type": "vehicles", "payload": one}


@pytest.mark.parametrize(
    "raw",
    [
        orjson.dumps([_typed(GOOD), _typed(BAD)]),
        orjson.dumps([GOOD, BAD]),
        orjson.dumps(_typed([GOOD, BAD])),
        orjson.dumps(_typed(orjson.dumps([GOOD, BAD]).decode())),
        orjson.dumps(_typed(GOOD)) + b"\n" + orjson.dumps(_typed(BAD)) + b"\r\n",
    ],
)
def test_each_data_point_of_a_frame_is_judged_by_itself(raw: bytes) -> None:
    verdict = FrameVerdict(None, (), malformed=REFUSED.malformed, parts=(READ, REFUSED))
    assert interpret(raw) == interpret(raw.decode()) == verdict


@pytest.mark.parametrize("value", [b"NaN", b"nan", b"", b'8"8', b'"M\xfcnchen"', b'"\\ud800"'])
@pytest.mark.parametrize("form", [b"[%b,%b]", b'{"type":"vehicles","payload":[%b,%b]}', b"%b\n%b"])
def test_damage_in_one_data_point_costs_that_one(form: bytes, value: bytes) -> None:
    good, bad = orjson.dumps(GOOD), orjson.dumps(GOOD | {"vid": "b"}).replace(b"88.5", value)
    for raw in (form % (good, bad), form % (bad, good)):
        parts = set(interpret(raw).parts)
        assert parts == {READ, FrameVerdict("b", (), malformed="not JSON", signal="soc_percent")}


def test_a_frame_with_too_much_damage_is_not_read() -> None:
    """Every other stream waits for the reading of one frame."""
    good, bad = orjson.dumps(GOOD), orjson.dumps(BAD).replace(b"88.5", b"nan")
    for raw in (
        b"[" + good + (b"," + bad) * (LIMITS.damaged + 1) + b"]",
        (bad + b"\n") * MAX_LINES + good,
    ):
        assert interpret(raw) == FrameVerdict(None, (), malformed="not JSON", signal="soc_percent")
