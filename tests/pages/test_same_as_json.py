"""The foot of a page names the request that answers with the same: it is one of the API's."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from api.app import PREFIX
from tests.pages.visiting import visit

if TYPE_CHECKING:
    from tests.api.harness import Harness

WORKSPACE = "/workspaces/north"
PAGES = [
    "/",
    "/worklist",
    "/plan",
    "/runtime",
    "/audit",
    WORKSPACE,
    *(f"{WORKSPACE}/{name}" for name in ("indicators", "settings", "admin", "audit")),
    f"{WORKSPACE}/devices/bus-1",
]


@pytest.mark.parametrize("address", PAGES)
async def test_the_request_at_the_foot_answers(harness: Harness, address: str) -> None:
    page = await (await visit(harness)).read(address)
    found = re.search(rf"<code>GET {PREFIX}(/[^<]*)</code>", page)
    assert found, "the page names no request"
    await harness.get(found[1])


async def test_a_page_leads_to_the_description_of_the_api(harness: Harness) -> None:
    assert 'href="/docs"' in await (await visit(harness)).read("/account")
