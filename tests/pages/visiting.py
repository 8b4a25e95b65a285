"""A visitor of the pages without a browser: signs in with a key, reads pages, sends forms."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from api.pages.viewer import COOKIE
from tests.api.harness import Answer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quart.typing import TestClientProtocol

    from tests.api.harness import Harness

HTML = "text/html"
_CSRF = re.compile(r'name="csrf" value="([0-9a-f]+)"')


@dataclass
class Visitor:
    """One browser's cookie. `text` of an answer is its page."""

    harness: Harness
    cookie: str | None = None

    async def sign_in(
        self, key: str = "all", *, to: str = "/", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Sign in with a key of the harness, by name, or with any text as the key."""
        form = {"key": self.harness.tokens.get(key, key), "next": to}
        answer = await self.post("/sign-in", form, headers=headers)
        found = re.search(rf"{COOKIE}=([^;]*);", answer.headers.get("set-cookie", ""))
        self.cookie = found[1] if found else self.cookie
        return answer

    async def get(self, path: str, *, accept: str = HTML, **rest: Any) -> Answer:
        return await self._open("GET", path, {"Accept": accept, **rest.pop("headers", {})}, **rest)

    async def read(self, path: str) -> str:
        """Return the text of a page, which must be there."""
        answer = await self.get(path)
        assert answer.status == 200, answer.body
        return answer.body.decode()

    async def post(
        self, path: str, form: Mapping[str, str], *, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send a form from a page of the service. `headers` replace those of such a form."""
        sent = {"Accept": HTML, "Origin": "http://localhost", **(headers or {})}
        return await self._open("POST", path, sent, form=form)

    async def send(self, path: str, form: Mapping[str, str], *, page: str = "/") -> Answer:
        """Send a form with the token that `page` shows."""
        return await self.post(path, {**form, "csrf": await self.token(page)})

    async def token(self, page: str = "/") -> str:
        """Return the token of the forms that `page` shows."""
        found = _CSRF.search(await self.read(page))
        assert found is not None
        return found[1]

    async def ask(self, method: str, path: str, **rest: Any) -> Answer:
        """Send any request, as a client that is no browser."""
        return await self._open(method, path, {"Accept": HTML, **rest.pop("headers", {})}, **rest)

    async def send_unchecked(self, path: str, method: str) -> Answer:
        """Read a page, or send the form of an action without further fields."""
        return await (self.get(path) if method == "GET" else self.send(path, {}))

    async def _open(
        self, method: str, path: str, headers: Mapping[str, str], **rest: Any
    ) -> Answer:
        all_headers = dict(headers)
        if self.cookie is not None:
            all_headers["Cookie"] = f"{COOKIE}={self.cookie}"
        # The harness's own client would send the cookie of another visitor.
        client: TestClientProtocol = self.harness.client.app.test_client(use_cookies=False)
        response = await client.open(path, method=method, headers=all_headers, **rest)
        body = await response.get_data(as_text=False)
        lower = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status_code, lower, bytes(body))


async def visit(harness: Harness, key: str = "all") -> Visitor:
    """Return a visitor who has signed in."""
    visitor = Visitor(harness)
    answer = await visitor.sign_in(key)
    assert answer.status == 303, answer.body
    return visitor
