"""Live pages as a browser would keep them: one stream each, applied to what the page shows.

Owns the sockets and what the pages were told. A page that is told something wrong is found by
`find_faults`, which compares it with the health report.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
import orjson
import trio

from benchmarks.service import PREFIX

if TYPE_CHECKING:
    from benchmarks.service import Service

COOKIE = "__Host-lastheard"
CONNECT_SECONDS = 10.0
READ_BYTES = 65536


@dataclass
class ReadPage:
    """One page: what it shows, and what it cost."""

    workspace_id: str
    rows: dict[str, Any] = field(default_factory=dict)
    changes: int = 0
    bytes_read: int = 0
    fetches: int = 0  # parts of the page that it was told to fetch anew

    def apply(self, document: dict[str, Any]) -> None:
        if document.get("reset"):
            self.rows = {}
        self.rows |= document["rows"]
        for name in document.get("gone", ()):
            self.rows.pop(name, None)
        self.changes += 1
        self.fetches += bool(document.get("regions"))

    async def read(self, port: int, cookie: str) -> None:
        """Keep the page until cancelled. Raises OSError when the stream ends."""
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        async with stream:
            head = (
                f"GET /workspaces/{self.workspace_id}/live HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                f"Accept: text/event-stream\r\nCookie: {COOKIE}={cookie}\r\n\r\n"
            )
            await stream.send_all(head.encode())
            unread = b""
            while True:
                chunk = await stream.receive_some(READ_BYTES)
                if not chunk:
                    raise OSError(f"the stream of {self.workspace_id} ended: {unread[-300:]!r}")
                self.bytes_read += len(chunk)
                *lines, unread = (unread + chunk).split(b"\n")
                for line in lines:
                    self._take(line)

    def _take(self, line: bytes) -> None:
        # Chunks of the transfer begin with their own line, so an event is whole in one line.
        if line.startswith(b'data: {"at"') and b'"rows"' in line:
            self.apply(orjson.loads(line[6:]))


async def sign_in(service: Service, key: str) -> str:
    """Return the cookie of a new sign-in."""
    base = str(service.client.base_url)
    async with httpx.AsyncClient(base_url=base, trust_env=False) as client:
        answer = await client.post("/sign-in", data={"key": key, "next": "/"})
    return str(answer.headers["set-cookie"].split(f"{COOKIE}=")[1].split(";")[0])


async def find_faults(service: Service, pages: list[ReadPage]) -> list[str]:
    """Return in which pages something differs from the health report now, one sentence each."""
    faults = []
    for page in pages:
        path = f"{PREFIX}/workspaces/{page.workspace_id}/health?limit=500"
        items = (await service.client.get(path)).raise_for_status().json()["items"]
        said = {f"{page.workspace_id}/{item['device_id']}": _said(item) for item in items}
        shown = {name: _shown(row) for name, row in page.rows.items()}
        wrong = [name for name in said.keys() | shown.keys() if said.get(name) != shown.get(name)]
        if wrong:
            name = wrong[0]
            faults.append(f"{name}: {shown.get(name)} is shown, the report says {said.get(name)}")
    return faults


def _said(item: dict[str, Any]) -> tuple[Any, ...]:
    return item["state"], item["reason"], item["party"], item["last_update_received_at"]


def _shown(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["state"], row["reason"], row["party"], row["heard_at"]
