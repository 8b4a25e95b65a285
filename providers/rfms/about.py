"""Facts of the rFMS 4.0.0 documents, for people who configure a connection (see README.md)."""

from __future__ import annotations

from typing import Final

from ports.providers import DocumentedLimit, ProviderDescription
from providers.rfms.settings import TWO_WEEKS_SECONDS, RfmsSettings

STATUS_PERIOD_SECONDS: Final = 3600.0

ABOUT: Final = ProviderDescription(
    title="rFMS 4",
    summary="The interface that makers of trucks and buses share. The newest status of every "
    "vehicle of the account is polled.",
    base_url="the maker's address up to the part before /vehiclestatuses, with its path: "
    "https://maker.example/rfms4; of the simulator http://HOST:PORT/rfms",
    credential="a bearer token that is valid, or user:password with the setting auth = basic",
    settings=RfmsSettings.model_json_schema(),
    limits=(
        DocumentedLimit(
            "status_period", STATUS_PERIOD_SECONDS, "s", "a maker guarantees a status this often"
        ),
        DocumentedLimit("position_period", 900.0, "s", "a maker guarantees a position this often"),
        DocumentedLimit(
            "kept", TWO_WEEKS_SECONDS, "s", "a maker keeps records for at least this long"
        ),
        DocumentedLimit(
            "calls_at_once", 1, "calls", "of one credential; a maker answers 429 to more"
        ),
        DocumentedLimit(
            "calls_per_window",
            None,
            "calls",
            "the maker's own (X-Rate-Limit-Limit); pages count as calls, and 429 has no "
            "Retry-After but perhaps X-Rate-Limit-Reset",
        ),
    ),
    expected_update_seconds=STATUS_PERIOD_SECONDS,
)
