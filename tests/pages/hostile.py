"""A fleet whose every text was written by somebody who wants to run a script on our pages.

Owns the texts, the requests that store them, and what finds one that was taken for markup. The
requests go through any `ask`, so the same fleet is shown to a parser and to a browser.
"""

from __future__ import annotations

from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

# Leaves an attribute with either quote, then an element. Short enough for a tag and a trace id.
EVIL: Final = '\'" x-evil=\'" x-evil="><x-evil><script>e()</script>A{{7*7}}B'
WORKSPACE: Final = "hostile:1"
DEVICE: Final = "a.b:c-_1"
PARTS: Final = {"workspace_id": WORKSPACE, "device_id": DEVICE}
NAMES: Final = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</textarea></title></style></svg><x-evil>",
    "<svg/onload=alert(1)><use href=//evil.example/#x>",
    "<!--x-evil-->",
    "{{7*7}}{%raw%}${7*7}#{7*7}",
    "&lt;x-evil&gt;&#60;x-evil&#62;",
    "javascript:alert(1)",
    "=cmd|' /C calc'!A0",
    "\u202egnitrats\u2066 \u200b\ufeff",
    "\u2028\u2029",
    "🚌\U0001f469\u200d\U0001f527" * 20,
    "\ud7ff\ufffd\ufffe",
    "x" * 200,
    "\u0301" * 200,
)
_SHAPE: Final = {
    "values": {
        "path": "/state",
        "items": "items",
        "device_id": "id",
        "received_at": "heard",
        "signals": {"soc_percent": {"value": "soc", "observed_at": "at"}},
    }
}


class Ask(Protocol):
    """Sends a request to the API, which must be a success."""

    async def __call__(
        self, method: str, path: str, body: Any, headers: Mapping[str, str], /
    ) -> Any: ...


async def configure_hostile_fleet(ask: Ask, now: datetime) -> None:
    """Store the fleet, over the API alone."""
    path = f"/workspaces/{WORKSPACE}"
    anyway = {"If-Match": "*"}
    await ask("PUT", path, {"name": EVIL, "time_zone": "Europe/Berlin"}, {})
    push = {"provider_type": "push", "transport": "push"}
    await ask("PUT", f"{path}/providers/push", push, {})
    await ask("POST", f"{path}/devices/import", {"devices": _devices()}, {})
    answer = await ask("POST", "/ingest", {"updates": _updates(now)}, {})
    outcomes = [result["outcome"] for result in answer["results"]]
    assert outcomes == ["accepted", "rejected", "rejected", "rejected"], answer
    # A device with a history: another unit, and back.
    swap = dict.fromkeys(("external_id", "vehicle_id", "vehicle_name"), f"swapped {EVIL}")
    await ask("POST", f"{path}/devices/{DEVICE}/swap", swap, {})
    legacy = {"base_url": "http://127.0.0.1:9", "credential": None, "shape": _SHAPE}
    await ask("PUT", f"{path}/cutover", {"legacy": legacy, "poll_owner": "both_shadow"}, anyway)
    await ask("POST", f"{path}/cutover/rollback", {"reason": EVIL}, {})
    # Reads are ours again, so that pages do not wait for a legacy system that is not there.
    ours = {"poll_owner": "core", "read_owner": "core", "legacy": legacy, "force": {"reason": EVIL}}
    await ask("PUT", f"{path}/cutover", ours, anyway)


def _devices() -> list[dict[str, Any]]:
    devices = [_device(DEVICE, EVIL)]
    return [*devices, *(_device(f"d{number}", name) for number, name in enumerate(NAMES))]


def _device(device_id: str, text: str) -> dict[str, Any]:
    return {
        "device_id": device_id,
        "provider_id": "push",
        "external_id": f"{device_id} {text}"[:128],
        "vehicle_id": f"{device_id} {text}"[:128],
        "vehicle_name": text,
        "tags": [EVIL, text.strip()[:60].replace("|", "/") or "t"],
    }


def _updates(now: datetime) -> list[dict[str, Any]]:
    """One that is stored, one with a value that is refused, one of nobody, one of no signal."""
    device = {"device_id": DEVICE}
    position = {"latitude_deg": 52.5, "longitude_deg": 13.4}
    return [
        _update(now, device, {**position, "soc_percent": 40, "charging_status": EVIL}),
        _update(now, device, {"soc_percent": EVIL}),
        _update(now, {"external_id": f"nobody {EVIL}"}, {"soc_percent": 40}),
        _update(now, device, {EVIL: 1}),
    ]


def _update(now: datetime, ids: Mapping[str, str], values: Mapping[str, Any]) -> dict[str, Any]:
    readings = [
        {"signal": name, "value": value, "observed_at": now.isoformat()}
        for name, value in values.items()
    ]
    origin = {"workspace_id": WORKSPACE, "provider_id": "push", "trace_id": EVIL}
    return {**origin, **ids, "readings": readings}


def find_injections(page: str) -> list[str]:
    """Return what a hostile text made of a page: elements, attributes, scripts, expressions."""
    reader = _Reader()
    reader.feed(page)
    reader.close()
    return reader.found + [f"computed: {text}" for text in ("A49B",) if text in page]


class _Reader(HTMLParser):
    """Reads a page as a browser does, and keeps what none of ours has."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        bad = [name for name in given if name.startswith(("on", "x-")) or name == "style"]
        leads = [given[name] or "" for name in ("href", "src", "action") if name in given]
        foreign = [each for each in leads if not each.startswith(("/", "#", "?", "mailto:?"))]
        if tag in ("x-evil", "img", "iframe", "style") or bad or foreign:
            self.found.append(f"<{tag} {attrs}>")
        if tag == "script" and not (given.get("src") or "").startswith("/assets/"):
            self.found.append(f"a script of the page itself: {attrs}")

    def handle_comment(self, data: str) -> None:
        self.found.append(f"a comment: {data}")

    def handle_data(self, data: str) -> None:
        self.text += data


def text_of(page: str) -> str:
    """Return the text of a page, as a person reads it."""
    reader = _Reader()
    reader.feed(page)
    reader.close()
    return reader.text
