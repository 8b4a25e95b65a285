"""Facts about push connections, for people who configure one."""

from __future__ import annotations

from typing import Final

from ports.providers import DocumentedLimit, ProviderDescription

ABOUT: Final = ProviderDescription(
    title="Push",
    summary="Clients send canonical updates to /ingest with a key of scope ingest. Nothing is "
    "called.",
    base_url=None,
    credential=None,
    settings={"type": "object", "properties": {}, "additionalProperties": False},
    limits=(
        DocumentedLimit("updates_per_request", 500, "updates", "of POST /ingest"),
        DocumentedLimit("bytes_per_request", 1_048_576, "bytes", "of the body of POST /ingest"),
    ),
)
