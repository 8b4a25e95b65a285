"""Applications that are made quickly, because the routes of all of them are the same.

Most tests of the API make an application of their own. Half of that time goes into functions with
which werkzeug would write the URL of each route. They depend on nothing but the route's text and
place, so each is made once a run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from werkzeug.routing import Rule

if TYPE_CHECKING:
    from collections.abc import Callable

    Builder = Callable[..., tuple[str, str]]

_compile = Rule._compile_builder


def remember_builders() -> None:
    """Let every route whose text is known take the functions of the first one, from now on."""
    known: dict[Any, Builder] = {}

    def compile_once(rule: Rule, append_unknown: bool = True) -> Builder:
        if rule.defaults:
            return _compile(rule, append_unknown)
        # The trace is what the function is made of: the fixed parts and the names of the others.
        key = (rule.rule, tuple(rule._trace), append_unknown)
        if key not in known:
            known[key] = _compile(rule, append_unknown)
        return known[key]

    Rule._compile_builder = compile_once  # type: ignore[method-assign, assignment]
