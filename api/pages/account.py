"""The account page: what this key opens, and where somebody is signed in with it.

Owns ending a sign-in from another browser. Signing out of this one is in sign_in.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from quart import request

from api.keys import Scope
from api.pages.browsers import name_browser
from api.pages.page import Pages, redirect
from api.pages.viewer import current_viewer, is_sign_in_id
from runtime.logs import get_logger

if TYPE_CHECKING:
    from quart.typing import ResponseReturnValue

ACCOUNT_PATH: Final = "/account"
_log = get_logger("pages")


def declare_account(pages: Pages) -> None:
    services = pages.services

    @pages.page(ACCOUNT_PATH, "account.html")
    async def show_account() -> dict[str, Any]:
        viewer = current_viewer()
        found = await services.sign_ins.list_sign_ins(viewer.access.who, services.clock.now())
        here = viewer.sign_in_id
        ordered = sorted(found, key=lambda each: each.sign_in_id != here)  # this one first
        return {
            "sign_ins": [
                {**each._asdict(), "browser": name_browser(each.user_agent)} for each in ordered
            ],
            "scopes": [(scope.value, viewer.may(scope)) for scope in Scope],
            "workspaces": viewer.access.workspaces and sorted(viewer.access.workspaces),
        }

    @pages.action("/account/end", scope=Scope.READ)
    async def end_sign_in() -> ResponseReturnValue:
        viewer = current_viewer()
        sign_in_id = (await request.form).get("sign_in_id", "")
        if is_sign_in_id(sign_in_id) and await services.sign_ins.end_sign_in(
            viewer.access.who, sign_in_id
        ):
            _log.info("signed_out", key_id=viewer.access.who, sign_ins=1)
        return redirect(ACCOUNT_PATH)
