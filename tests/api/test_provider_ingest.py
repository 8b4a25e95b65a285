"""`POST /provider-ingest` treats a forwarded message like one that a stream received."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from api.app import create_app
from runtime.mailbox import LaneFull
from tests.api.harness import Answer, Harness, instant, later
from tests.api.standing_time import START

if TYPE_CHECKING:
    from domain.model import Submission
    from ports.ingest import Ingest

AT = START.isoformat()


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> str:
    """Set the secret that the connection's credential names."""
    monkeypatch.setenv("LASTHEARD_SECRET_NORTH", "north:opens-everything")
    return "opens-everything"


async def _forward(harness: Harness, message: Any, key: str = "all", **rest: Any) -> Answer:
    envelope = {
        "workspaceId": "north",
        "providerType": "spoken",
        "providerId": "live",
        "receivedAt": "2026-05-01T09:00:00Z",
        "rawMessage": message,
        **rest,
    }
    return await harness.ask("POST", "/provider-ingest", json=envelope, key=key)


async def test_acceptance_3_envelopes_and_updates_are_accepted_alike(
    harness: Harness,
) -> None:
    await harness.report("bus-2", soc_percent=50.0)
    reports = [f"say x-bus-1 soc_percent 80 {AT}", f"x-bus-2 soc_percent 50 {AT}"]
    message = "\n".join([*reports, f"x-bus-9 soc_percent 1 {AT}", "mumble"])
    answer = await _forward(harness, message)
    assert answer.status == 200
    assert [result["reason"] or result["outcome"] for result in answer.json["results"]] == [
        "accepted",
        "duplicate",
        "unknown_device",
        "malformed",
    ]
    assert (answer.json["records"], answer.json["ignored"]) == (4, 0)
    snapshot = await harness.get("/workspaces/north/snapshots/bus-1")
    assert snapshot["values"]["soc_percent"]["value"] == 80.0
    assert instant(snapshot["last_update_received_at"]) == START
    refused = (await harness.get("/workspaces/north/rejections"))["items"]
    assert {
        (item["origin"], item["reason"], item["sample"]["text"] == "mumble") for item in refused
    } == {
        ("envelope", "unknown_device", False),
        ("envelope", "malformed", True),
    }


@pytest.mark.parametrize("message", ["bonjour", {"say": "x-bus-1"}])
async def test_a_message_unknown_to_its_provider_is_refused_visibly(
    harness: Harness, message: Any
) -> None:
    answer = await _forward(harness, message)
    assert [result["reason"] for result in answer.json["results"]] == ["malformed"]
    assert "this is not spoken here" in answer.json["results"][0]["detail"]
    assert len((await harness.get("/workspaces/north/rejections"))["items"]) == 1


@pytest.mark.parametrize("message", ["{} is wrong", "say {0}\nx-bus-1 {0}", {"seen": "Basic {}"}])
async def test_samples_hold_no_secret_of_the_connection(
    harness: Harness, secret: str, message: Any
) -> None:
    for form in (
        secret,
        quote(secret[:-1], safe="") + "%67",
        b64encode(f"north:{secret}".encode()).decode(),
    ):
        text = (
            message.format(form)
            if isinstance(message, str)
            else {"seen": message["seen"].format(form)}
        )
        answer = await _forward(harness, text)
        items = (await harness.get("/workspaces/north/rejections"))["items"]
        assert "[redacted]" in items[0]["sample"]["text"]
        assert form.encode() not in answer.body
        assert form not in str(items)


async def test_a_sample_is_withheld_while_the_secret_cannot_be_read(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LASTHEARD_SECRET_NORTH")
    await _forward(harness, "opens-everything")
    (item,) = (await harness.get("/workspaces/north/rejections"))["items"]
    assert item["sample"]["text"].startswith("withheld: the connection's secret cannot be read")


async def test_a_number_of_more_than_64_bits_is_no_reason_to_fall(harness: Harness) -> None:
    answer = await _forward(harness, {"say": 2**70, "é": "x"})
    assert (answer.status, [result["reason"] for result in answer.json["results"]]) == (
        200,
        ["malformed"],
    )
    (item,) = (await harness.get("/workspaces/north/rejections"))["items"]
    assert item["sample"]["text"] == f'{{"say":{2**70},"é":"x"}}'


async def test_a_large_message_is_committed_in_parts_and_in_order(
    harness: Harness,
) -> None:
    lines = [f"x-bus-1 soc_percent {n % 100} {later(n - 1100).isoformat()}" for n in range(1100)]
    answer = await _forward(harness, "say " + "\n".join([*lines, "mumble"]))
    assert answer.status == 200
    outcomes = [(result["outcome"], result["version"]) for result in answer.json["results"]]
    assert outcomes == [("accepted", n + 1) for n in range(1100)] + [("rejected", None)]
    assert answer.json["records"] == 1101
    items = (await harness.get("/workspaces/north/rejections"))["items"]
    assert [(item["reason"], item["occurrences"]) for item in items] == [("malformed", 1)]


async def test_a_lane_that_fills_between_parts_does_not_deny_the_first(
    harness: Harness,
) -> None:
    lines = [f"x-bus-1 soc_percent 50 {later(n - 600).isoformat()}" for n in range(600)]
    harness.client = create_app(
        harness.make_services(ingest=_TakesOnePart(harness.ingest))
    ).test_client()
    answer = await _forward(harness, "say " + "\n".join(lines))
    assert (answer.status, answer.problem) == (503, "overloaded")
    assert (
        answer.json["detail"] == "The ingest lane is full; only the first 500 updates were taken."
    )
    assert (await harness.get("/workspaces/north/snapshots/bus-1"))["version"] == 500


class _TakesOnePart:
    """An ingest whose lane is full after the first submission."""

    def __init__(self, ingest: Ingest) -> None:
        self._ingest = ingest
        self._full = False

    def submit_nowait(self, submission: Submission) -> None:
        if self._full:
            raise LaneFull
        self._full = True
        self._ingest.submit_nowait(submission)


async def test_unknown_and_foreign_workspaces_and_connections_are_404(
    harness: Harness,
) -> None:
    assert (await _forward(harness, "say", workspaceId="nowhere")).status == 404
    assert (await _forward(harness, "say", workspaceId="south", key="north")).status == 404
    assert (await _forward(harness, "say", providerId="nobody")).status == 404


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"providerType": "rfms"}, "/providerType"),
        ({"receivedAt": "2026-05-01T09:00:00"}, "/receivedAt"),
        ({"workspaceId": "a b"}, "/workspaceId"),
        ({"workspace_id": "north"}, "/workspace_id"),
    ],
)
async def test_an_envelope_that_is_wrong_is_refused_at_its_place(
    harness: Harness, change: dict[str, Any], pointer: str
) -> None:
    answer = await _forward(harness, "say", **change)
    assert (answer.status, answer.pointers) == (422, [pointer])
