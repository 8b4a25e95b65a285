"""One vehicle's damaged bytes in a state answer cost that vehicle's labels, and nothing else."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.model import Reading
from ports.providers import ProviderFault, Sample
from providers.viriciti.answers import interpret_message, interpret_state
from providers.viriciti.damaged import MAX_BYTES
from tests.providers.viriciti_shapes import AT, MS

GOOD = b'{"soc":{"time":%d,"value":60.0}}' % MS
DAMAGE = [
    b"NaN",
    b"-Infinity",
    b"1e400",
    b"-1e999",
    b'"M\xfcller"',
    b'"\\ud800"',
    b'"\xed\xa0\x80"',
    b"9" * 5000,
]


def answer(damage: bytes) -> bytes:
    bad = b'{"soc":{"time":%d,"value":%b},"odo":{"time":%d,"value":7}}' % (MS, damage, MS)
    return b'{"bus_1":%b,"bus_2":%b}' % (bad, GOOD)


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_label_costs_that_label_only(damage: bytes) -> None:
    page = interpret_state(answer(damage), ["bus_1", "bus_2"])
    assert page.samples == (
        Sample("bus_1", (Reading("odometer_km", 7, AT),)),
        Sample("bus_2", (Reading("soc_percent", 60.0, AT),)),
    )
    assert page.answered == {"bus_1", "bus_2"}
    assert [(bad.external_id, bad.signals, bad.refused_whole) for bad in page.malformed] == [
        ("bus_1", ("soc_percent",), False)
    ]


UNREADABLE = [b"nan", b"-inf", b"+61", b"061", b"", b"61,", b"[1", b"[" * 9000]
UNREADABLE += [b'"\\q"', b'"M"u"', b'"M\\"']


@pytest.mark.parametrize("damage", UNREADABLE)
@pytest.mark.parametrize("vids", [("bus_1", "bus_2"), ("bus_2", "bus_1")])
def test_what_no_reader_takes_costs_its_vehicle(damage: bytes, vids: tuple[str, str]) -> None:
    bad = b'"bus_1":{"soc":{"time":%d,"value":%b}}' % (MS, damage)
    members = bad, b'"bus_2":' + GOOD
    body = b"{%b, %b}" % (members if vids[0] == "bus_1" else members[::-1])
    page = interpret_state(body, vids)
    assert page.samples == (Sample("bus_2", (Reading("soc_percent", 60.0, AT),)),)
    assert page.answered == {"bus_1", "bus_2"}
    assert [(record.external_id, record.detail) for record in page.malformed] == [
        ("bus_1", "not JSON")
    ]


def test_an_answer_of_which_nothing_can_be_read_is_a_fault() -> None:
    with pytest.raises(ProviderFault):
        interpret_state(b'{"bus_1":{"soc":nan},"bus_2":<html>}', ["bus_1", "bus_2"])


def test_a_control_character_in_a_text_costs_nothing_else() -> None:
    page = interpret_state(answer(b'"a\x01b"'), ["bus_1", "bus_2"])
    assert [(bad.external_id, bad.detail) for bad in page.malformed] == [
        ("bus_1", "soc: value is not a number")
    ]
    assert len(page.samples) == 2


def test_damage_beside_a_value_is_counted_with_its_vehicle() -> None:
    body = b'{"bus_1":{"soc":{"time":%d,"value":5,"unit":"M\xfc"}},"bus_2":%b}' % (MS, GOOD)
    page = interpret_state(body, ["bus_1", "bus_2"])
    (bad,) = page.malformed
    assert (bad.external_id, bad.detail, bad.refused_whole) == ("bus_1", "soc: not JSON", True)
    assert [sample.external_id for sample in page.samples] == ["bus_2"]


def test_a_byte_order_mark_before_an_answer_costs_nothing() -> None:
    body = answer(b"60.0")
    vids = ["bus_1", "bus_2"]
    assert interpret_state(b"\xef\xbb\xbf" + body, vids) == interpret_state(body, vids)


def test_an_answer_too_large_to_be_read_twice_is_a_fault() -> None:
    body = b'{"bus_1":{"soc":NaN},"x":"%b"}' % (b"x" * MAX_BYTES)
    with pytest.raises(ProviderFault):
        interpret_state(body, ["bus_1"])


def test_damage_nested_deeply_is_a_fault_at_most() -> None:
    body = b'{"bus_1":' + b"[" * 100_000 + b"NaN" + b"]" * 100_000 + b"}"
    with pytest.raises(ProviderFault):
        interpret_state(body, ["bus_1"])


@given(st.sampled_from(DAMAGE), st.binary(max_size=30))
def test_no_bytes_in_one_vehicle_make_it_raise_anything_else(damage: bytes, more: bytes) -> None:
    try:
        page = interpret_state(answer(damage + more), ["bus_1", "bus_2"])
    except ProviderFault:
        return
    assert "bus_2" in {sample.external_id for sample in page.samples}


def test_a_forwarded_answer_with_damage_is_read_like_our_own() -> None:
    body = answer(b"NaN")
    assert interpret_message(body) == interpret_state(body, ["bus_1", "bus_2"])
    assert orjson.loads(answer(b"1"))
