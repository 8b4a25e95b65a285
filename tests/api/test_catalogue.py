"""The catalogues of provider types and signals, as a client reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.app import create_app
from domain.signals import CATALOGUE
from providers.http import HttpPool
from providers.known import make_providers
from runtime.dialling import Dialler
from runtime.outbound import Allowance

if TYPE_CHECKING:
    from tests.api.harness import Harness


async def test_a_provider_type_appears_by_being_in_the_table(harness: Harness) -> None:
    listed = (await harness.get("/provider-types"))["items"]
    assert [one["provider_type"] for one in listed] == ["murmured", "push", "spoken"]
    spoken = listed[2]
    assert spoken["transports"] == ["poll", "push", "stream"]
    assert spoken["settings"]["properties"]["loudness"]["default"] == 5
    assert spoken["destination_settings"] == ["tongue"]
    assert listed[0]["destination_settings"] is None


async def test_the_real_types_are_described_with_limits(harness: Harness) -> None:
    providers = make_providers(HttpPool(Dialler(Allowance())))
    client = create_app(harness.make_services(providers=providers)).test_client()
    headers = {"Authorization": f"Bearer {harness.tokens['read']}"}
    answer = await client.get("/api/telematics-mvp/provider-types", headers=headers)
    listed = {one["provider_type"]: one for one in (await answer.get_json())["items"]}
    assert listed.keys() == {"push", "rfms", "viriciti"}
    assert listed["rfms"]["expected_update_seconds"] == 3600
    assert listed["rfms"]["settings"]["additionalProperties"] is False
    assert "/rfms" in listed["rfms"]["base_url"]
    assert {limit["name"] for limit in listed["rfms"]["limits"]} >= {"status_period", "kept"}


async def test_signals_say_unit_range_and_when_they_are_sent(harness: Harness) -> None:
    listed = {one["signal"]: one for one in (await harness.get("/signals"))["items"]}
    assert listed.keys() == CATALOGUE.keys()
    soc, power = listed["soc_percent"], listed["charging_power_kw"]
    assert (soc["unit"], soc["minimum"], soc["maximum"]) == ("%", 0, 100)
    assert (soc["reporting"], soc["while_signal"]) == ("periodic", None)
    assert (power["reporting"], power["while_signal"]) == ("while", "charging")


async def test_signals_list_their_codes_for_not_available(harness: Harness) -> None:
    codes = {
        one["signal"]: one["not_available"] for one in (await harness.get("/signals"))["items"]
    }
    assert {"lowest": 4294967.295, "highest": 4294967.295}.items() <= codes["range_km"][0].items()
    words = {"NA", "NONE", "NOTAVAILABLE", "NULL"}
    assert {code["word"] for code in codes["charging_status"]} == words
    zero = {"lowest": 0.0, "highest": 0.0, "only_with": "longitude_deg"}
    assert any(zero.items() <= code.items() for code in codes["latitude_deg"])
    assert codes["altitude_m"][-1]["provider_type"] == "rfms"
    assert any(code["instants"] for code in codes["charging_complete_at"])
    assert not any(code["instants"] for code in codes["soc_percent"])


async def test_the_api_description_refers_to_the_catalogues(harness: Harness) -> None:
    schemas = (await harness.get("/openapi.json"))["components"]["schemas"]
    provider = schemas["ProviderBody"]["properties"]
    assert "GET /provider-types" in provider["settings"]["description"]
    assert "GET /provider-types" in provider["provider_type"]["description"]
    assert "GET /signals" in schemas["ReadingItem"]["properties"]["signal"]["description"]
