"""The pages of a cutover: the way, its gate and parity, a change, a rollback, the registry."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import pytest

from api.pages import cutover_steps
from api.pages.cutover_steps import FLAG_VALUES, STEPS, find_step, list_changes, value_name
from api.pages.parity_picture import HEIGHT, draw_parity
from tests.legacy.scripted import SHAPE
from tests.pages.test_settings import etag_of, words
from tests.pages.visiting import visit

if TYPE_CHECKING:
    from tests.api.harness import Answer, Harness
    from tests.pages.visiting import Visitor

ADMIN: Final = "/workspaces/north/admin"
CUTOVER: Final = "/workspaces/north/cutover"
LEGACY: Final = {"base_url": "https://legacy.example", "credential": None, "shape": SHAPE}


async def set_flags(harness: Harness, **flags: Any) -> None:
    """Give north a legacy system, and these flags."""
    body = {"legacy": LEGACY, **flags}
    answer = await harness.ask("PATCH", CUTOVER, json=body, headers={"If-Match": "*"})
    assert answer.status == 200, answer.body


async def shadow(harness: Harness) -> None:
    await set_flags(harness, poll_owner="both_shadow", read_owner="legacy")


async def submit(visitor: Visitor, page: str, **form: str) -> Answer:
    """Send the form of a page of the cutover, as it is now unless `etag` says otherwise."""
    shown = await visitor.read(page)
    return await visitor.send(page.partition("?")[0], {"etag": etag_of(shown), **form}, page=page)


async def test_a_workspace_without_a_legacy_system_says_so(harness: Harness) -> None:
    page = await (await visit(harness)).read(ADMIN)
    assert "This workspace has no legacy system" in page
    assert "rollback" not in page


async def test_the_way_shows_where_the_workspace_is(harness: Harness) -> None:
    await shadow(harness)
    page = await (await visit(harness)).read(ADMIN)
    assert re.search(r'aria-current="step">\s*<span[^>]*>●</span>\s*<strong>2. Shadow', page)
    assert 'Go to step 3</a> <span class="fine">the gate is shut</span>' in page
    assert "None of the newest cycles has been compared yet." in page


async def test_a_change_says_what_it_does_before_it_is_made(harness: Harness) -> None:
    await shadow(harness)
    visitor = await visit(harness)
    page = f"{ADMIN}/change?poll_owner=core"
    assert "We alone collect." in await visitor.read(page)
    answer = await submit(visitor, page, poll_owner="core")
    assert (answer.status, answer.headers["location"]) == (303, f"{ADMIN}?done=cutover-changed")
    assert (await harness.get(CUTOVER))["poll_owner"] == "core"


async def test_the_shut_gate_refuses_in_words_and_a_reason_passes_it(harness: Harness) -> None:
    await shadow(harness)
    visitor = await visit(harness)
    page = f"{ADMIN}/change?read_owner=core"
    assert "The gate is shut" in await visitor.read(page)
    refused = await submit(visitor, page, read_owner="core")
    assert refused.status == 409
    assert "Core is read only after 12 compared cycles" in words(refused)
    forced = await submit(visitor, page, read_owner="core", force="yes", reason="two vehicles")
    assert forced.status == 303
    assert (await harness.get(CUTOVER))["read_owner"] == "core"


async def test_passing_the_gate_needs_a_reason(harness: Harness) -> None:
    await shadow(harness)
    page = f"{ADMIN}/change?read_owner=core"
    answer = await submit(await visit(harness), page, read_owner="core", force="yes", reason=" ")
    assert answer.status == 422
    assert (await harness.get(CUTOVER))["read_owner"] == "legacy"


async def test_a_rollback_says_exactly_what_will_happen(harness: Harness) -> None:
    await set_flags(harness, poll_owner="core", read_owner="core")
    page = words(await (await visit(harness)).read(f"{ADMIN}/rollback"))
    for said in (
        "Whose values are shown: Lastheard's → becomes the legacy system's.",
        "Who collects: Lastheard alone → becomes the legacy system.",
        "Nothing is destroyed.",
        "Nothing returns by itself.",
        "It may not be collecting.",
        "It does not answer.",
    ):
        assert said in page


async def test_a_rollback_is_carried_out_and_said(harness: Harness) -> None:
    await set_flags(harness, poll_owner="core", read_owner="core")
    visitor = await visit(harness)
    answer = await submit(visitor, f"{ADMIN}/rollback", reason="line 7\nlooks wrong")
    assert answer.headers["location"] == f"{ADMIN}?done=rolled-back"
    found = await harness.get(CUTOVER)
    assert (found["poll_owner"], found["read_owner"]) == ("legacy", "legacy")
    page = await visitor.read(answer.headers["location"])
    assert "Rolled back: the legacy system collects" in page
    assert "<ins>line 7 looks wrong</ins>" in page


@pytest.mark.parametrize("page", ["rollback", "change?poll_owner=core"])
async def test_what_changed_meanwhile_is_shown_before_it_is_done(
    harness: Harness, page: str
) -> None:
    await set_flags(harness, poll_owner="both_shadow", read_owner="legacy")
    visitor = await visit(harness)
    form = {"poll_owner": "core", "reason": "why", "etag": '"0"'}
    answer = await visitor.send(f"{ADMIN}/{page.partition('?')[0]}", form, page=f"{ADMIN}/{page}")
    assert answer.status == 412
    assert "It was changed meanwhile" in words(answer)
    assert (await harness.get(CUTOVER))["poll_owner"] == "both_shadow"


async def test_a_form_without_a_tag_changes_nothing(harness: Harness) -> None:
    await set_flags(harness, poll_owner="both_shadow", read_owner="legacy")
    visitor = await visit(harness)
    form = {"reason": "why"}
    answer = await visitor.send(f"{ADMIN}/rollback", form, page=f"{ADMIN}/rollback")
    assert answer.status == 412


async def test_only_an_admin_gets_the_buttons(harness: Harness) -> None:
    await shadow(harness)
    visitor = await visit(harness, "read")
    page = await visitor.read(ADMIN)
    assert "Changes need a key with the scope" in page
    assert "/rollback" not in page
    for path in ("rollback", "change?poll_owner=core"):
        assert (await visitor.get(f"{ADMIN}/{path}")).status == 403


async def test_an_address_without_another_flag_changes_nothing(harness: Harness) -> None:
    page = await (await visit(harness)).read(f"{ADMIN}/change?poll_owner=nobody")
    assert "names no flag with another value" in page
    assert "Change it" not in page


async def test_a_synchronisation_that_cannot_be_is_refused_in_words(harness: Harness) -> None:
    answer = await (await visit(harness)).send(f"{ADMIN}/sync", {"how": "now"}, page=ADMIN)
    assert answer.status == 409
    assert "there is nothing to synchronise" in words(answer)


def flags_of(poll: str, read: str, registry: str = "legacy_sync", legacy: Any = "x") -> Any:
    return {
        "poll_owner": poll,
        "read_owner": read,
        "device_registry_source": registry,
        "provider_mode": "mixed",
        "legacy": legacy,
    }


@pytest.mark.parametrize(
    ("cutover", "step", "following"),
    [
        (flags_of("legacy", "legacy"), 1, 2),
        (flags_of("both_shadow", "legacy"), 2, 3),
        (flags_of("both_shadow", "core"), 3, 4),
        (flags_of("both_shadow", "core", "core"), 4, 5),
        (flags_of("core", "core", "core"), 5, None),
        (flags_of("core", "legacy"), None, None),
        (flags_of("core", "core", "core", None), 6, None),
    ],
)
def test_each_step_leads_to_the_next(cutover: Any, step: int | None, following: int | None) -> None:
    found = cutover_steps.find_next(cutover)
    assert (find_step(cutover), found and found.number) == (step, following)


def test_every_value_of_every_flag_has_words() -> None:
    for flag, values in FLAG_VALUES.items():
        for value in values:
            (change,) = list_changes({flag: "another"}, {flag: value})
            assert change.effect.endswith(".")
            assert value_name(flag, value) != value
    assert [step.number for step in STEPS] == [1, 2, 3, 4, 5, 6]


def test_the_trend_is_oldest_first_and_ends_at_its_top() -> None:
    shares = [0.9, None, 0.02, 0.0]
    cycles = [{"mismatch_share": share, "at": at} for at, share in enumerate(shares)]
    picture = draw_parity(cycles, 0.01, 0.05)
    assert [bar.cycle["at"] for bar in picture.bars] == [3, 2, 1, 0]
    assert [bar.is_beyond for bar in picture.bars] == [False, True, False, True]
    assert picture.bars[2].height is None
    assert picture.bars[3].height == HEIGHT
    assert 0 < picture.guardrail_y < picture.gate_y < HEIGHT


def test_no_comparison_makes_no_bar() -> None:
    assert draw_parity([], 0.0, 0.0).bars == []
