"""Signing in and out, in a browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.browser.service import Service


def test_the_address_of_the_demo_opens_signed_in(stranger: Page, service: Service) -> None:
    stranger.goto(service.sign_in_address)
    stranger.wait_for_url("**/")
    stranger.get_by_role("heading", name="Fleet").wait_for()
    assert service.key not in stranger.content()
    assert service.key not in stranger.url


def test_a_person_signs_in_by_pasting_a_key(stranger: Page, service: Service) -> None:
    stranger.goto("/")
    stranger.get_by_label("Your key").fill(service.key)
    stranger.get_by_role("button", name="Sign in").click()
    stranger.get_by_role("heading", name="Fleet").wait_for()


def test_the_cookie_is_hidden_from_scripts(page: Page, service: Service) -> None:
    cookie = page.context.cookies()[0]
    form = (cookie["name"], cookie["httpOnly"], cookie["secure"], cookie["sameSite"])
    assert form == ("__Host-lastheard", True, True, "Strict")
    kept = "[document.cookie, {...localStorage}, {...sessionStorage}]"
    seen = page.evaluate(f"JSON.stringify({kept})")
    assert service.key not in seen
    assert cookie["value"].partition(".")[2] not in seen


def test_signing_out_leads_to_the_sign_in_page(page: Page) -> None:
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/sign-in")
    page.goto("/")
    page.get_by_label("Your key").wait_for()
