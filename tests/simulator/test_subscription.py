"""What a client of the stream may say."""

from __future__ import annotations

import pytest

from simulator.subscription import Command, InvalidMessage, Subscription, read_message

KNOWN = {"bus_0001": 0, "bus_0002": 1}


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        (
            '{"vehicles": {"bus_0001": ["soc", "gps"]}}',
            Subscription({"vehicles": {"bus_0001": ["soc", "gps"]}}, {"bus_0001": ("soc", "gps")}),
        ),
        (
            '{"vehicles": {"bus_0009": ["soc"], "bus_0002": []}}',
            Subscription(
                {"vehicles": {"bus_0009": ["soc"], "bus_0002": []}}, {"bus_0002": ()}, ("bus_0009",)
            ),
        ),
        ('{"chargestations": {}}', Subscription({"chargestations": {}}, None)),
        ("show acl", Command("acl")),
        (" show query\n", Command("query")),
        ("[]", InvalidMessage("a subscription is an object of domains")),
        ("{}", InvalidMessage("a subscription is an object of domains")),
        ('{"vehicles": ["bus_0001"]}', InvalidMessage("vehicles must map a vid to its labels")),
        (
            '{"vehicles": {"bus_0001": "soc"}}',
            InvalidMessage("labels must be a list of names", {"vid": "bus_0001"}),
        ),
        (
            '{"vehicles": {"bus_0001": [1]}}',
            InvalidMessage("labels must be a list of names", {"vid": "bus_0001"}),
        ),
        (
            '{"buses": {}}',
            InvalidMessage(
                "unknown domain",
                {"domains": ["buses"], "allowed": ["chargestations", "incidents", "vehicles"]},
            ),
        ),
    ],
)
def test_messages_are_judged(text: str, verdict: object) -> None:
    assert read_message(text, KNOWN) == verdict


def test_what_is_no_json_is_nonsense() -> None:
    verdict = read_message("{vehicles", KNOWN)
    assert isinstance(verdict, InvalidMessage)
    assert verdict.message.startswith("not JSON")
