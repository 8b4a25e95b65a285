"""Codes for "not available": no news, counted, and never held against the device."""

from __future__ import annotations

from typing import Any

import pytest

from domain.acceptance import judge
from domain.model import Dropped, Outcome, Reason
from domain.not_available import CODES, with_common_code
from domain.signals import CATALOGUE, InvalidValue, check_value
from tests.domain.fixtures import NOW, ago, fold, reading, update, values_of


@pytest.mark.parametrize(
    ("signal", "code"),
    [
        ("odometer_km", 4294967295 / 1000),
        ("odometer_km", 2147483.647),
        ("odometer_km", 0xFFFFFFFF * 0.005),
        ("odometer_km", 0xFE000000 * 0.005),
        ("odometer_km", 0xFFFFFFFF * 0.125),
        ("total_energy_used_kwh", 4294967295 / 1000),
        ("charging_power_kw", 4294967295 / 1000),
        ("range_km", 4294967295 / 1000),
        ("soc_percent", 100.4),
        ("soc_percent", 101.2),
        ("soc_percent", 102.0),
        ("soc_percent", 0xFF * 0.4),
        ("soc_percent", 0xFFFF * 0.0015625),
        ("speed_kmh", 251),
        ("speed_kmh", 255),
        ("speed_kmh", 255.996),
        ("heading_deg", 511.9921875),
        ("altitude_m", 5691.875),
        ("charging_status", "NOT_AVAILABLE"),
        ("charging_status", "N/A"),
        ("soc_percent", "Not available"),
        ("charging", "null"),
        ("charging_complete_at", "none"),
        ("charging_complete_at", "0001-01-01T00:00:00Z"),
        ("charging_complete_at", "1970-01-01T00:00:00Z"),
        ("charging_complete_at", "9999-12-31T23:59:59Z"),
        ("charging_complete_at", "2255-12-31T23:59:59Z"),
    ],
)
def test_a_code_is_no_news(signal: str, code: float) -> None:
    before: dict[str, Any] = {signal: (50, ago(minutes=5))}
    device = fold(document=before, version=1)

    result = judge(update(reading(signal, code)), device)

    assert (result.outcome, result.reason) == (Outcome.REJECTED, Reason.NOT_AVAILABLE)
    assert {item.reason for item in result.dropped} == {Reason.NOT_AVAILABLE}
    assert values_of(device) == before
    assert (device.last_rejected_at, device.last_outdated_at) == (None, None)


@pytest.mark.parametrize(
    ("signal", "value"),
    [
        ("odometer_km", 0),
        ("odometer_km", 4_294_967),
        ("odometer_km", 2_147_483),
        ("odometer_km", 4_294_967.29),
        ("total_energy_used_kwh", 4_294_968.0),
        ("soc_percent", 0),
        ("soc_percent", 100),
        ("speed_kmh", 0),
        ("speed_kmh", 250),
        ("altitude_m", 5_600),
        ("altitude_m", 0),
        ("heading_deg", 360),
        ("charging_power_kw", 0),
    ],
)
def test_a_value_that_a_vehicle_can_mean_is_taken(signal: str, value: float) -> None:
    assert check_value(signal, value) == value


def test_a_code_beside_news_is_counted_and_the_rest_taken() -> None:
    device = fold(document={"soc_percent": (55, ago(minutes=9))})

    result = judge(update(reading("soc_percent", 102.0), reading("odometer_km", 34567)), device)

    assert result.outcome is Outcome.ACCEPTED
    assert result.dropped == (Dropped("soc_percent", Reason.NOT_AVAILABLE, "not available"),)
    assert values_of(device) == {"soc_percent": (55, ago(minutes=9)), "odometer_km": (34567, NOW)}


def test_a_code_beside_a_bad_value_is_a_refusal() -> None:
    device = fold()
    result = judge(update(reading("soc_percent", 102.0), reading("speed_kmh", -3)), device)
    assert result.reason is Reason.INVALID
    assert device.last_rejection_reason == "invalid"


def test_a_provider_may_have_codes_of_its_own() -> None:
    assert with_common_code("rfms", "altitude_m", 5532) == 5691.875
    assert with_common_code("rfms", "altitude_m", 5531.875) == 5531.875
    assert with_common_code("rfms", "speed_kmh", 5532) == 5532
    assert with_common_code("viriciti", "altitude_m", 5532) == 5532


def test_every_code_in_the_table_is_recognised() -> None:
    for signal, codes in CODES.items():
        assert signal in CATALOGUE
        for low, high in codes:
            for code in (low, high, (low + high) / 2):
                answer = check_value(signal, code)
                assert isinstance(answer, InvalidValue), (signal, code)
                assert answer.reason is Reason.NOT_AVAILABLE
