"""`/docs` in a real browser: light and dark, narrow and wide, no error, and a form that works.

Skipped where there is no Chromium.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.processes.browser import CHROMIUM, open_tab
from tests.processes.fleets import make_depot, make_key
from tests.processes.shard import open_shard

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Stores

pytestmark = [
    pytest.mark.processes,
    pytest.mark.postgres,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine"),
]

FORM = "document.querySelector('#list_workspaces form')"
DANGLING = """
[...document.querySelectorAll("a[href^='#']")]
  .map((link) => link.getAttribute("href").slice(1))
  .filter((id) => document.getElementById(id) === null)
"""


async def test_the_page_is_whole_on_every_screen(
    dsn: str, postgres_stores: Stores, tmp_path: Path
) -> None:
    key = await make_key(postgres_stores)
    async with open_shard(dsn, key) as shard, open_tab(tmp_path) as tab:
        await shard.wait_ready()
        backgrounds = set()
        for width in (360, 1280):
            for scheme in ("light", "dark"):
                await tab.load(f"http://127.0.0.1:{shard.port}/docs", width=width, scheme=scheme)
                assert await tab.evaluate("document.documentElement.scrollWidth") <= width
                backgrounds.add(await tab.evaluate("getComputedStyle(document.body).background"))
        assert len(backgrounds) == 2
        assert await tab.evaluate(DANGLING) == []
        assert tab.complaints == []


async def test_a_form_sends_with_the_key_of_the_page(
    dsn: str, postgres_stores: Stores, tmp_path: Path
) -> None:
    key = await make_key(postgres_stores)
    await make_depot(postgres_stores, 1)
    async with open_shard(dsn, key) as shard, open_tab(tmp_path) as tab:
        await shard.wait_ready()
        await tab.load(f"http://127.0.0.1:{shard.port}/docs", width=1280, scheme="light")
        await tab.evaluate(f"document.getElementById('key').value = '{key}'")
        await tab.evaluate(f"{FORM}.querySelector('button').click()")
        await tab.wait_for(f"{FORM}.querySelector('output').textContent.startsWith('200')")
        shown = await tab.evaluate(f"{FORM}.querySelector('output').textContent")
        assert '"workspace_id": "depot"' in shown
        kept = "JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])"
        assert await tab.evaluate(kept) == '[{},{},""]'
        assert tab.complaints == []
