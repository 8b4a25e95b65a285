"""What people come for, from the first page to the end, in a browser."""

from __future__ import annotations

import csv
import time
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import pytest

from tests.browser.depot import DEPOT, QUICK, QUICK_DEVICE, VANS, report
from tests.browser.service import CUTOVER
from tests.browser.watching import watched_page

if TYPE_CHECKING:
    from collections.abc import Mapping

    from playwright.sync_api import Browser, Locator, Page

    from tests.browser.service import Service

GATE_SECONDS: Final = 120.0
REASON: Final = "a test of the way back"


def row(page: Page, *ids: str) -> Locator:
    return page.locator(f'[data-row="{"/".join(ids)}"]')


def test_three_clicks_lead_to_the_cause_of_a_silence(page: Page, lively: Mapping[str, str]) -> None:
    main = page.get_by_role("main")
    main.get_by_role("link", name="Harbour", exact=True).click()
    main.locator('.totals [data-state="stale"]').click()
    row(page, lively["workspace_id"], lively["device_id"]).get_by_role("link").first.click()
    page.get_by_role("heading", name="Why it is stale").wait_for()
    cause = page.locator(".because").inner_text()
    assert "is stale because" in cause
    assert "reason: device silent" in cause


def test_the_worklist_comes_as_csv_with_the_filters_of_the_page(
    page: Page, lively: Mapping[str, str]
) -> None:
    workspace, device = lively["workspace_id"], lively["device_id"]
    page.get_by_role("link", name="Worklist").click()
    page.locator('input[name="workspace_id"]').fill(workspace)
    page.get_by_role("button", name="Filter").click()
    page.wait_for_url(f"**/worklist?*workspace_id={workspace}*")
    page.locator(f'a[href="/workspaces/{workspace}/devices/{device}"]').wait_for()
    with page.expect_download() as started:
        page.get_by_role("link", name="Download as CSV").click()
    text = started.value.path().read_text(encoding="utf-8-sig")
    rows = list(csv.DictReader(text.splitlines()))
    assert {each["workspace_id"] for each in rows} == {workspace}
    assert device in {each["device_id"] for each in rows}


def test_a_policy_shows_what_would_flip_before_it_is_stored(page: Page, service: Service) -> None:
    page.goto(f"/workspaces/{DEPOT}")
    page.get_by_role("link", name="Settings").click()
    before = service.ask("GET", f"/workspaces/{DEPOT}/policy")
    page.locator("#freshness_target_seconds").fill("1")
    page.locator("#delayed_after_seconds").fill("2")
    page.locator("#stale_after_seconds").fill("3")
    page.get_by_role("button", name="Preview").click()
    flips = page.locator('[data-region="preview"] .verdict')
    flips.filter(has_text=f"of {len(VANS)} devices would change").wait_for()
    assert service.ask("GET", f"/workspaces/{DEPOT}/policy") == before


def test_a_stored_policy_is_in_its_history(page: Page, service: Service) -> None:
    path = f"/workspaces/{QUICK}/settings"
    page.goto(path)
    page.locator("#grace_seconds").fill("4321")
    page.get_by_role("button", name="Store").click()
    page.locator(".history tbody tr").first.filter(has_text="4321").wait_for()
    assert service.ask("GET", f"/workspaces/{QUICK}/policy")["grace_seconds"] == 4321


def test_a_workspace_goes_through_the_gate_and_back(page: Page, service: Service) -> None:
    _wait_for_gate(service)
    page.goto(f"/workspaces/{CUTOVER}/admin")
    page.get_by_role("link", name="Go to step 3").click()
    page.get_by_role("heading", name="The gate is open").wait_for()
    page.get_by_role("button", name="Change it").click()
    page.get_by_role("link", name="Roll back…").click()
    page.get_by_text("Nothing is destroyed.").wait_for()
    page.get_by_label("Reason, kept in the audit").fill(REASON)
    page.get_by_role("button", name="Roll back").click()
    page.get_by_role("heading", name="cutover").wait_for()
    stored = service.ask("GET", f"/workspaces/{CUTOVER}/cutover")
    assert (stored["poll_owner"], stored["read_owner"]) == ("legacy", "legacy")
    page.goto(f"/workspaces/{CUTOVER}/audit")
    assert REASON in page.locator("main").inner_text()


def _wait_for_gate(service: Service) -> None:
    until = time.monotonic() + GATE_SECONDS
    while time.monotonic() < until:
        if service.ask("GET", f"/workspaces/{CUTOVER}/cutover")["gate_view"]["is_open"]:
            return
        time.sleep(0.5)
    raise AssertionError(f"the gate was not open within {GATE_SECONDS:g} s")


def test_a_device_turns_stale_before_the_eyes_of_its_viewer(page: Page, service: Service) -> None:
    service.call(report, service.shard, QUICK, QUICK_DEVICE)
    page.goto(f"/workspaces/{QUICK}")
    page.evaluate("window.isTheSamePage = true")
    state = row(page, QUICK, QUICK_DEVICE).locator('[data-field="state"]')
    state.filter(has_text="healthy").wait_for()
    state.filter(has_text="stale").wait_for()
    assert page.evaluate("window.isTheSamePage")


def test_signing_out_everywhere_ends_every_browser(
    browser: Browser, service: Service, page: Page
) -> None:
    key = service.ask("POST", "/keys", {"name": "leaver", "scopes": ["read"]})["token"]
    with (
        watched_page(browser, service.address) as (here, _),
        watched_page(browser, service.address) as (there, _),
    ):
        for each in (here, there):
            each.goto(f"/sign-in#{key}")
            each.wait_for_url("**/")
        here.get_by_role("link", name="leaver").click()
        here.get_by_role("button", name="Sign out everywhere").click()
        here.get_by_label("Your key").wait_for()
        there.reload()
        there.get_by_label("Your key").wait_for()
    page.reload()  # another key stays signed in
    page.get_by_role("heading", name="Fleet").wait_for()


@pytest.mark.parametrize("is_signed_in", [True, False])
def test_a_link_in_an_e_mail_opens_the_page(
    stranger: Page, service: Service, is_signed_in: bool
) -> None:
    if is_signed_in:
        stranger.goto(service.sign_in_address)
        stranger.wait_for_url("**/")
    link = f"{service.address}/worklist?workspace_id={DEPOT}"
    mail = quote(f"<a href='{link}'>the worklist</a>")
    stranger.goto(f"data:text/html,{mail}")
    stranger.get_by_role("link", name="the worklist").click()
    if is_signed_in:
        stranger.wait_for_url(f"**/worklist?workspace_id={DEPOT}")
        stranger.get_by_role("heading", name="Worklist").wait_for()
    else:
        stranger.get_by_label("Your key").fill(service.key)
        stranger.get_by_role("button", name="Sign in").click()
        stranger.wait_for_url(f"**/worklist?workspace_id={DEPOT}")


def test_a_page_of_another_site_may_not_frame_ours(
    browser: Browser, service: Service, cookies: list[Any]
) -> None:
    with watched_page(browser, "http://localhost") as (page, watch):
        page.context.add_cookies(cookies)
        page.set_content(f'<iframe src="{service.address}/"></iframe>')
        page.frame_locator("iframe").locator("body").wait_for(state="attached")
        assert "Fleet" not in page.frames[-1].content()
        assert any("frame-ancestors" in each for each in watch.wrong)
