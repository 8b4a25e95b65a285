"""Signing in with a key, staying signed in, and signing out."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import structlog
import trio

from api.app import create_app
from api.gate import GateLimits
from api.in_flight import InFlightLimits
from domain.changes import Author
from storage.keys import PostgresKeys
from tests.conftest import fetch
from tests.pages.visiting import HTML, Visitor, visit

if TYPE_CHECKING:
    from tests.api.conftest import Populated
    from tests.api.harness import Harness


async def test_a_key_signs_in_and_the_first_page_shows_the_fleet(harness: Harness) -> None:
    visitor = await visit(harness)
    assert "North" in await visitor.read("/")


async def test_nobody_is_led_to_the_sign_in_page_and_back(harness: Harness) -> None:
    visitor = Visitor(harness)
    answer = await visitor.get("/?order=name&x=1")
    leads_to = "/sign-in?next=/%3Forder%3Dname%26x%3D1"
    assert (answer.status, answer.headers["location"]) == (303, leads_to)


@pytest.mark.parametrize("key", ["ingest", "lh_00_00", "", "nonsense"])
async def test_a_key_that_may_not_read_signs_nobody_in(harness: Harness, key: str) -> None:
    visitor = Visitor(harness)
    answer = await visitor.sign_in(key)
    assert (answer.status, visitor.cookie) == (401, None)


async def test_signing_out_ends_the_sign_in_at_once(harness: Harness) -> None:
    visitor = await visit(harness)
    cookie = visitor.cookie
    assert (await visitor.send("/sign-out", {})).status == 303
    visitor.cookie = cookie
    assert (await visitor.get("/")).status == 303


async def test_signing_out_everywhere_ends_the_other_browsers_too(harness: Harness) -> None:
    here, there = await visit(harness), await visit(harness)
    await here.send("/sign-out", {"everywhere": "yes"})
    assert (await there.get("/")).status == 303


async def test_a_sign_in_is_over_after_twelve_hours(harness: Harness) -> None:
    visitor = await visit(harness)
    harness.let_pass(12 * 3600 - 1)
    assert (await visitor.get("/")).status == 200
    harness.let_pass(2)
    assert (await visitor.get("/")).status == 303


async def test_a_limited_key_sees_only_its_own_workspaces(harness: Harness) -> None:
    page = await (await visit(harness, "north")).read("/")
    assert "North" in page
    assert "South" not in page


async def test_a_revoked_key_opens_no_further_page(harness: Harness) -> None:
    await harness.add_key("visitor", ["read"], None, key_id="ab")
    visitor = await visit(harness, "visitor")
    await harness.stores.keys.revoke_key("ab", within=None, by=Author("admin"))
    answer = await visitor.get("/account")
    assert (answer.status, answer.headers["location"]) == (303, "/sign-in?next=/account")


async def test_an_expired_key_opens_no_further_page(harness: Harness) -> None:
    ends_at = harness.clock.now() + timedelta(minutes=5)
    await harness.add_key("visitor", ["read"], None, expires_at=ends_at)
    visitor = await visit(harness, "visitor")
    harness.let_pass(299)
    assert (await visitor.get("/")).status == 200
    harness.let_pass(1)
    assert (await visitor.get("/")).status == 303
    assert b"has expired" in (await Visitor(harness).sign_in("visitor")).body


async def test_a_replaced_key_opens_no_further_page(harness: Harness) -> None:
    await harness.add_key("visitor", ["read"], None, key_id="ab")
    visitor = await visit(harness, "visitor")
    keys, record = harness.stores.keys, await harness.stores.keys.find_key("ab")
    assert isinstance(keys, PostgresKeys)
    assert record is not None
    await keys.replace_key(record._replace(key_id="cd"), by=Author("admin"))
    assert (await visitor.get("/")).status == 303


async def test_what_a_key_may_do_is_asked_at_every_request(harness: Harness) -> None:
    await harness.add_key("visitor", ["read"], ["north"], key_id="ab")
    visitor = await visit(harness, "visitor")
    keys, record = harness.stores.keys, await harness.stores.keys.find_key("ab")
    assert isinstance(keys, PostgresKeys)
    assert record is not None
    wider = record._replace(workspaces=frozenset({"south"}))
    await keys.replace_key(wider, by=Author("admin"))
    assert "North" not in await visitor.read("/")


async def test_signing_in_replaces_the_cookie_that_was_there(harness: Harness) -> None:
    visitor = await visit(harness)
    planted = visitor.cookie
    await visitor.sign_in()
    assert visitor.cookie != planted
    assert (await visitor.get("/")).status == 200
    visitor.cookie = planted
    assert (await visitor.get("/")).status == 303


async def test_wrong_keys_are_counted_and_refused_beyond_the_rate(harness: Harness) -> None:
    services = harness.make_services(gate_limits=GateLimits(wrong_keys_per_second=2))
    harness.client = create_app(services).test_client()
    visitor = Visitor(harness)
    statuses = [(await visitor.sign_in("lh_00_00")).status for _ in range(3)]
    assert statuses == [401, 401, 429]
    refused = await visitor.sign_in("lh_00_00")
    assert refused.headers["retry-after"] == "1"
    assert b"Too many wrong keys came from this address" in refused.body
    assert (services.traffic.wrong_keys, services.traffic.refused) == (4, {"wrong_keys": 2})
    assert (await harness.ask("GET", "/workspaces", key="lh_00_00")).status == 429
    assert (await visitor.sign_in()).status == 303  # a right key is never held up


async def test_neither_key_nor_secret_is_stored_shown_or_logged(
    harness: Harness, populated: Populated
) -> None:
    with structlog.testing.capture_logs() as logs:
        visitor = await visit(harness)
        page, account = await visitor.read("/"), await visitor.read("/account")
        wrong = await visitor.sign_in(harness.tokens["all"] + "0")
    assert visitor.cookie is not None
    hidden = (harness.tokens["all"].rpartition("_")[2], visitor.cookie.partition(".")[2])
    stored = await trio.to_thread.run_sync(
        fetch, populated.dsn, "SELECT row_to_json(s)::text AS row FROM sign_ins s"
    )
    seen = f"{logs}{page}{account}{wrong.body!r}{[row['row'] for row in stored]}"
    assert len(stored) == 1
    assert [text for text in hidden if text in seen] == []


async def test_a_refusal_at_the_gate_is_a_page_for_a_browser(harness: Harness) -> None:
    limits = GateLimits(places=InFlightLimits(without_key=0))
    harness.client = create_app(harness.make_services(gate_limits=limits)).test_client()
    shown = await Visitor(harness).get("/sign-in", accept=HTML)
    assert (shown.status, shown.headers["content-type"]) == (503, "text/html; charset=utf-8")
    assert b"All places for requests without a key are taken." in shown.body
    assert "frame-ancestors 'none'" in shown.headers["content-security-policy"]
    assert (await Visitor(harness).get("/sign-in", accept="*/*")).problem == "overloaded"
    assert (await harness.ask("GET", "/workspaces", key=None)).problem == "overloaded"


async def test_a_link_of_another_site_asks_once_more_with_the_cookie(
    harness: Harness,
) -> None:
    from_mail = {"Sec-Fetch-Site": "cross-site"}
    arrived = await Visitor(harness).get('/?tag="x"', headers=from_mail)
    assert arrived.status == 200
    assert b'content="0;url=/?tag=&#34;x&#34;"' in arrived.body
    again = await Visitor(harness).get("/", headers={"Sec-Fetch-Site": "same-origin"})
    assert again.status == 303
