"""The account page: where a key is signed in, and ending one of its sign-ins."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from api.pages.browsers import UNKNOWN, name_browser
from tests.pages.visiting import Visitor, visit

if TYPE_CHECKING:
    from tests.api.harness import Harness

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
WINDOWS = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko)"
PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15"


async def test_the_account_lists_the_sign_ins_of_this_key_only(harness: Harness) -> None:
    here = await visit(harness)
    there = Visitor(harness)
    await there.sign_in(headers={"User-Agent": FIREFOX})
    await visit(harness, "north")
    page = await here.read("/account")
    assert len(ids(page)) == 1  # the other one can be ended; this one is signed out
    assert page.count("this one") == 1
    assert "Firefox on Linux" in page
    assert page.index("this one") < page.index("Firefox on Linux")


async def test_ending_another_sign_in_leaves_this_one(harness: Harness) -> None:
    here, there = await visit(harness), await visit(harness)
    (other,) = ids(await here.read("/account"))
    assert (await here.send("/account/end", {"sign_in_id": other})).status == 303
    assert (await there.get("/")).status == 303
    assert (await here.get("/")).status == 200


async def test_the_sign_in_of_another_key_is_not_ended(harness: Harness) -> None:
    here, foreign = await visit(harness), await visit(harness, "north")
    assert foreign.cookie is not None
    foreign_id = foreign.cookie.partition(".")[0]
    for sign_in_id in (foreign_id, "", "\x00", "x" * 1000):
        answer = await here.send("/account/end", {"sign_in_id": sign_in_id})
        assert answer.status == 303
    assert (await foreign.get("/")).status == 200


async def test_the_account_says_what_the_key_opens(harness: Harness) -> None:
    limited = await (await visit(harness, "north")).read("/account")
    assert "2 workspaces:" in limited
    assert ">north</a>" in limited
    reader = await (await visit(harness, "read")).read("/account")
    assert "every workspace" in reader
    assert reader.count("(not with this key)") == 4


@pytest.mark.parametrize(
    ("said", "name"),
    [
        (FIREFOX, "Firefox on Linux"),
        (f"{WINDOWS} Chrome/140.0.0.0 Safari/537.36", "Chrome on Windows"),
        (f"{WINDOWS} Chrome/140.0.0.0 Safari/537.36 Edg/140.0", "Edge on Windows"),
        (f"{PHONE} Version/18.0 Mobile/15E148 Safari/604.1", "Safari on iPhone"),
        (f"{PHONE} FxiOS/140.0 Mobile/15E148 Safari/605.1.15", "Firefox on iPhone"),
        ("curl/8.0", "curl"),
        ("<script>", UNKNOWN),
        (None, UNKNOWN),
    ],
)
def test_a_browser_is_named_in_words(said: str | None, name: str) -> None:
    assert name_browser(said) == name


def ids(page: str) -> list[str]:
    """Return the sign-ins that the page can end."""
    return re.findall(r'name="sign_in_id" value="([0-9a-f]{16})"', page)
