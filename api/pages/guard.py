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
    if origin is not None:
        is_ours = origin.partition("://")[2] == request.host
    else:
        is_ours = request.headers.get("Sec-Fetch-Site", "same-origin") == "same-origin"
    if not is_ours:
        raise Problem(FOREIGN_FORM, "The form was sent by a page of another site.")


async def check_form(viewer: Viewer) -> None:
    """Raise Problem 403 unless the form is one that this sign-in was shown."""
    check_origin()
    token = (await request.form).get(CSRF_FIELD, "")
    if not hmac.compare_digest(token.encode(), viewer.csrf.encode()):
        raise Problem(
            FOREIGN_FORM, "The form is of another sign-in: go back, reload the page, and try again."
        )
