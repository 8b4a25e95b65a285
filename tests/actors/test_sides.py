"""Which device of the legacy system is which of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actors.guardrails import measure_ages
from actors.sides import DevicePair, pair_devices
from domain.guardrails import DeviceAge
from domain.parity import DeviceView, ShownValue
from ports.legacy import LegacyValues, UnfitItem
from ports.parity import CoreView
from tests.actors.instants import at

if TYPE_CHECKING:
    from collections.abc import Mapping

NEVER = DeviceView({}, None)
HEARD = DeviceView({}, at(0))
NOT_READABLE = DeviceView({}, None, is_readable=False)


def core(device_id: str, external_id: str = "", **rest: Any) -> CoreView:
    plain = CoreView(device_id, "steady", external_id or f"x-{device_id}", "v-1", 360.0, NEVER)
    return plain._replace(**rest)


def answer(
    views: Mapping[str, DeviceView] | None = None,
    *unfit: UnfitItem,
    by_external_id: Mapping[tuple[str, str], DeviceView] | None = None,
) -> LegacyValues:
    return LegacyValues(views or {}, unfit, at(0), len(unfit), by_external_id or {})


def paired(*of_core: CoreView, values: LegacyValues, vins: bool = False) -> list[DevicePair]:
    return pair_devices(of_core, values, {"steady"} if vins else set())


def test_a_device_is_found_by_its_id() -> None:
    one, other = core("bus-1"), core("bus-2")
    found = paired(one, other, values=answer({"bus-2": HEARD}))
    assert found == [DevicePair("bus-1", one, None), DevicePair("bus-2", other, HEARD)]


def test_or_by_its_connection_and_external_id() -> None:
    one, spare = core("bus-1"), core("bus-2", "x-bus-1", provider_id="spare")
    named = {("steady", " x-bus-1 "): HEARD, ("spare", "x-bus-1"): NEVER}
    found = paired(one, spare, values=answer(by_external_id=named))
    assert [pair.legacy for pair in found] == [HEARD, NEVER]


def test_external_ids_are_compared_as_everywhere() -> None:
    one, named = core("bus-1", "VIN1"), {("steady", "vin1"): HEARD}
    values = answer(by_external_id=named)
    assert [pair.legacy for pair in paired(one, values=values, vins=True)] == [HEARD]
    assert [pair.legacy for pair in paired(one, values=values)] == [None, HEARD]


def test_two_items_of_one_device_are_not_readable() -> None:
    named = {("steady", "VIN1"): HEARD, ("steady", "vin1"): NEVER}
    (pair,) = paired(core("bus-1", "VIN1"), values=answer(by_external_id=named), vins=True)
    assert pair.legacy == NOT_READABLE


def test_a_device_unknown_here_is_told_by_its_legacy_name() -> None:
    values = answer({"bus-9": HEARD}, by_external_id={("steady", "unit-8"): HEARD})
    assert paired(values=values) == [
        DevicePair("bus-9", None, HEARD),
        DevicePair("steady/unit-8", None, HEARD),
    ]


def test_an_item_without_a_readable_id_may_be_any_device() -> None:
    nameless = UnfitItem(None, "/values/device_id", "found nothing", b"{}")
    found = paired(core("bus-1"), core("bus-2"), values=answer({"bus-2": HEARD}, nameless))
    assert [pair.legacy for pair in found] == [NOT_READABLE, HEARD]


def test_an_item_that_names_its_device_makes_no_other_unsure() -> None:
    unfit = UnfitItem("bus-2", "/values/signals/soc_percent/value", "is no number", b"{}")
    found = paired(core("bus-1"), core("bus-2"), values=answer({"bus-2": HEARD}, unfit))
    assert [pair.legacy for pair in found] == [None, HEARD]


def test_a_device_of_a_connection_that_is_off_cannot_be_compared() -> None:
    one, other = core("bus-1"), core("bus-2", provider_id="spare")
    values = answer({"bus-1": HEARD, "bus-2": HEARD})
    found = pair_devices([one, other], values, (), off={"spare"})
    assert [pair.legacy for pair in found] == [HEARD, NOT_READABLE]


# --- ages


def aged(here: DeviceView, there: DeviceView | None) -> list[DeviceAge]:
    return measure_ages([DevicePair("bus-1", core("bus-1", view=here), there)], at(1000))


def heard(received: float, observed: float | None = None) -> DeviceView:
    values = {} if observed is None else {"soc_percent": ShownValue(1.0, at(observed))}
    return DeviceView(values, at(received))


def test_ages_are_those_of_devices_that_both_have_heard() -> None:
    assert aged(heard(400), heard(900)) == [DeviceAge(600, 100, 360)]
    assert aged(NEVER, heard(900)) == []
    assert aged(heard(400), NEVER) == []
    assert aged(heard(400), None) == []
    assert aged(heard(400), NOT_READABLE) == []
    assert measure_ages([DevicePair("bus-9", None, heard(900))], at(1000)) == []


def test_a_stamp_of_a_poll_that_brought_nothing_new_is_no_news() -> None:
    """The vehicle is parked: the legacy system asked a moment ago, and observed nothing since."""
    assert aged(heard(400), heard(990, observed=390)) == [DeviceAge(600, 610, 360)]
    assert aged(heard(400), heard(990, observed=995)) == [DeviceAge(600, 10, 360)]


def test_a_clock_that_is_ahead_makes_no_age_below_zero() -> None:
    assert aged(heard(1001), heard(1002)) == [DeviceAge(0, 0, 360)]
