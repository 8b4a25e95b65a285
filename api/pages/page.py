"""The table of pages, and the frame around each: who looks, what may be shown, its template.

A page is a function that asks the API and returns the values of its template. An action is a form
that a page sends: it is checked, done, and answered with a redirect. This file knows no page.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import quote

import structlog
from quart import Response, g, request
from quart.typing import ResponseReturnValue

from api.auth import find_address
from api.frame import ROUTE
from api.keys import Scope
from api.pages.guard import add_headers, check_form
from api.pages.live_stream import open_stream
from api.pages.refusals import install_refusals
from api.pages.rendering import render
from api.pages.viewer import Viewer, current_viewer, read_ticket, view_as
from api.problem_types import MISSING_SCOPE, NOT_FOUND, UNAUTHENTICATED
from api.problems import Problem
from api.request_spans import name_route
from domain.ids import is_id
from runtime.faults import EnvironmentFault

if TYPE_CHECKING:
    from quart_trio import QuartTrio

    from api.pages.contract import Contract
    from api.pages.live_watch import Watch
    from api.services import ApiServices
    from api.wrong_keys import WrongKeys

SIGN_IN_PATH: Final = "/sign-in"
STREAMS_END_WITH: Final = "/live"  # as api/visitors.py knows them
_FROM_ELSEWHERE: Final = ("cross-site", "same-site")

Values = Mapping[str, Any]
ShowPage = Callable[..., Awaitable[Values]]
DoAction = Callable[..., Awaitable[ResponseReturnValue]]
DeclareWatch = Callable[..., Awaitable["Watch"]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRoute:
    """One address. `scope` None: open to everyone. `template`: that of a page, else None.

    `is_form`: it is a POST of a form, checked before its handler runs.
    """

    path: str
    name: str
    handler: DoAction
    scope: Scope | None
    methods: tuple[str, ...] = ("GET",)
    template: str | None = None
    is_form: bool = False


class Pages:
    """The pages, as they are declared. `ask` is the API; `services` are for sign-ins and times."""

    def __init__(self, services: ApiServices, contract: Contract, wrong_keys: WrongKeys) -> None:
        self.services = services
        self.ask = contract
        self.wrong_keys = wrong_keys
        self._by_name: dict[str, PageRoute] = {}

    def page(
        self, path: str, template: str, *, scope: Scope | None = Scope.READ
    ) -> Callable[[ShowPage], ShowPage]:
        """Decorate a function that returns the values of `template`. Its name is the page's id.

        `path` is a route of Werkzeug; ids in it are checked before the function gets them.
        """

        def remember(show: ShowPage) -> ShowPage:
            async def answer(**parts: str) -> Response:
                return await render(template, await show(**parts))

            name = show.__name__
            self._add(
                PageRoute(path=path, name=name, handler=answer, scope=scope, template=template)
            )
            return show

        return remember

    def action(self, path: str, *, scope: Scope) -> Callable[[DoAction], DoAction]:
        """Decorate a function that does what a form asks, and returns a redirect or a page."""

        def remember(do: DoAction) -> DoAction:
            self._add(
                PageRoute(
                    path=path,
                    name=do.__name__,
                    handler=do,
                    scope=scope,
                    methods=("POST",),
                    is_form=True,
                )
            )
            return do

        return remember

    def live(
        self, path: str, *, scope: Scope | None = Scope.READ
    ) -> Callable[[DeclareWatch], DeclareWatch]:
        """Decorate a function that says what the live page at `path` watches: its stream.

        The stream's address is the page's with `/live` behind it.
        """

        def remember(declare: DeclareWatch) -> DeclareWatch:
            async def answer(**parts: str) -> Response:
                return open_stream(self.services, await declare(**parts))

            stream_path = f"{path.rstrip('/')}{STREAMS_END_WITH}"
            self._add(
                PageRoute(path=stream_path, name=declare.__name__, handler=answer, scope=scope)
            )
            return declare

        return remember

    def raw(
        self, path: str, *, scope: Scope | None = Scope.READ, methods: Iterable[str] = ("GET",)
    ) -> Callable[[DoAction], DoAction]:
        """Decorate a function that makes its whole answer: a download, an asset, a stream."""

        def remember(handler: DoAction) -> DoAction:
            self._add(
                PageRoute(
                    path=path,
                    name=handler.__name__,
                    handler=handler,
                    scope=scope,
                    methods=tuple(methods),
                )
            )
            return handler

        return remember

    def __iter__(self) -> Iterator[PageRoute]:
        return iter(self._by_name.values())

    def _add(self, page: PageRoute) -> None:
        if page.name in self._by_name:
            raise ValueError(f"two pages are called {page.name}; a page's name must be unique")
        self._by_name[page.name] = page

    def install(self, app: QuartTrio) -> None:
        """Give `app` the routes of all pages, the checks before them, and the headers after."""
        for page in self._by_name.values():
            app.add_url_rule(page.path, page.name, page.handler, methods=list(page.methods))
        app.before_request(self._admit)
        app.after_request(add_headers)
        install_refusals(app)

    async def _admit(self) -> ResponseReturnValue | None:
        """Find the viewer of the request, and check the page's scope and the ids in its path."""
        with suppress(EnvironmentFault):  # then a page that needs no database still works
            g.now = self.services.clock.now()
        scope = cast("dict[str, object]", request.scope)
        scope[ROUTE] = f"page {request.endpoint or 'unmatched'}"
        page = self._by_name.get(request.endpoint or "")
        if page is None or page.scope is None:
            return None  # no such page: the framework answers 404; or a page for everyone
        name_route(request.method, page.path, request.view_args or {})
        viewer = await self.find_viewer()
        if viewer is None:
            return await _lead_to_sign_in(page)
        g.viewer = viewer
        g.settings_pages = self.services.settings_pages
        structlog.contextvars.bind_contextvars(key_id=viewer.access.who)
        self._check(page, viewer)
        if page.is_form:
            await check_form(viewer)
        return None

    async def find_viewer(self) -> Viewer | None:
        """Return the viewer of the request; None if nobody is signed in with it."""
        ticket = read_ticket(request.scope["headers"])
        if ticket is None:
            return None
        found = await self.services.sign_ins.find_sign_in(ticket.sign_in_id)
        now = self.services.clock.now()
        viewer = view_as(found, ticket, now, find_address(self.services))
        if viewer is not None:
            self.services.key_uses.note(viewer.access.who, now)
        return viewer

    @staticmethod
    def _check(page: PageRoute, viewer: Viewer) -> None:
        if page.scope is not None and not viewer.may(page.scope):
            raise Problem(MISSING_SCOPE, f"This page needs a key with the scope {page.scope}.")
        parts = request.view_args or {}
        if not all(is_id(part) for part in parts.values()):
            raise Problem(NOT_FOUND, "An id in the address is not one.")
        workspace_id = parts.get("workspace_id")
        if workspace_id is not None and not viewer.access.sees(workspace_id):
            raise Problem(NOT_FOUND, f"There is no workspace {workspace_id}.")


async def _lead_to_sign_in(page: PageRoute) -> Response:
    """Return a redirect to the sign-in page, which leads back here; a stream or form gets 401.

    Browsers leave our cookie out when a link of another site, or of an e-mail, leads here. So such
    a visitor may be signed in: the answer makes the browser ask again by itself, with the cookie.
    """
    if page.is_form or "text/html" not in request.headers.get("Accept", ""):
        raise Problem(UNAUTHENTICATED, "Sign in first, at /sign-in.")
    there = "/" + request.full_path.rstrip("?").lstrip("/")  # `//x` would be another host
    if request.headers.get("Sec-Fetch-Site", "none") in _FROM_ELSEWHERE:
        return await render("arrival.html", {"there": there})
    leads_back = "" if there == "/" else f"?next={quote(there, safe='/')}"
    return redirect(f"{SIGN_IN_PATH}{leads_back}")


def redirect(path: str) -> Response:
    """Return a redirect to a path of this service (303: it is read with GET)."""
    return Response(b"", HTTPStatus.SEE_OTHER, {"Location": path})


def viewer_if_any() -> Viewer | None:
    return current_viewer() if "viewer" in g else None
