"""What guards every page: a table over all that is declared, so a new page is in it.

Headers against framing and injection, the sign-in before anything else, forms of other sites, and
redirects to other hosts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from api.pages.app import MAX_FORM_BYTES
from api.pages.guard import HEADERS
from api.pages.sign_in import local_path
from api.pages.viewer import COOKIE
from tests.pages.every_page import QUERIES, address_of, every_page, every_route
from tests.pages.visiting import HTML, Visitor, visit

if TYPE_CHECKING:
    from api.pages.page import PageRoute
    from tests.api.harness import Answer, Harness

PARTS: Final = {
    "workspace_id": "north",
    "device_id": "bus-1",
    "digest": "0",
    "name": "base.css",
    "event_id": "1",
    "cycle_id": "c1",
    "provider_id": "live",
}
ROUTES: Final = every_route()
GUARDED: Final = [route for route in ROUTES if route.scope is not None]
FORMS: Final = [route for route in ROUTES if route.is_form]
READS: Final = [route for route in GUARDED if "GET" in route.methods]
FOREIGN: Final = {
    "another site": {"Origin": "https://evil.example"},
    "another port": {"Origin": "http://localhost:81"},
    "a name that begins like ours": {"Origin": "http://localhost.evil.example"},
    "a sandboxed page": {"Origin": "null"},
    "an empty origin": {"Origin": ""},
    "a browser that tells the site only": {"Origin": "http://localhost", "Sec-Fetch-Site": "none"},
    "another site with a stolen origin": {"Sec-Fetch-Site": "cross-site"},
    "a sister host": {"Sec-Fetch-Site": "same-site"},
}


def named(routes: list[PageRoute]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("route", routes, ids=lambda route: route.name)


def assert_guarded(answer: Answer) -> None:
    missing = {
        name: value for name, value in HEADERS.items() if answer.headers.get(name.lower()) != value
    }
    assert missing == {}


@named(every_page())
async def test_every_page_has_the_headers_of_the_guard(harness: Harness, route: PageRoute) -> None:
    visitor = await visit(harness)
    answer = await visitor.get(address_of(route.path, PARTS) + QUERIES.get(route.name, ""))
    assert answer.status == 200, answer.body
    assert_guarded(answer)
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize("accept", [HTML, "*/*"])
@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/sign-in", 200),
        ("/nowhere", 404),
        ("/assets/0/base.css", 200),
        ("/assets/0/nothing.css", 404),
        ("/assets/0/..%2Fapp.py", 404),
        ("/sign-out", 405),
        ("/workspaces/north/", 404),
    ],
)
async def test_strangers_get_the_headers_with_every_answer(
    harness: Harness, path: str, status: int, accept: str
) -> None:
    answer = await Visitor(harness).get(path, accept=accept)
    assert answer.status == status
    assert_guarded(answer)
    if status >= 400:
        kind = "text/html" if accept == HTML else "application/problem+json"
        assert answer.headers["content-type"].startswith(kind)


@pytest.mark.parametrize(
    "path", ["/api", "/api/nowhere", "/api/telematics-mvp/workspaces", "/docs"]
)
async def test_the_cookie_opens_no_part_of_the_api(harness: Harness, path: str) -> None:
    answer = await (await visit(harness)).get(path)
    if path == "/docs":
        assert answer.status == 200
    else:
        assert answer.status in (401, 404)
        assert answer.headers["content-type"] == "application/problem+json"


@named(READS)
async def test_a_stranger_sees_no_page(harness: Harness, route: PageRoute) -> None:
    visitor = Visitor(harness)
    path = address_of(route.path, PARTS)
    led = await visitor.get(path)
    assert led.status == 303
    assert led.headers["location"].startswith("/sign-in")
    refused = await visitor.get(path, accept="text/event-stream")
    assert (refused.status, refused.problem) == (401, "unauthenticated")


@named(GUARDED)
async def test_a_forged_cookie_opens_nothing(harness: Harness, route: PageRoute) -> None:
    visitor = await visit(harness)
    assert visitor.cookie is not None
    sign_in_id, _, secret = visitor.cookie.partition(".")
    for cookie in (f"{sign_in_id}.{'A' * 43}", f"{'0' * 16}.{secret}", "x", f"{secret}"):
        visitor.cookie = cookie
        answer = await visitor.ask(route.methods[0], address_of(route.path, PARTS))
        assert answer.status in (303, 401)


@named(GUARDED)
async def test_a_key_without_the_scope_is_refused(harness: Harness, route: PageRoute) -> None:
    if route.scope == "read":
        return  # such a key does not sign in: test_sign_in.py
    visitor = await visit(harness, "read")
    answer = await visitor.send_unchecked(address_of(route.path, PARTS), route.methods[0])
    assert answer.status == 403


@named([route for route in GUARDED if "<workspace_id>" in route.path])
async def test_a_limited_key_finds_no_foreign_workspace(harness: Harness, route: PageRoute) -> None:
    visitor = await visit(harness, "north")
    path = address_of(route.path, {**PARTS, "workspace_id": "south"})
    answer = await visitor.send_unchecked(path, route.methods[0])
    assert answer.status == 404
    assert b"South" not in answer.body


@pytest.mark.parametrize("headers", FOREIGN.values(), ids=FOREIGN)
async def test_no_form_of_another_site_is_taken(harness: Harness, headers: dict[str, str]) -> None:
    visitor = await visit(harness)
    token = await visitor.token()
    for form in FORMS:
        path = address_of(form.path, PARTS)
        answer = await visitor.post(path, {"csrf": token}, headers=headers)
        assert answer.status == 403, (form.name, answer.body)
        assert_guarded(answer)
    signing_in = await Visitor(harness).post(
        "/sign-in", {"key": harness.tokens["all"]}, headers=headers
    )
    assert (signing_in.status, "set-cookie" in signing_in.headers) == (403, False)


@named(FORMS)
async def test_a_form_needs_the_token_of_its_sign_in(harness: Harness, route: PageRoute) -> None:
    visitor, other = await visit(harness), await visit(harness)
    path = address_of(route.path, PARTS)
    for token in ("", "0" * 64, "é", await other.token()):
        answer = await visitor.post(path, {"csrf": token})
        assert (answer.status, b"another sign-in" in answer.body) == (403, True)
    assert (await visitor.get("/")).status == 200


@named(FORMS)
async def test_a_form_is_not_read_by_a_link(harness: Harness, route: PageRoute) -> None:
    visitor = await visit(harness)
    answer = await visitor.get(f"{address_of(route.path, PARTS)}?csrf={await visitor.token()}")
    assert answer.status in (200, 404, 405)  # not 405 where a page has the same address
    assert (await visitor.get("/")).status == 200


async def test_a_client_without_a_browser_may_send_a_form(harness: Harness) -> None:
    form = {"key": harness.tokens["all"]}
    answer = await Visitor(harness).ask("POST", "/sign-in", form=form)
    assert answer.status == 303


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE"])
async def test_other_methods_are_refused_with_those_that_are_not(
    harness: Harness, method: str
) -> None:
    answer = await (await visit(harness)).ask(method, "/")
    assert answer.status == 405
    assert {"GET", "HEAD"} <= set(answer.headers["allow"].split(", "))
    assert_guarded(answer)


async def test_head_and_options_tell_no_more_than_a_page(harness: Harness) -> None:
    visitor, stranger = await visit(harness), Visitor(harness)
    head = await visitor.ask("HEAD", "/")
    assert head.status == 200  # the server sends no body of it
    assert (await stranger.ask("HEAD", "/")).status == 303
    options = await visitor.ask("OPTIONS", "/", headers={"Origin": "https://evil.example"})
    assert options.body == b""
    assert [name for name in options.headers if name.startswith("access-control")] == []


async def test_a_form_has_a_bound(harness: Harness) -> None:
    answer = await Visitor(harness).post("/sign-in", {"key": "x" * (MAX_FORM_BYTES + 1)})
    assert (answer.status, b"larger" in answer.body) == (413, True)


@pytest.mark.parametrize(
    "there",
    [
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "\\/evil.example",
        "/\t/evil.example",
        "/\n/evil.example",
        "https:evil.example",
        "https://evil.example",
        "javascript:alert(1)",
        "data:text/html,x",
        "evil.example",
        " //evil.example",
        "/x\r\nSet-Cookie: a=b",
        "/\x00",
        "/é",
        "/" + "x" * 5000,
        "",
        "?x",
        "@evil.example",
        ".evil.example",
    ],
)
async def test_signing_in_leads_to_no_other_host(harness: Harness, there: str) -> None:
    answer = await Visitor(harness).sign_in(to=there)
    assert (answer.status, answer.headers["location"]) == (303, "/")
    shown = await Visitor(harness).read("/sign-in")
    assert 'name="next" value="/"' in shown


async def test_a_doubled_slash_leads_to_no_other_host(harness: Harness) -> None:
    stranger = Visitor(harness)
    led = await stranger.get("//worklist")
    assert led.headers["location"] == "/sign-in?next=/worklist"
    arrived = await stranger.get("//worklist", headers={"Sec-Fetch-Site": "cross-site"})
    assert b"url=/worklist" in arrived.body


@pytest.mark.parametrize("there", ["/", "/worklist?state=stale&tag=a%20b", "/%09/evil.example"])
def test_signing_in_leads_back_to_a_page_of_ours(there: str) -> None:
    assert local_path(there) == there


async def test_the_cookie_is_for_this_host_alone_and_no_script(harness: Harness) -> None:
    answer = await Visitor(harness).sign_in()
    name, *attributes = answer.headers["set-cookie"].split("; ")
    assert name.startswith(f"{COOKIE}=")
    assert COOKIE.startswith("__Host-")
    wanted = {"Secure", "HttpOnly", "Path=/", "SameSite=Strict", "Max-Age=43200"}
    assert wanted <= set(attributes)
    assert not any(each.startswith("Domain") for each in attributes)


async def test_signing_out_takes_the_cookie_away(harness: Harness) -> None:
    visitor = await visit(harness)
    answer = await visitor.send("/sign-out", {})
    assert f"{COOKIE}=;" in answer.headers["set-cookie"]
    assert "Max-Age=0" in answer.headers["set-cookie"]
