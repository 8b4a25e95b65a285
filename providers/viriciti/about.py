"""Facts of ViriCiti's documents, for people who configure a connection (see README.md)."""

from __future__ import annotations

from typing import Final

from ports.providers import DocumentedLimit, ProviderDescription
from providers.viriciti.settings import ViriCitiSettings

ABOUT: Final = ProviderDescription(
    title="ViriCiti, now ChargePoint Fleet",
    summary="A live stream of mixed electric buses. Their last known state is asked for, too: "
    "after connecting, and once a poll interval.",
    base_url="https://sdk.viriciti.com, without a path; of the simulator http://HOST:PORT",
    credential="the API key from the customer's portal",
    settings=ViriCitiSettings.model_json_schema(),
    limits=(
        DocumentedLimit("position_period", 2.0, "s", "of a vehicle that is on: every 1 to 2 s"),
        DocumentedLimit("rate", None, "calls", "not documented; nor is the largest subscription"),
    ),
)
