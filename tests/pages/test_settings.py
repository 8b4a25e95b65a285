"""The settings page: the form, its preview, its refusals, conflicts and the way back."""

from __future__ import annotations

import re
from html import unescape
from typing import TYPE_CHECKING, Final

import pytest

from api.app import create_app
from api.settings_pages import SettingsPages
from tests.pages.visiting import Visitor, visit

if TYPE_CHECKING:
    from tests.api.harness import Answer, Harness

WORKSPACE: Final = "/workspaces/north"
PAGE: Final = "/workspaces/north/settings"
POLICY: Final = "/workspaces/north/policy"
FORM: Final = {
    "freshness_target_seconds": "300",
    "delayed_after_seconds": "360",
    "stale_after_seconds": "1200",
    "grace_seconds": "3600",
    "poll_interval_seconds": "300",
    "start_offset_seconds": "",
}


def words(answer: Answer | str) -> str:
    """Return the text of a page, without its tags."""
    page = answer if isinstance(answer, str) else answer.body.decode()
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]*>", " ", page)))


def etag_of(page: str) -> str:
    found = re.search(r'name="etag" value="([^"]*)"', page)
    assert found is not None
    return unescape(found[1])


async def store(visitor: Visitor, **changes: str) -> Answer:
    """Store a policy from the form, as the page shows it now."""
    form = {**FORM, "etag": etag_of(await visitor.read(PAGE)), **changes}
    return await visitor.send(PAGE, form, page=PAGE)


async def test_the_form_has_what_is_stored(harness: Harness) -> None:
    page = await (await visit(harness)).read(PAGE)
    assert 'name="stale_after_seconds" inputmode="decimal" autocomplete="off" value="900"' in page
    assert "stored: 15 min, default" in words(page)


async def test_a_preview_shows_who_would_flip_and_stores_nothing(harness: Harness) -> None:
    await harness.report("bus-1", soc_percent=50)
    harness.let_pass(1000)
    page = words(await (await visit(harness)).read(f"{PAGE}?stale_after_seconds=2000"))
    assert "1 of 3 devices would change" in page
    assert re.search(r"Bus bus-1 stale [a-z ]+ delayed", page)
    assert (await harness.get(POLICY))["stale_after_seconds"] == 900


async def test_a_stored_policy_is_said_and_is_in_the_history(harness: Harness) -> None:
    visitor = await visit(harness)
    answer = await store(visitor)
    assert (answer.status, answer.headers["location"]) == (303, f"{PAGE}?done=policy-stored")
    page = await visitor.read(answer.headers["location"])
    assert "The policy was stored." in page
    assert '<mark title="before: 900">1200</mark>' in page
    assert (await harness.get(POLICY))["stale_after_seconds"] == 1200


@pytest.mark.parametrize(
    ("name", "typed", "said"),
    [
        ("stale_after_seconds", "100", "It must be more than “Delayed after”."),
        ("stale_after_seconds", "soon", "Input should be a valid number"),
        ("poll_interval_seconds", "5", "Input should be greater than or equal to 60"),
        ("start_offset_seconds", "400", "less than “Poll interval”, which is 300"),
    ],
)
async def test_a_refusal_stands_beside_its_field(
    harness: Harness, name: str, typed: str, said: str
) -> None:
    visitor = await visit(harness)
    answer = await store(visitor, **{name: typed})
    page = answer.body.decode()
    found = re.search(rf'data-region="fault-{name}">([^<]*)<', page)
    assert answer.status == 422
    assert found is not None
    assert said in found[1]
    assert f'value="{typed}"' in page


async def test_a_conflict_shows_both_and_lets_the_person_choose(harness: Harness) -> None:
    visitor = await visit(harness)
    seen = etag_of(await visitor.read(PAGE))
    await store(visitor, stale_after_seconds="2000")
    answer = await store(visitor, etag=seen, stale_after_seconds="3000")
    assert answer.status == 412
    assert re.search(r"Stale after 2000 3000", words(answer))
    again = etag_of(answer.body.decode())
    assert (await store(visitor, etag=again, stale_after_seconds="3000")).status == 303


async def test_a_preview_keeps_what_the_person_began_with(harness: Harness) -> None:
    """Otherwise a policy that was stored meanwhile would be overwritten unseen."""
    page = await (await visit(harness)).read(f"{PAGE}?stale_after_seconds=2000&etag=%220%22")
    assert etag_of(page) == '"0"'


async def test_a_former_version_fills_the_form(harness: Harness) -> None:
    visitor = await visit(harness)
    await store(visitor)
    links = re.findall(rf'href="{PAGE}\?([^"#]*)#form"', await visitor.read(PAGE))
    assert "stale_after_seconds=900" in links[0]


async def test_without_the_scope_the_form_is_locked_and_says_why(harness: Harness) -> None:
    visitor = await visit(harness, "read")
    page = await visitor.read(f"{PAGE}?stale_after_seconds=2000")
    assert "needs a key with the scope" in page
    assert "<fieldset disabled>" in page
    assert (await visitor.send(PAGE, FORM)).status == 403


async def test_an_archived_workspace_keeps_its_policy(harness: Harness) -> None:
    assert (await harness.ask("PATCH", WORKSPACE, json={"active": False})).status == 200
    assert (await harness.ask("DELETE", WORKSPACE)).status == 200
    page = await (await visit(harness)).read(PAGE)
    assert "This workspace is archived" in page


async def test_a_policy_without_a_tag_is_not_stored(harness: Harness) -> None:
    visitor = await visit(harness)
    answer = await store(visitor, etag="\u2603")
    assert answer.status == 428
    assert "Read the resource first" in words(answer)


async def test_where_the_flag_is_off_there_is_neither_page_nor_tab(harness: Harness) -> None:
    services = harness.make_services(settings_pages=SettingsPages.parse("south"))
    harness.client = create_app(services).test_client()
    visitor = await visit(harness)
    answer = await visitor.get(PAGE)
    assert answer.status == 404
    assert "workspace-telematics-mvp-settings" in words(answer)
    assert 'href="/workspaces/south/settings"' in await visitor.read("/workspaces/south/settings")


@pytest.mark.parametrize(
    ("text", "north", "south"),
    [
        ("*", True, True),
        ("", False, False),
        ("north", True, False),
        ("*,!north", False, True),
        (" north , south ", True, True),
    ],
)
def test_the_flag_names_workspaces(text: str, north: bool, south: bool) -> None:
    flag = SettingsPages.parse(text)
    assert (flag.has("north"), flag.has("south")) == (north, south)


@pytest.mark.parametrize("text", ["!north", "*,north", "a b", "north,no/rth"])
def test_a_flag_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        SettingsPages.parse(text)
