"""The audit as a page: filters in the address, values before and after, pages."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from api.pages.differences import MAX_CHARACTERS, MAX_DIFFERENCES, Difference, describe
from tests.pages.test_settings import words
from tests.pages.visiting import visit

if TYPE_CHECKING:
    from tests.api.harness import Harness


async def rename(harness: Harness, name: str, workspace: str = "north") -> None:
    answer = await harness.ask("PATCH", f"/workspaces/{workspace}", json={"name": name})
    assert answer.status == 200, answer.body


async def test_a_change_shows_who_what_and_both_values(harness: Harness) -> None:
    await rename(harness, "Nord")
    page = await (await visit(harness)).read("/audit?kind=workspace&subject=north")
    assert "<del>North</del>" in page
    assert "<ins>Nord</ins>" in page
    assert ">all</span>" in page


async def test_the_filters_of_the_address_are_those_of_the_form(harness: Harness) -> None:
    await rename(harness, "Nord")
    visitor = await visit(harness)
    page = await visitor.read("/audit?kind=workspace&since=2026-01-01T00:00&until=2026-01-01T00:01")
    assert "No change fits" in page
    assert '<option value="workspace" selected>' in page
    assert 'value="2026-01-01T00:00"' in page


async def test_a_workspace_shows_its_own_changes_only(harness: Harness) -> None:
    await rename(harness, "Nord")
    await rename(harness, "Sued", "south")
    await harness.add_key("changer", ["read", "control"], None)
    page = await (await visit(harness, "changer")).read("/workspaces/south/audit")
    assert "Sued" in page
    assert "Nord" not in page


async def test_pages_are_turned_with_the_filters(harness: Harness) -> None:
    for number in range(51):
        await rename(harness, f"North {number}")
    visitor = await visit(harness)
    page = await visitor.read("/workspaces/north/audit?kind=workspace")
    found = re.search(r'href="([^"]*)">Earlier changes', page)
    assert found is not None
    earlier = await visitor.read(found[1].replace("&amp;", "&"))
    assert "North 0" in earlier
    assert "<ins>North 50</ins>" not in earlier
    assert '<option value="workspace" selected>' in earlier


@pytest.mark.parametrize(
    ("key", "path", "status"),
    [
        ("read", "/audit", 403),
        ("changer", "/audit", 403),
        ("changer", "/workspaces/north/audit", 200),
        ("read", "/workspaces/north/audit", 403),
        ("north", "/workspaces/south/audit", 404),
    ],
)
async def test_the_audit_needs_its_scope(
    harness: Harness, key: str, path: str, status: int
) -> None:
    await harness.add_key("changer", ["read", "control"], None)
    assert (await (await visit(harness, key)).get(path)).status == status


@pytest.mark.parametrize("query", ["since=yesterday", "kind=nonsense", "part_of=x", "cursor=x"])
async def test_a_filter_that_is_none_is_refused_in_words(harness: Harness, query: str) -> None:
    answer = await (await visit(harness)).get(f"/audit?{query}")
    assert answer.status == 400
    assert query.partition("=")[0] in words(answer)


def entry(before: Any, after: Any) -> Any:
    return {"before": before, "after": after, "kind": "cutover"}


@pytest.mark.parametrize(
    ("before", "after", "differences"),
    [
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}, [Difference("b", "2", "3")]),
        ({"gate": {"n": 1, "m": 0}}, {"gate": {"n": 2, "m": 0}}, [Difference("gate.n", "1", "2")]),
        ({"a": None}, {"a": {"b": "x"}}, [Difference("a.b", None, "x")]),
        ({"a": {"b": "x"}}, {"a": None}, [Difference("a.b", "x", None)]),
        ({"a": "x"}, {"a": None}, [Difference("a", "x", "null")]),
        ({"a": {}}, {"a": {"b": []}}, [Difference("a.b", None, "[]")]),
        ({"a": 1}, {}, [Difference("a", "1", None)]),
        (None, {"name": "x"}, [Difference("name", None, "x")]),
        ({"a": True}, {"a": True}, []),
    ],
)
def test_documents_are_compared_member_by_member(
    before: Any, after: Any, differences: list[Difference]
) -> None:
    assert describe(entry(before, after)).differences == differences


def test_long_changes_are_cut_and_counted() -> None:
    described = describe(entry(None, {f"m{number:03}": "x" * 999 for number in range(50)}))
    assert len(described.differences) == MAX_DIFFERENCES
    assert described.more == 50 - MAX_DIFFERENCES
    assert described.differences[0].after == "x" * MAX_CHARACTERS + "…"


def test_values_of_a_difference_are_text_and_no_markup() -> None:
    described = describe(entry({"a": "<b>", "x": 1}, {"a": "{0}&", "x": 1}))
    assert "<del>&lt;b&gt;</del>" in described.lines
    assert "<ins>{0}&amp;</ins>" in described.lines
