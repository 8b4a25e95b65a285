"""The API as the pages ask it: in this process, with the access of the sign-in.

A question goes through the same routes, checks and answers as a client's request, without the
network. So no rule of the API stands here a second time.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, unquote, urlencode

import orjson
import trio
from hypercorn.typing import ConnectionState
from quart import request

from api.auth import INSIDE, Inside
from api.request_spans import note_status
from runtime import spans

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from hypercorn.typing import (
        ASGIFramework,
        ASGIReceiveEvent,
        ASGISendEvent,
        HTTPScope,
    )

    from api.pages.viewer import Viewer

JSON = "application/json"
# Questions that one page asks at the same time: each of them takes a connection of the database.
AT_ONCE = 3
_FITS_PATH = "-._~:,"


class Question(NamedTuple):
    """One request to the API. `path` is below the prefix; `query` may name a parameter twice."""

    path: str
    query: Mapping[str, Any] | Iterable[tuple[str, Any]] = ()
    method: str = "GET"
    body: Any = None
    headers: Mapping[str, str] = {}


class ContractAnswer(NamedTuple):
    """The API's answer. `headers` have lower-case names."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def is_refused(self) -> bool:
        return self.status >= HTTPStatus.BAD_REQUEST


class ContractRefused(Exception):
    """The API refused a question. `problem` is its RFC 9457 document."""

    def __init__(self, status: int, problem: Mapping[str, Any], headers: Mapping[str, str]) -> None:
        super().__init__(problem.get("detail") or problem.get("title", ""))
        self.status = status
        self.problem = problem
        self.headers = headers


def path_of(*parts: str) -> str:
    """Return a path of these parts, each of them escaped: `path_of("workspaces", name)`."""
    return "".join(f"/{quote(part, safe=_FITS_PATH)}" for part in parts)


class Contract:
    """Asks the API for the viewer of the present request."""

    def __init__(self, api: ASGIFramework, prefix: str) -> None:
        self._api = api
        self._prefix = prefix

    async def get(self, viewer: Viewer, path: str, **query: Any) -> Any:
        """Return the JSON of a read. A parameter that is None is left out.

        Raises ContractRefused.
        """
        given = {name: value for name, value in query.items() if value is not None}
        return (await self.demand(viewer, Question(path, given))).json

    async def get_all(self, viewer: Viewer, questions: Mapping[str, Question]) -> dict[str, Any]:
        """Return the JSON of several reads by name, AT_ONCE at a time.

        Raises the first ContractRefused, and asks no further.
        """
        found: dict[str, Any] = {}
        refused: list[ContractRefused] = []

        async def ask(name: str, question: Question, scope: trio.CancelScope) -> None:
            try:
                found[name] = (await self.demand(viewer, question)).json
            except ContractRefused as refusal:
                refused.append(refusal)
                scope.cancel()

        await _ask_each(questions, ask)
        if refused:
            raise refused[0]
        return found

    async def get_each(
        self, viewer: Viewer, questions: Mapping[str, Question]
    ) -> dict[str, ContractAnswer]:
        """Return the answers of several reads by name, refusals too, AT_ONCE at a time.

        For a page that shows what it has when a part of it cannot be read.
        """
        found: dict[str, ContractAnswer] = {}

        async def ask(name: str, question: Question, _: trio.CancelScope) -> None:
            found[name] = await self.ask(viewer, question)

        await _ask_each(questions, ask)
        return found

    async def demand(self, viewer: Viewer, question: Question) -> ContractAnswer:
        """Return an answer that is no refusal. Raises ContractRefused."""
        answer = await self.ask(viewer, question)
        if answer.is_refused:
            raise ContractRefused(answer.status, answer.json, answer.headers)
        return answer

    async def ask(self, viewer: Viewer, question: Question) -> ContractAnswer:
        """Return the API's answer, a refusal too. It is bounded by the request's deadline."""
        exchange = _InnerExchange(b"" if question.body is None else orjson.dumps(question.body))
        with spans.span(question.method):  # a part of the page's, with its own route
            await self._api(self._scope_of(viewer, question), exchange.receive, exchange.send)
            answer = exchange.answer()
            note_status(spans.present(), answer.status)
        return answer

    def _scope_of(self, viewer: Viewer, question: Question) -> HTTPScope:
        path = self._prefix + question.path
        headers = {"host": request.host, "accept": JSON, **question.headers}
        if question.body is not None:
            headers.setdefault("content-type", JSON)
        pairs = question.query.items() if hasattr(question.query, "items") else question.query
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": question.method,
            "scheme": request.scheme,
            "path": unquote(path),
            "raw_path": path.encode("ascii"),
            "query_string": urlencode(list(pairs), doseq=True).encode("ascii"),
            "root_path": "",
            "headers": [(name.encode(), text.encode("latin-1")) for name, text in headers.items()],
            "client": request.scope.get("client"),
            "server": request.scope.get("server"),
            "state": ConnectionState({INSIDE: Inside(viewer.access, viewer.address)}),
            "extensions": {},
        }


async def _ask_each(
    questions: Mapping[str, Question],
    ask: Callable[[str, Question, trio.CancelScope], Awaitable[None]],
) -> None:
    places = trio.CapacityLimiter(AT_ONCE)

    async def take_place(name: str, question: Question, scope: trio.CancelScope) -> None:
        async with places:
            await ask(name, question, scope)

    async with trio.open_nursery() as nursery:
        for name, question in questions.items():
            nursery.start_soon(take_place, name, question, nursery.cancel_scope)


class _InnerExchange:
    """One question and its answer, as the two callables of ASGI."""

    def __init__(self, body: bytes) -> None:
        self._body: bytes | None = body
        self._status = 0
        self._headers: dict[str, str] = {}
        self._parts: list[bytes] = []

    async def receive(self) -> ASGIReceiveEvent:
        if self._body is None:
            await trio.sleep_forever()  # until the application has answered and cancels it
        body, self._body = self._body, None
        return {"type": "http.request", "body": body or b"", "more_body": False}

    async def send(self, event: ASGISendEvent) -> None:
        if event["type"] == "http.response.start":
            self._status = event["status"]
            self._headers = {
                name.decode("latin-1").lower(): value.decode("latin-1")
                for name, value in event["headers"]
            }
        elif event["type"] == "http.response.body":
            self._parts.append(event["body"])

    def answer(self) -> ContractAnswer:
        return ContractAnswer(self._status, self._headers, b"".join(self._parts))
