"""What is reported of each request: its route, its method and the class of its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from api.app import create_app
from tests.recording import Recording

if TYPE_CHECKING:
    from tests.api.harness import Harness


@pytest.fixture
def recording(harness: Harness) -> Recording:
    """What the harness's API reports."""
    recording = Recording()
    services = harness.make_services(measures=recording.measures)
    harness.client = create_app(services).test_client()
    return recording


@pytest.mark.parametrize(
    ("asked", "labels"),
    [
        ({"path": "/workspaces/north"}, ("get_workspace", "GET", "2xx")),
        ({"path": "/workspaces/nowhere"}, ("get_workspace", "GET", "4xx")),
        ({"path": "/workspaces/north", "key": "ingest"}, ("get_workspace", "GET", "4xx")),
        ({"path": "/workspaces/north", "key": None}, ("get_workspace", "GET", "4xx")),
        ({"path": "/no/such/path"}, ("unmatched", "GET", "4xx")),
        ({"path": "/worklist", "method": "DELETE"}, ("unmatched", "DELETE", "4xx")),
        ({"path": "/worklist", "method": "FETCHALL"}, ("unmatched", "other", "4xx")),
        ({"path": "/worklist", "key": "lh_wrong_key"}, ("refused", "GET", "4xx")),
    ],
    ids=str,
)
async def test_a_request_is_counted_once_under_its_route(
    harness: Harness, recording: Recording, asked: dict[str, Any], labels: tuple[str, ...]
) -> None:
    path, method = asked.pop("path"), asked.pop("method", "GET")
    await harness.ask(method, path, **asked)
    assert recording.labels_of("requests") == [labels]
    assert recording.labels_of("request_seconds") == [labels[:2]]
