"""The guards of the pages: the headers of every answer, and the check of every write.

Owns the Content-Security-Policy: everything comes from this service, nothing is inline, and no
other page may frame ours.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Final

from quart import request

from api.problem_types import FOREIGN_FORM
from api.problems import Problem

if TYPE_CHECKING:
    from quart import Response

    from api.pages.viewer import Viewer

POLICY: Final = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    ]
)
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # `no-referrer` would make browsers send `Origin: null` with our own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
CSRF_FIELD: Final = "csrf"
SAME_ORIGIN: Final = "same-origin"


def add_headers(response: Response) -> Response:
    """Give an answer of the pages its headers. An answer without its own caching is not stored."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("Cache-Control", "no-store")
    return response


def check_origin() -> None:
    """Raise Problem 403 unless the request was sent by a page of this service.

    Browsers name the sender of every POST. A request that names none comes from no browser page.
    """
    origin = request.headers.get("Origin")
    is_foreign = origin is not None and origin.partition("://")[2] != request.host
    if is_foreign or request.headers.get("Sec-Fetch-Site", SAME_ORIGIN) != SAME_ORIGIN:
        raise Problem(
            FOREIGN_FORM,
            "The form was sent by a page of another site. If it was a page of this service, a "
            "proxy in front of it changes the header Host: let it pass the browser's.",
        )


async def check_form(viewer: Viewer) -> None:
    """Raise Problem 403 unless the form is one that this sign-in was shown."""
    check_origin()
    token = (await request.form).get(CSRF_FIELD, "")
    if not hmac.compare_digest(token.encode(), viewer.csrf.encode()):
        raise Problem(
            FOREIGN_FORM, "The form is of another sign-in: go back, reload the page, and try again."
        )
