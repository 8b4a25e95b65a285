"""ViriCiti's answers and forwarded messages become pages that account for every record."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.model import FaultClass, Reading
from ports.providers import BadRecord, Page, ProviderFault, Sample
from providers.samples import MAX_SAMPLES
from providers.viriciti.answers import (
    MAX_UNASKED,
    NO_LABEL,
    interpret_message,
    interpret_state,
)
from providers.viriciti.wire import interpret
from tests.providers.viriciti_shapes import (
    AT,
    MS,
    frame,
    is_dumpable,
    json_values,
    nested,
    point,
)


def test_a_state_answer_is_one_sample_for_each_vehicle_with_news() -> None:
    body = {
        "bus_2": {"soc": {"time": MS, "value": 64.2}, "odo": {"time": MS - 1000, "value": 0}},
        "bus_1": {"gps": {"time": MS - 5000, "value": "52.1|5.1"}, "speed": {}, "odo": None},
        "bus_3": {},
    }
    earlier, much_earlier = AT.replace(second=42), AT.replace(second=38)
    assert interpret_state(orjson.dumps(body), ["bus_1", "bus_2", "bus_3", "bus_4"]) == Page(
        samples=(
            Sample(
                "bus_1",
                (Reading("position", (52.1, 5.1), much_earlier),),
            ),
            Sample("bus_2", (Reading("soc_percent", 64.2, AT), Reading("odometer_km", 0, earlier))),
        ),
        answered=frozenset({"bus_1", "bus_2", "bus_3"}),
        records=6,
        ignored=3,
    )


def test_a_vehicle_missing_from_the_answer_is_not_confirmed() -> None:
    assert interpret_state(b"{}", ["bus_1"]) == Page((), frozenset())


def test_a_vehicle_nobody_asked_for_is_seen_as_unknown() -> None:
    """Its id may be the one that was meant: `BUS_1` for `bus_1`."""
    body = orjson.dumps({"BUS_1": {"soc": {"time": MS, "value": 1}}, "x": {}, "status": "ok"})
    sample = Sample("BUS_1", (Reading("soc_percent", 1, AT),))
    page = Page((sample,), frozenset({"BUS_1"}), records=3, ignored=2)
    assert interpret_state(body, ["bus_1"]) == page


def test_of_vehicles_nobody_asked_for_a_hundred_are_read() -> None:
    """A server that ignores what it was asked for answers with the whole account each time."""
    names = [f"other_{number}" for number in range(MAX_UNASKED + 5)]
    body = orjson.dumps({name: {"soc": {"time": MS, "value": 1}} for name in names})
    page = interpret_state(body, ["bus_1"])
    assert (len(page.samples), page.records, page.ignored) == (MAX_UNASKED, len(names), 5)


@pytest.mark.parametrize("name", [" bus_1", "bus_1\n", "bus_1\x00\x00", "\ufeffbus_1"])
def test_blanks_at_the_ends_of_a_vid_do_not_count(name: str) -> None:
    page = interpret_state(orjson.dumps({name: {}}), ["bus_1"])
    assert page.answered == {"bus_1"}


def test_null_is_nothing_new_and_an_empty_list_an_empty_map() -> None:
    assert interpret_state(b"null", ["bus_1"]) == Page((), frozenset(), is_complete=True)
    assert interpret_state(b"[]", ["bus_1"]) == interpret_state(b"{}", ["bus_1"])


@pytest.mark.parametrize(
    "entry",
    [
        5,
        "x",
        [1],
        {"value": 5},
        {"time": MS},
        {"error": 5},
        {"time": "now", "value": 5},
        {"time": MS, "value": True},
    ],
)
def test_a_bad_label_is_counted_and_the_others_are_kept(entry: object) -> None:
    page = interpret_state(
        orjson.dumps({"bus_1": {"soc": entry, "odo": {"time": MS, "value": 7}}}), ["bus_1"]
    )
    assert page.samples == (Sample("bus_1", (Reading("odometer_km", 7, AT),)),)
    (record,) = page.malformed
    assert (page.malformed_count, record.external_id) == (1, "bus_1")
    assert (record.sample, record.refused_whole) == (
        orjson.dumps({"bus_1": {"soc": entry}}),
        False,
    )


@pytest.mark.parametrize("labels", [5, True, [1]])
def test_labels_that_are_no_object_are_refused(labels: object) -> None:
    body = orjson.dumps({"bus_1": labels})
    page = interpret_state(body, ["bus_1"])
    record = BadRecord("bus_1", "the vehicle's labels are not an object", body)
    assert (page.malformed_count, page.malformed) == (1, (record,))
    assert page.answered == {"bus_1"}


@pytest.mark.parametrize(
    "labels", [{"data": {"soc": {"time": MS, "value": 1}}}, {"Error": "gone"}, {"x": [1]}]
)
def test_an_object_without_any_label_is_refused(labels: object) -> None:
    """Its data may stand in a place that nobody knows: the vehicle is not silent."""
    page = interpret_state(orjson.dumps({"bus_1": labels}), ["bus_1"])
    (record,) = page.malformed
    assert (record.external_id, record.detail, record.refused_whole) == ("bus_1", NO_LABEL, True)


@pytest.mark.parametrize("labels", [{"doors": {"time": MS, "value": 1}}, {"doors": {}, "x": None}])
def test_labels_that_nobody_knows_are_no_news(labels: object) -> None:
    page = interpret_state(orjson.dumps({"bus_1": labels}), ["bus_1"])
    assert (set(page.answered), page.malformed) == ({"bus_1"}, ())


def test_an_unreadable_position_is_refused_under_both_names() -> None:
    body = orjson.dumps({"bus_1": {"gps": {"time": MS, "value": "52.1"}}})
    (record,) = interpret_state(body, ["bus_1"]).malformed
    assert record.signals == ("latitude_deg", "longitude_deg")


def test_a_vehicle_of_which_every_label_is_bad_is_refused_whole() -> None:
    late = {"time": "now", "value": 5}
    page = interpret_state(
        orjson.dumps({"bus_1": {"soc": late, "odo": late, "gps": {}}}), ["bus_1"]
    )
    assert [(bad.external_id, bad.signals, bad.refused_whole) for bad in page.malformed] == [
        ("bus_1", ("soc_percent",), True),
        ("bus_1", ("odometer_km",), True),
    ]
    assert page.answered == {"bus_1"}


@pytest.mark.parametrize("labels", [None, {}, [], {"soc": None}, {"soc": {}}, {"soc": []}])
def test_a_vehicle_without_news_was_answered_about(labels: object) -> None:
    page = interpret_state(orjson.dumps({"bus_1": labels}), ["bus_1", "bus_2"])
    assert page == Page((), frozenset({"bus_1"}), records=1, ignored=1)


def test_samples_of_malformed_records_are_few_and_whole() -> None:
    """Cut here, one could hold half a secret: actors/scrubbing.py cuts them."""
    vids = [f"bus_{number}" for number in range(MAX_SAMPLES + 5)]
    page = interpret_state(orjson.dumps(dict.fromkeys(vids, "x" * 10_000)), vids)
    assert page.malformed_count == MAX_SAMPLES + 5
    sizes = [len(vid) + 10_007 for vid in vids[:MAX_SAMPLES]]
    assert [len(record.sample) for record in page.malformed] == [*sizes, *[0] * 5]


@pytest.mark.parametrize("levels", [300, 1000])
def test_a_record_nested_too_deeply_costs_no_other_record(
    levels: int,
) -> None:
    deep = b'{"time":%d,"value":%b}' % (MS, nested(levels, 1))
    body = b'{"bus_1":{"soc":%b,"odo":{"time":%d,"value":7}}}' % (deep, MS)
    page = interpret_state(body, ["bus_1"])
    assert page.samples == (Sample("bus_1", (Reading("odometer_km", 7, AT),)),)
    assert page.malformed_count == 1
    assert page.malformed[0].sample.startswith(
        b"{'bus_1': {'soc': {'time': %d, 'value': {'a': {'a': " % MS
    )


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b"false", b'""', b"\xff"])
def test_an_answer_that_is_no_object_is_a_protocol_fault(body: bytes) -> None:
    with pytest.raises(ProviderFault) as caught:
        interpret_state(body, ["bus_1"])
    assert (caught.value.fault, caught.value.unreadable) == (FaultClass.PROTOCOL, True)


@given(
    st.dictionaries(
        st.sampled_from(["bus_1", "bus_2", "?"]),
        st.dictionaries(st.text(), json_values) | json_values,
    )
)
def test_every_record_of_a_state_answer_is_accounted_for(body: dict[str, Any]) -> None:
    if not is_dumpable(body):
        return
    try:
        page = interpret_state(orjson.dumps(body), ["bus_1", "bus_2"])
    except ProviderFault:
        assert body.keys() == {"?"}
        return
    assert page.ignored + page.malformed_count <= page.records
    assert bool(page.samples) == (page.ignored + page.malformed_count < page.records)


def test_a_forwarded_frame_is_read_like_one_of_ours() -> None:
    sample = Sample("bus_004", interpret(frame()).readings)
    assert interpret_message(frame()) == Page((sample,), frozenset({"bus_004"}), records=1)


def test_a_forwarded_state_answer_is_read_like_one_of_ours() -> None:
    body = orjson.dumps({"bus_1": {"soc": {"time": MS, "value": 64.2}}, "bus_2": {}})
    assert interpret_message(body) == interpret_state(body, ["bus_1", "bus_2"])


def test_a_forwarded_echo_is_ignored_and_bad_data_counted() -> None:
    assert interpret_message(b'{"vehicles":{}}') == Page((), frozenset(), records=1, ignored=1)
    bad = frame(value="1,234")
    assert interpret_message(bad) == Page(
        (),
        frozenset(),
        records=1,
        malformed=(BadRecord("bus_004", "value is not a number", bad, ("soc_percent",)),),
        malformed_count=1,
    )


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        (b'{"type":"error","payload":"invalid API key"}', FaultClass.CREDENTIALS),
        (b'{"type":"vehicles"}', FaultClass.PROTOCOL),
        (b'{"bus_1":5}', FaultClass.PROTOCOL),
    ],
)
def test_a_forwarded_message_that_says_nothing_is_a_fault(
    message: bytes, fault: FaultClass
) -> None:
    with pytest.raises(ProviderFault) as caught:
        interpret_message(message)
    assert caught.value.fault is fault


@pytest.mark.parametrize(
    "labels",
    [
        b'{"soc":{"time":1,"value":nan}}',
        b'{"soc":{"time":1,"value":}}',
        b'{"soc":{"time":1,"value":6"1}}',
        b'{"soc":{"time":1,"value":1,}}',
        b'{"cabin":{"time":1,"value":nan}}',
        b"nan",
        b"5",
        b"true",
        b"[1]",
    ],
)
@pytest.mark.parametrize("form", [b'{"bus_1":%b,"bus_2":%b}', b'{ "bus_2" : %b , "bus_1": %b }'])
def test_one_vehicle_of_a_forwarded_state_costs_itself(form: bytes, labels: bytes) -> None:
    good = orjson.dumps({"soc": {"time": MS, "value": 64.2}})
    is_first = form.startswith(b'{"bus_1')
    page = interpret_message(form % ((labels, good) if is_first else (good, labels)))
    assert page.samples == (Sample("bus_2", (Reading("soc_percent", 64.2, AT),)),)
    assert [record.external_id for record in page.malformed] == ["bus_1"]


def test_a_forwarded_state_that_is_not_read_names_its_vehicles() -> None:
    page = interpret_message(b'{"bus_1":{"soc":{"time":1,"value":nan}}}')
    assert (page.samples, page.answered, page.records) == ((), frozenset(), 1)
    assert [record.external_id for record in page.malformed] == ["bus_1"]


def test_a_forwarded_error_names_its_vehicle_and_refuses_no_data() -> None:
    page = interpret_message(b'{"type":"error","payload":{"vid":"bus_1","message":"no data"}}')
    (record,) = page.malformed
    assert (record.external_id, record.refused_whole, set(page.errors)) == (
        "bus_1",
        False,
        {"bus_1"},
    )


def test_an_error_beside_forwarded_vehicles_is_none_of_them() -> None:
    body = {"error": {"code": 504}, "bus_1": {"soc": {"time": MS, "value": 64.2}}}
    page = interpret_message(orjson.dumps(body))
    assert page.answered == {"bus_1"}
    assert page.malformed == ()


def test_each_point_of_a_forwarded_frame_is_judged_by_itself() -> None:
    good, bad = point(vid="bus_1"), point(vid="bus_2", time="now")
    page = interpret_message(orjson.dumps([good, bad]))
    assert page.samples == (Sample("bus_1", (Reading("soc_percent", 88.5, AT),)),)
    assert [(one.external_id, one.signals) for one in page.malformed] == [
        ("bus_2", ("soc_percent",))
    ]
    assert page.records == 2


def test_a_vehicle_whose_name_cannot_be_stored_is_malformed() -> None:
    page = interpret_message(orjson.dumps({"b\0s": {"soc": {"time": MS, "value": 1}}}))
    assert (page.samples, page.answered, page.malformed_count) == ((), frozenset(), 1)


@given(json_values)
def test_a_forwarded_message_is_a_page_or_a_fault(value: Any) -> None:
    if not is_dumpable(value):
        return
    try:
        page = interpret_message(orjson.dumps(value))
    except ProviderFault:
        return
    assert page.ignored + page.malformed_count <= page.records
