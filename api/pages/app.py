"""The pages as one application, beside the API's and before it.

Owns the order in which the parts are put together, and which requests are the pages'.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from quart_trio import QuartTrio

from api.pages.account import declare_account
from api.pages.admin import declare_admin
from api.pages.assets import PATH as ASSET_PATH
from api.pages.assets import get_asset
from api.pages.audit import declare_audit
from api.pages.contract import Contract
from api.pages.cutover_changes import declare_cutover_changes
from api.pages.device import declare_device
from api.pages.fleet import declare_fleet
from api.pages.indicators import declare_indicators
from api.pages.live_pages import declare_live
from api.pages.page import Pages
from api.pages.plan import declare_plan
from api.pages.runtime import declare_runtime_page
from api.pages.settings import declare_settings
from api.pages.sign_in import declare_sign_in
from api.pages.worklist import declare_worklist
from api.pages.workspace import declare_workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from hypercorn.typing import (
        ASGIFramework,
        ASGIReceiveCallable,
        ASGISendCallable,
        Scope,
    )

    from api.services import ApiServices
    from api.wrong_keys import WrongKeys

MAX_FORM_BYTES: Final = 64 * 1024
_PAGES: Final[tuple[Callable[[Pages], None], ...]] = (
    declare_sign_in,
    declare_account,
    declare_fleet,
    declare_device,
    declare_workspace,
    declare_plan,
    declare_indicators,
    declare_worklist,
    declare_settings,
    declare_live,
    declare_admin,
    declare_cutover_changes,
    declare_audit,
    declare_runtime_page,
)


def create_pages_app(
    services: ApiServices, api: ASGIFramework, prefix: str, wrong_keys: WrongKeys
) -> QuartTrio:
    """Return the application of the pages. `api` is asked for everything that they show."""
    app = QuartTrio("lastheard-pages", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_FORM_BYTES
    app.config["BODY_TIMEOUT"] = services.limits.body_seconds
    app.config["RESPONSE_TIMEOUT"] = services.limits.response_seconds
    declare_pages(Pages(services, Contract(api, prefix), wrong_keys)).install(app)
    return app


def declare_pages(pages: Pages) -> Pages:
    """Declare every page, action and asset. Returns the same table."""
    for declare in _PAGES:
        declare(pages)
    pages.raw(ASSET_PATH, scope=None)(get_asset)
    return pages


class Split:
    """Hands a request to the API or to the pages, by its path.

    The API has the paths below `prefix` and those in `api_paths`; the pages have all others.
    """

    def __init__(
        self, api: ASGIFramework, pages: ASGIFramework, prefix: str, api_paths: Collection[str]
    ) -> None:
        self._api = api
        self._pages = pages
        self._root = f"/{prefix.split('/')[1]}"
        self._api_paths = frozenset(api_paths)

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        app = self._api if self.is_of_api(scope["path"]) else self._pages  # type: ignore[typeddict-item]
        await app(scope, receive, send)

    def is_of_api(self, path: str) -> bool:
        return path in self._api_paths or path == self._root or path.startswith(f"{self._root}/")
