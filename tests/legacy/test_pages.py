"""Answers of several pages: all of them or none, and never from elsewhere."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest

from tests.legacy.clients import (
    answer_well,
    client_of,
    configured,
    unfit,
)
from tests.legacy.shapes import STATE, changed
from tests.legacy.test_mapping import VIEW
from tests.providers.servers import Asked, Reply, http_server


def paged(asked: Asked) -> Reply:
    """Three pages of one bus each, by number; an empty one after them."""
    number = int(asked.target.partition("page=")[2] or 1)
    state = [{**STATE, "id": f"bus-{number}"}] if number <= 3 else []
    link = f"?page={number + 1}" if number < 3 else None
    return Reply(body=orjson.dumps({"state": state, "links": {"next": link}}))


@pytest.mark.parametrize("paging", [{"next_link": "links.next"}, {"page_parameter": "page"}])
async def test_all_pages_are_one_answer(paging: dict[str, str]) -> None:
    shape = changed("/values/paging", paging)
    async with http_server(paged) as base, client_of() as client:
        values = await client.load_values("north", configured(base, shape))
    assert values.views == dict.fromkeys(("bus-1", "bus-2", "bus-3"), VIEW)


@pytest.mark.parametrize(
    ("link", "part"),
    [
        ("http://127.0.0.2:1/state", "another origin"),
        ("//evil.example/state", "another origin"),
        ("https://127.0.0.1/state", "another origin"),
        ("file:///etc/passwd", "another origin"),
        ("http://[", "no address"),
        ("?", "back to an earlier page"),
        (5, "no text"),
        ("?page=\ud800", "unprintable"),
        ("?page=\x01", "unprintable"),
        ("?page=" + "9" * 8000, "more than 8000 characters"),
    ],
)
async def test_a_link_that_leads_astray_is_not_followed(link: Any, part: str) -> None:
    asked = 0

    def answer(_: Asked) -> Reply:
        nonlocal asked
        asked += 1
        return Reply(body=json.dumps({"state": [STATE], "next": link}).encode())

    shape = changed("/values/paging", {"next_link": "next"})
    async with http_server(answer) as base, client_of() as client:
        fault = await unfit(client, configured(base, shape))
    assert part in str(fault)
    assert "/values/paging" in str(fault)
    assert asked == 1


async def test_more_pages_than_allowed_are_no_answer() -> None:
    shape = changed("/values/paging", {"page_parameter": "page", "max_pages": 2})
    async with http_server(paged) as base, client_of() as client:
        fault = await unfit(client, configured(base, shape))
    assert "more than 2 pages" in str(fault)


async def test_a_system_that_ignores_page_numbers_is_found_out() -> None:
    shape = changed("/values/paging", {"page_parameter": "page"})
    async with http_server(answer_well) as base, client_of() as client:
        fault = await unfit(client, configured(base, shape))
    assert "two pages are the same" in str(fault)
