"""A workspace on its way to this service: its legacy system, and switches of who is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from domain.parity import DeviceView, ShownValue
from ports.legacy import LegacyValues
from tests.legacy.scripted import SHAPE

if TYPE_CHECKING:
    from datetime import datetime

    from domain.model import Value
    from tests.api.harness import Harness

_LEGACY = {"base_url": "https://legacy.example/api", "credential": None, "shape": SHAPE}


async def read_from(harness: Harness, owner: str, workspace: str = "north") -> None:
    """Switch `read_owner`, with both systems collecting."""
    flags = {"poll_owner": "both_shadow", "read_owner": owner, "legacy": _LEGACY}
    force = {"reason": "this test reads from it"} if owner == "core" else None
    answer = await harness.ask(
        "PUT",
        f"/workspaces/{workspace}/cutover",
        json={**flags, "force": force},
        headers={"If-Match": "*"},
    )
    assert answer.status == 200, answer.body


def heard(received_at: datetime, observed_at: datetime | None = None, **values: Value) -> Any:
    """What the legacy system shows of a device; observed when received unless told otherwise."""
    at = observed_at or received_at
    shown = {name: ShownValue(value, at) for name, value in values.items()}
    return DeviceView(shown, received_at)


def show(harness: Harness, workspace: str = "north", **views: DeviceView) -> None:
    """Let the legacy system show these devices; `bus_1` stands for bus-1."""
    named = {name.replace("_", "-"): view for name, view in views.items()}
    harness.legacy.values_of[workspace] = LegacyValues(named, (), harness.clock.now())
