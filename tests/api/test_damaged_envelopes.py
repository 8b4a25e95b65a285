"""What is damaged in a forwarded message costs its own vehicle, in text and in an object."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from api.app import create_app
from domain.model import ProviderConnection
from providers.rfms import Rfms
from providers.viriciti import ViriCiti
from tests.api.harness import draft
from tests.api.standing_time import START

if TYPE_CHECKING:
    from tests.api.harness import Answer, Harness

JSON = {"Content-Type": "application/json"}
MS = int(START.timestamp() * 1000)
GOOD = f'{{"soc":{{"time":{MS},"value":60}}}}'
HEAD = (
    '{"workspaceId":"north","providerType":"%s","providerId":"%s",'
    '"receivedAt":"2026-05-01T09:00:00Z","rawMessage":'
)
TYPES = ("rfms", "viriciti")


@pytest.fixture
async def forwarded(harness: Harness) -> Harness:
    """The harness with a push connection of each real type, each with two vehicles."""
    for kind in TYPES:
        await harness.stores.registry.put_provider(
            ProviderConnection("north", kind, kind, "push", "", None, ids_are_vins=kind == "rfms")
        )
        devices = [
            draft(f"{kind}-{n}", provider_id=kind, external_id=f"BUS_{n}", vehicle_id=f"{kind}-{n}")
            for n in (1, 2)
        ]
        await harness.stores.registry.put_devices("north", devices)
    http: Any = None  # neither type calls anybody here
    services = harness.make_services(providers={"rfms": Rfms(http), "viriciti": ViriCiti(http)})
    harness.client = create_app(services).test_client()
    return harness


async def forward(harness: Harness, kind: str, message: str, *, as_text: bool) -> Answer:
    raw = json.dumps(message) if as_text else message
    body = HEAD % (kind, kind) + raw + "}"
    data = body.encode("utf-8", "surrogateescape")
    return await harness.ask("POST", "/provider-ingest", data=data, headers=JSON)


async def judge(harness: Harness, kind: str, answer: Answer) -> None:
    """Check that the second vehicle is read, and the refusal held against the first."""
    assert answer.status == 200, answer.body
    assert sorted(result["outcome"] for result in answer.json["results"]) == [
        "accepted",
        "rejected",
    ]
    rows = (await harness.get("/workspaces/north/rejections"))["items"]
    assert {(row["device_id"], row["reason"]) for row in rows} == {(f"{kind}-1", "malformed")}
    snapshot = await harness.get(f"/workspaces/north/snapshots/{kind}-2")
    assert snapshot["values"]["soc_percent"]["value"] == 60


@pytest.mark.parametrize("as_text", [True, False], ids=["text", "object"])
@pytest.mark.parametrize(
    "labels",
    [
        f'{{"soc":{{"time":{MS},"value":NaN}}}}',
        f'{{"soc":{{"time":{MS},"value":nan}}}}',
        f'{{"soc":{{"time":{MS},"value":1e400}}}}',
        f'{{"soc":{{"time":{MS},"value":}}}}',
        f'{{"soc":{{"time":{MS},"value":6"1}}}}',
        f'{{"soc":{{"time":{MS},"value":"\\ud800"}}}}',
        f'{{"soc":{{"time":{MS},"value":"\x01"}}}}',
        f'{{"soc":{{"time":{MS},"value":"\udcfc"}}}}',
        f'{{"soc":{{"time":{MS},"value":5,}}}}',
        "5",
        "[5]",
    ],
)
async def test_one_vehicle_of_a_state_costs_itself(
    forwarded: Harness, labels: str, *, as_text: bool
) -> None:
    message = f'{{"BUS_1":{labels},"BUS_2":{GOOD}}}'
    await judge(
        forwarded, "viriciti", await forward(forwarded, "viriciti", message, as_text=as_text)
    )


def status(vin: str, soc: str) -> str:
    at = START.isoformat()
    fields = f'"vin":"{vin}","createdDateTime":"{at}","receivedDateTime":"{at}"'
    return f'{{{fields},"snapshotData":{{"hybridBatteryPackRemainingCharge":{soc}}}}}'


@pytest.mark.parametrize("as_text", [True, False], ids=["text", "object"])
@pytest.mark.parametrize("soc", ["NaN", "nan", "1e400", '"\\ud800"', '"\udcfc"', '6"1', ""])
async def test_one_status_of_a_page_costs_itself(
    forwarded: Harness, soc: str, *, as_text: bool
) -> None:
    records = f"{status('BUS_1', soc)},{status('BUS_2', '60')}"
    message = f'{{"vehicleStatusResponse":{{"vehicleStatuses":[{records}]}}}}'
    await judge(forwarded, "rfms", await forward(forwarded, "rfms", message, as_text=as_text))


@pytest.mark.parametrize("as_text", [True, False], ids=["text", "object"])
async def test_a_bare_list_is_a_message_too(forwarded: Harness, *, as_text: bool) -> None:
    records = f"[{status('BUS_1', '{}')},{status('BUS_2', '60')}]"
    await judge(forwarded, "rfms", await forward(forwarded, "rfms", records, as_text=as_text))


async def test_a_fault_around_the_message_refuses_the_envelope(forwarded: Harness) -> None:
    body = HEAD % ("viriciti", "viriciti") + f'{{"BUS_2":{GOOD}}},"more":NaN}}'
    answer = await forwarded.ask("POST", "/provider-ingest", data=body.encode(), headers=JSON)
    assert (answer.status, answer.problem) == (400, "malformed-json")


async def test_a_wrong_member_beside_a_damaged_message_is_named(forwarded: Harness) -> None:
    body = HEAD % ("viriciti", "vir iciti") + '{"BUS_1":NaN}}'
    answer = await forwarded.ask("POST", "/provider-ingest", data=body.encode(), headers=JSON)
    assert (answer.status, answer.pointers) == (422, ["/providerId"])


async def test_messages_that_cannot_be_read_are_the_providers_fault(forwarded: Harness) -> None:
    frame = f'{{"type":"vehicles","payload":{{"vid":"BUS_1","label":"soc","time":{MS},"value":5}}}}'
    await forward(forwarded, "viriciti", frame, as_text=True)
    forwarded.let_pass(300)
    await forward(forwarded, "viriciti", "<html>", as_text=True)
    forwarded.let_pass(100)
    assert await verdict_on(forwarded, "viriciti-1") == ("provider_outage", "provider")
    await forward(forwarded, "viriciti", f'{{"BUS_2":{GOOD}}}', as_text=True)
    assert await verdict_on(forwarded, "viriciti-1") == ("device_silent", "device")


async def test_one_vehicle_a_request_answers_for_the_others(forwarded: Harness) -> None:
    """The first one repeats what it sent; the second one comes behind it each time."""
    repeat = f'{{"BUS_1":{GOOD}}}'
    for minute in range(8):
        await forward(forwarded, "viriciti", repeat, as_text=True)
        forwarded.let_pass(1)
        later = repeat.replace("BUS_1", "BUS_2").replace(str(MS), str(MS + minute * 60_000))
        await forward(forwarded, "viriciti", later, as_text=True)
        forwarded.let_pass(59)
    assert await verdict_on(forwarded, "viriciti-1") == ("device_silent", "device")


async def verdict_on(harness: Harness, device_id: str) -> tuple[str, str]:
    report = await harness.get("/workspaces/north/health")
    item = next(one for one in report["items"] if one["device_id"] == device_id)
    return item["reason"], item["party"]
