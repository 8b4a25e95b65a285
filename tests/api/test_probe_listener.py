"""The listener for probes answers probes only, whatever the state of the API's listener is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.app import create_probe_app

if TYPE_CHECKING:
    from tests.api.harness import Harness


async def test_the_probe_app_answers_probes_without_a_key(harness: Harness) -> None:
    client = create_probe_app(harness.services).test_client()
    assert [(await client.get(path)).status_code for path in ("/healthz", "/readyz")] == [200, 200]
    harness.ready["ingest"] = False
    assert [(await client.get(path)).status_code for path in ("/healthz", "/readyz")] == [200, 503]


async def test_the_probe_app_has_no_other_path(harness: Harness) -> None:
    client = create_probe_app(harness.services).test_client()
    others = ("/openapi.json", "/docs", "/api/telematics-mvp/runtime", "/metrics")
    assert [(await client.get(path)).status_code for path in others] == [404] * len(others)


async def test_the_probe_app_counts_apart_from_the_api(harness: Harness) -> None:
    await create_probe_app(harness.services).test_client().get("/healthz")
    assert harness.services.probe_traffic.requests == 1
    assert harness.services.traffic.requests == 0
