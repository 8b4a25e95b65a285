"""Signing in with a key, and out again.

Owns the cookie. Its secret is made here, goes to the browser, and only its hash is stored. The key
itself is checked and forgotten. Each sign-in has a new secret, so a cookie that somebody planted
before is worth nothing.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from quart import Response, request

from api.addresses import UNKNOWN_ADDRESS, counting_name
from api.auth import find_address
from api.keys import Scope, parse_token, why_refused
from api.pages.guard import check_origin
from api.pages.page import SIGN_IN_PATH, Pages, redirect
from api.pages.rendering import render
from api.pages.viewer import COOKIE, SIGN_IN_LASTS, current_viewer, mint_sign_in
from runtime.logs import get_logger

if TYPE_CHECKING:
    from quart.typing import ResponseReturnValue

    from ports.keys import KeyRecord

FIRST_PAGE: Final = "/"
MAX_NEXT_CHARACTERS: Final = 2000
_log = get_logger("pages")


def declare_sign_in(pages: Pages) -> None:
    services = pages.services

    @pages.page(SIGN_IN_PATH, "sign_in.html", scope=None)
    async def show_sign_in() -> dict[str, Any]:
        return {"next": local_path(request.args.get("next")), "refusal": None}

    @pages.raw(SIGN_IN_PATH, scope=None, methods=("POST",))
    async def sign_in() -> ResponseReturnValue:
        check_origin()
        form = await request.form
        leads_to = local_path(form.get("next"))
        address = find_address(services)
        key, refusal = await find_key(form.get("key", "").strip())
        if key is None:
            pages.wrong_keys.count(counting_name(address or UNKNOWN_ADDRESS))
            values = {"next": leads_to, "refusal": refusal}
            return await render("sign_in.html", values, HTTPStatus.UNAUTHORIZED)
        former = await pages.find_viewer()
        record, ticket = mint_sign_in(
            key, services.clock.now(), address, request.headers.get("User-Agent")
        )
        await services.sign_ins.create_sign_in(record)
        _log.info("signed_in", key_id=key.key_id, sign_in_id=record.sign_in_id)
        if former is not None:  # its cookie is replaced, so nobody could end it from here
            await services.sign_ins.end_sign_in(former.access.who, former.sign_in_id)
        response = redirect(leads_to)
        _set_cookie(response, ticket.text, int(SIGN_IN_LASTS.total_seconds()))
        return response

    async def find_key(text: str) -> tuple[KeyRecord | None, str]:
        """Return the key of a token; else None, and why it opens nothing."""
        token = parse_token(text)
        if token is None:
            return None, "This is not a key of this service; a key looks like lh_<id>_<secret>."
        record = await services.keys.find_key(token.key_id)
        refusal = why_refused(record, token, services.clock.now())
        if record is None or refusal is not None:
            return None, refusal or "The key is not known."
        if Scope.READ not in record.scopes:
            return None, "The key may not read: sign in with a key of the scope read."
        return record, ""

    @pages.action("/sign-out", scope=Scope.READ)
    async def sign_out() -> ResponseReturnValue:
        viewer = current_viewer()
        if (await request.form).get("everywhere"):
            ended = await services.sign_ins.end_sign_ins(viewer.access.who)
        else:
            ended = await services.sign_ins.end_sign_in(viewer.access.who, viewer.sign_in_id)
        _log.info("signed_out", key_id=viewer.access.who, sign_ins=int(ended))
        response = redirect(SIGN_IN_PATH)
        _set_cookie(response, "", 0)
        return response


def local_path(text: str | None) -> str:
    """Return a path of this service that a browser may be led to; else that of the first page.

    A path that a browser could take for another host (`//host`, `/\\host`) is none.
    """
    is_local = (
        text is not None
        and text.startswith("/")
        and not text.startswith(("//", "/\\"))
        and len(text) <= MAX_NEXT_CHARACTERS
        and text.isascii()
        and text.isprintable()
    )
    return text if is_local and text is not None else FIRST_PAGE


def _set_cookie(response: Response, value: str, seconds: int) -> None:
    response.set_cookie(
        COOKIE, value, max_age=seconds, path="/", secure=True, httponly=True, samesite="Strict"
    )
