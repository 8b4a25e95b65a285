"""Every text from outside is shown as text, on every page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from domain.model import (
    ConnectionFact,
    ConnectionFactKind,
    FaultClass,
    ProviderStatement,
    StatementKind,
    Submission,
)
from ports.cutovers import UnfitNote
from tests.pages.every_page import address_of, every_route
from tests.pages.hostile import (
    DEVICE,
    EVIL,
    NAMES,
    PARTS,
    WORKSPACE,
    configure_hostile_fleet,
    find_injections,
    text_of,
)
from tests.pages.visiting import Visitor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.api.harness import Harness

READS = [
    route
    for route in every_route()
    if "GET" in route.methods and "digest" not in route.path and not route.path.endswith("/live")
]


@pytest.fixture
async def hostile(harness: Harness) -> Visitor:
    """A visitor with a hostile key name, browser and fleet."""

    async def ask(method: str, path: str, body: Any, headers: Mapping[str, str]) -> Any:
        answer = await harness.ask(method, path, json=body, headers=headers)
        assert answer.status < 300, (path, answer.body)
        return answer.json

    await configure_hostile_fleet(ask, harness.clock.now())
    await harness.commit(_troubles(harness))
    unfit = UnfitNote(harness.clock.now(), 1, DEVICE, EVIL, EVIL, EVIL)
    await harness.stores.cutovers.note_legacy_unfit(WORKSPACE, unfit)
    await harness.add_key(EVIL, ["read", "control", "admin", "ingest"], None)
    visitor = Visitor(harness)
    await visitor.sign_in(EVIL, headers={"User-Agent": f"Firefox/{EVIL}"})
    return visitor


def _troubles(harness: Harness) -> Submission:
    """What a provider said, in its own words."""
    at = harness.clock.now()
    failed = ConnectionFact(
        WORKSPACE, "push", ConnectionFactKind.CALL_FAILED, at, next(iter(FaultClass)), EVIL
    )
    said = ProviderStatement(WORKSPACE, StatementKind.ERROR, (DEVICE,), at, at, EVIL)
    submission = Submission("poll", EVIL)
    submission.facts, submission.statements = (failed,), (said,)
    return submission


@pytest.mark.parametrize("route", READS, ids=lambda route: route.name)
async def test_no_text_from_outside_becomes_markup(hostile: Visitor, route: Any) -> None:
    for query in ("", f"?q={EVIL}&tag={EVIL}&state={EVIL}&reason={EVIL}&next={EVIL}&before={EVIL}"):
        path = address_of(route.path, PARTS) + query.replace("#", "%23")
        answer = await hostile.get(path)
        assert answer.status in (200, 303, 400, 404, 422), answer.body
        if answer.headers["content-type"].startswith("text/html"):
            assert find_injections(answer.body.decode()) == []
        else:
            assert "nosniff" in answer.headers["x-content-type-options"]


async def test_hostile_names_are_shown_letter_by_letter(hostile: Visitor) -> None:
    assert EVIL in text_of(await hostile.read("/"))
    assert EVIL in text_of(await hostile.read("/account"))


async def test_a_refusal_shows_what_was_asked_as_text(hostile: Visitor) -> None:
    for path in (f"/{EVIL}", f"/workspaces/{EVIL}", f"/assets/0/{EVIL}"):
        answer = await hostile.get(path)
        assert answer.status == 404
        assert find_injections(answer.body.decode()) == []


@pytest.mark.parametrize("text", [EVIL, *NAMES])
async def test_a_wrong_key_is_never_shown_again(harness: Harness, text: str) -> None:
    answer = await Visitor(harness).sign_in(text)
    assert answer.status == 401
    assert find_injections(answer.body.decode()) == []
    assert text not in text_of(answer.body.decode())


def test_markup_from_outside_would_be_found() -> None:
    for text in (EVIL, *NAMES[:5]):
        assert find_injections(f"<p>{text}</p>") + find_injections(f'<a title="{text}">') != []
    assert find_injections(f"<p>{EVIL.replace('{{7*7}}', '49')}".replace("<x", "x")) != []
