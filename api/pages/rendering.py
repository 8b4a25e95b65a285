"""Templates into answers.

Owns the environment of the templates: everything is escaped, an unknown name is an error. A long
page lets other tasks run while it is rendered.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import trio
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from quart import Response, g, request

from api.pages import words
from api.pages.assets import asset
from api.pages.contract import path_of
from api.pages.numbers import show_count, show_percent, show_rounded
from api.pages.times import show_age, show_instant, show_since
from api.settings_pages import EVERYWHERE

if TYPE_CHECKING:
    from collections.abc import Mapping

HTML: Final = "text/html; charset=utf-8"
# So many pieces of a template are rendered before other tasks may run: about a millisecond.
PIECES_AT_ONCE: Final = 500

_environment = Environment(
    loader=PackageLoader("api.pages", "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.filters |= {
    "instant": show_instant,
    "age": show_age,
    "since": show_since,
    "count": show_count,
    "percent": show_percent,
    "rounded": show_rounded,
    "state_name": words.state_name,
    "party_name": words.party_name,
    "reason_name": words.reason_name,
    "age_name": words.age_name,
    "signal_name": words.signal_name,
    "source_name": words.source_name,
}
_environment.globals |= {
    "asset": asset,
    "path_of": path_of,
    "meaning": words.meaning,
    "STATES": words.STATES,
}


async def render(template: str, values: Mapping[str, Any], status: int = HTTPStatus.OK) -> Response:
    """Return the page of a template. Every template also gets `viewer`, `path` and `now`.

    `viewer` is None on a page for everyone. `now` is the database's time at the request; None while
    it is not known. `settings_pages` says which workspaces have a settings page.
    """
    return Response(await _generate(template, values), status, content_type=HTML)


async def render_part(template: str, values: Mapping[str, Any]) -> Markup:
    """Return a part of a page, for the template of the page. It must not depend on the viewer."""
    return Markup(await _generate(template, values))  # noqa: S704 - the template has escaped it


async def _generate(template: str, values: Mapping[str, Any]) -> str:
    frame = {
        "viewer": g.get("viewer"),
        "path": request.path,
        "now": g.get("now"),
        "settings_pages": g.get("settings_pages", EVERYWHERE),
    }
    rendering = _environment.get_template(template).generate(**{**frame, **values})
    pieces: list[str] = []
    for count, piece in enumerate(rendering, 1):
        pieces.append(piece)
        if count % PIECES_AT_ONCE == 0:
            await trio.lowlevel.checkpoint()
    return "".join(pieces)


def render_refusal(path: str, problem: Mapping[str, Any]) -> bytes:
    """Return the page of a refusal outside the application: nobody knows the viewer."""
    template = _environment.get_template("refusal.html")
    return template.render(viewer=None, path=path, now=None, problem=problem).encode()
