"""The operations of the API, declared once: routes, scopes and the OpenAPI document use this table.

One declaration installs a handler and documents it, so every route is documented. This file must
never know a resource; it only keeps the resources' declarations.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Required, TypedDict, TypeVar, Unpack

from quart.typing import ResponseReturnValue
from werkzeug.routing import BaseConverter, Map

from api import problem_types as types

if TYPE_CHECKING:
    from pydantic import BaseModel
    from quart import Quart

    from api.problem_types import ProblemType

Handler = Callable[..., Awaitable[ResponseReturnValue]]
HandlerT = TypeVar("HandlerT", bound=Handler)

PATH_PARAMETER = re.compile(r"{(\w+)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one path. `path` is an OpenAPI template; `scope` None means open to everyone.

    `media_types` are those of the answer. `response` describes those that are JSON; the others are
    text. `request_media_types` and `request` are alike. `creates`: it answers 201 instead of
    `status` for a new resource. `problems` are those of this operation alone; those that follow
    from its scope, path, body or query are added. `tagged`: its answers have an ETag. `headers` has
    the other headers of its answers, with their meanings. `conditions` are the headers with ETags
    that it takes; a request without the first is refused if `condition_required`.
    """

    method: str
    path: str
    name: str
    handler: Handler
    scope: str | None
    query: type[BaseModel] | None = None
    request: type[BaseModel] | None = None
    response: type[BaseModel] | None = None
    status: int = 200
    creates: bool = False
    media_types: tuple[str, ...] = ("application/json",)
    request_media_types: tuple[str, ...] = ("application/json",)
    request_required: bool = True
    problems: tuple[ProblemType, ...] = ()
    tag: str = ""
    tagged: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    conditions: tuple[str, ...] = ()
    condition_required: bool = False

    def all_problems(self) -> tuple[ProblemType, ...]:
        found = [*self.problems, types.INTERNAL_ERROR, types.DEPENDENCY_AWAY]
        # Every operation can have these: the frame raises them.
        found += [types.RATE_LIMITED, types.OVERLOADED, types.DEADLINE_PASSED, types.ENDING]
        if self.scope is not None:
            # An operation without parameters refuses any: one may be meant to hold it back.
            found += [types.UNAUTHENTICATED, types.MISSING_SCOPE, types.INVALID_PARAMETER]
        if PATH_PARAMETER.search(self.path):
            found += [types.NOT_FOUND]
        if self.conditions and self.method != "GET":
            found += [types.PRECONDITION_FAILED]
        if self.condition_required:
            found += [types.PRECONDITION_REQUIRED]
        if self.request is not None:
            found += [types.MALFORMED_JSON, types.INVALID_BODY, types.UNSUPPORTED_MEDIA_TYPE]
            found += [types.BODY_TOO_LARGE, types.REQUEST_TIMEOUT]
        return sort_problems(found)


def sort_problems(found: Iterable[ProblemType]) -> tuple[ProblemType, ...]:
    return tuple(sorted(set(found), key=lambda kind: (kind.status, kind.slug)))


class Details(TypedDict, total=False):
    """The arguments of a declaration; the members are those of Operation."""

    scope: Required[str | None]
    query: type[BaseModel] | None
    request: type[BaseModel] | None
    response: type[BaseModel] | None
    status: int
    creates: bool
    media_types: tuple[str, ...]
    request_media_types: tuple[str, ...]
    request_required: bool
    problems: tuple[ProblemType, ...]
    tag: str
    tagged: bool
    headers: Mapping[str, str]
    conditions: tuple[str, ...]
    condition_required: bool


class OtherThan(BaseConverter):
    """A path segment other than `words`, which other paths have in the same place."""

    def __init__(self, url_map: Map, *words: str) -> None:
        super().__init__(url_map)
        self.regex = rf"(?!(?:{'|'.join(map(re.escape, words))})\Z)[^/]+"


class Operations:
    """The table of operations. Resources declare theirs; then it is installed, once."""

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix
        self._by_name: dict[str, Operation] = {}

    def declare(
        self, method: str, path: str, *, prefixed: bool = True, **details: Unpack[Details]
    ) -> Callable[[HandlerT], HandlerT]:
        """Decorate a handler to make it an operation. `prefixed=False` puts it outside the prefix.

        The handler's name is the operation's id and must be unique. Its docstring is the summary
        and the description. It gets the parameters in `path` as keyword arguments.
        """

        full_path = self._prefix + path if prefixed else path

        def remember(handler: HandlerT) -> HandlerT:
            name = handler.__name__
            if name in self._by_name:
                raise ValueError(
                    f"two operations are called {name}; an operation's id must be unique"
                )
            if not handler.__doc__:
                raise ValueError(
                    f"the handler {name} has no docstring; "
                    "its first line is the operation's summary"
                )
            self._by_name[name] = Operation(
                method=method, path=full_path, name=name, handler=handler, **details
            )
            return handler

        return remember

    def install(self, app: Quart) -> None:
        app.url_map.converters["other_than"] = OtherThan
        for operation in self:
            app.add_url_rule(
                self._rule_of(operation.path),
                operation.name,
                operation.handler,
                methods=[operation.method],
            )

    def taken_words(self, path: str, parameter: str) -> tuple[str, ...]:
        """Return the words that other paths have in the place of the parameter.

        The parameter cannot have these values. Otherwise one URL would be two resources, and its
        Allow header would name the methods of both.
        """
        before = path.partition(f"{{{parameter}}}")[0]
        after = {other.path.removeprefix(before) for other in self if other.path.startswith(before)}
        words = {rest.partition("/")[0] for rest in after}
        return tuple(sorted(word for word in words if word and not PATH_PARAMETER.search(word)))

    def problems_of(self, operation: Operation) -> tuple[ProblemType, ...]:
        """Return all problems of the operation, with the 405 for taken words in its path."""
        is_beside_words = any(
            self.taken_words(operation.path, name)
            for name in PATH_PARAMETER.findall(operation.path)
        )
        return sort_problems(
            [*operation.all_problems(), *([types.METHOD_NOT_ALLOWED] if is_beside_words else [])]
        )

    def _rule_of(self, path: str) -> str:
        def write(found: re.Match[str]) -> str:
            words = self.taken_words(path, found[1])
            listed = ", ".join(f'"{word}"' for word in words)
            return f"<other_than({listed}):{found[1]}>" if words else f"<{found[1]}>"

        return PATH_PARAMETER.sub(write, path)

    def named(self, endpoint: str | None) -> Operation | None:
        """Return the operation of a matched route (`request.endpoint`).

        None when it was not declared: then no key opens it.
        """
        return self._by_name.get(endpoint or "")

    def __iter__(self) -> Iterator[Operation]:
        return iter(self._by_name.values())
