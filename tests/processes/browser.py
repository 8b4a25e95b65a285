"""A headless Chromium, driven over its DevTools protocol: enough to load a page and press a button.

It is used only where the machine has it. It asks for nothing but the address that it is given.
"""

from __future__ import annotations

import json
import shutil
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import httpx
import trio
from trio_websocket import open_websocket_url

from tests.processes.child import open_child

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from trio_websocket import WebSocketConnection

CHROMIUM: Final = shutil.which("chromium")
_PATIENCE_SECONDS: Final = 40.0
_FLAGS: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
)
_COMPLAINTS: Final = ("Runtime.exceptionThrown", "Log.entryAdded")


class Tab:
    """One page. `complaints` are the console's errors and warnings, as the browser tells them."""

    def __init__(self, socket: WebSocketConnection) -> None:
        self._socket = socket
        self._sent = 0
        self.complaints: list[str] = []

    async def load(self, url: str, *, width: int, scheme: str) -> None:
        """Load the page as a screen of this width shows it, `light` or `dark`."""
        screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        feature = {"name": "prefers-color-scheme", "value": scheme}
        await self._call("Emulation.setDeviceMetricsOverride", **screen)
        await self._call("Emulation.setEmulatedMedia", features=[feature])
        await self._call("Page.navigate", url=url)
        await self.wait_for("document.readyState === 'complete'")

    async def evaluate(self, expression: str) -> Any:
        answer = await self._call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def wait_for(self, expression: str) -> None:
        """Wait until the expression is true."""
        with trio.fail_after(_PATIENCE_SECONDS):
            while not await self.evaluate(expression):  # noqa: ASYNC110
                await trio.sleep(0.05)

    async def start_listening(self) -> None:
        for domain in ("Page", "Runtime", "Log"):
            await self._call(f"{domain}.enable")

    async def _call(self, method: str, **parameters: Any) -> Any:
        """Return the result of a command; what comes before it is looked through for complaints."""
        self._sent += 1
        message = {"id": self._sent, "method": method, "params": parameters}
        await self._socket.send_message(json.dumps(message))
        with trio.fail_after(_PATIENCE_SECONDS):
            while True:
                told = json.loads(await self._socket.get_message())
                if told.get("id") == self._sent:
                    return told["result"]
                if told.get("method") in _COMPLAINTS:
                    self.complaints.append(json.dumps(told["params"]))


@asynccontextmanager
async def open_tab(folder: Path) -> AsyncIterator[Tab]:
    """Run a browser with one empty tab during the block. Its profile is in `folder`."""
    assert CHROMIUM is not None
    command = (CHROMIUM, *_FLAGS, f"--user-data-dir={folder}", "about:blank")
    async with open_child(*command, environment={}):
        port = await _wait_for_port(folder / "DevToolsActivePort")
        async with httpx.AsyncClient(trust_env=False) as client:
            pages = (await client.get(f"http://127.0.0.1:{port}/json/list")).json()
        url = next(page["webSocketDebuggerUrl"] for page in pages if page["type"] == "page")
        async with open_websocket_url(url, max_message_size=2**24) as socket:
            tab = Tab(socket)
            await tab.start_listening()
            yield tab


async def _wait_for_port(file: Path) -> int:
    with trio.fail_after(_PATIENCE_SECONDS):
        while not file.exists() or not file.read_text():  # noqa: ASYNC110, ASYNC240
            await trio.sleep(0.05)
    return int(file.read_text().split()[0])  # noqa: ASYNC240
