"""Rules about the text of a module.

Each rule takes one module and returns what is wrong with it, as `line: sentence`.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Final

from tests.requirements import without_ids

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.architecture.source import Module

MAX_LINES: Final = 400
# The simulator shares nothing with the service, so it has its own clock.
CLOCK_MODULES: Final = ("runtime/clock.py", "simulator/clock.py")
WALL_CLOCK: Final = frozenset(
    [f"datetime.datetime.{name}" for name in ("now", "utcnow", "today")]
    + [f"time.{name}" for name in ("time", "time_ns", "localtime", "gmtime", "ctime")]
    + ["datetime.date.today"]
)
IO_BUILTINS: Final = frozenset(
    ("open", "print", "input", "breakpoint", "eval", "exec", "__import__")
)
MAX_TEST_NAME: Final = 60
CATCHES_EVERYTHING: Final = ("BaseException", "builtins.BaseException", "trio.Cancelled")


def too_long(module: Module) -> list[str]:
    lines = len(module.text.splitlines())
    return [f"1: {lines} lines; split it at {MAX_LINES}"] if lines > MAX_LINES else []


def long_test_name(module: Module) -> list[str]:
    """Find tests, also methods of classes, whose name is too long to be read once.

    The ids of requirements at its beginning do not count.
    """
    return [
        f"{node.lineno}: {node.name} has more than {MAX_TEST_NAME} characters without its ids"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and len(without_ids(node.name)) > MAX_TEST_NAME
    ]


def no_docstring(module: Module) -> list[str]:
    """Find a module without docstring.

    An empty `__init__.py` only marks a folder and needs none.
    """
    if module.path.name == "__init__.py" and not module.text.strip():
        return []
    return [] if ast.get_docstring(module.tree) else ["1: the module has no docstring"]


def reads_wall_clock(module: Module) -> list[str]:
    """Find readings of the wall clock, called or passed on, outside the clock's own module."""
    if str(module.path) in CLOCK_MODULES:
        return []
    return [
        f"{node.lineno}: {module.name_of(node)} reads the wall clock; "
        "take a Clock, or `now`, as an argument"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Attribute | ast.Name)
        and isinstance(node.ctx, ast.Load)
        and module.name_of(node) in WALL_CLOCK
    ]


def waits_in_domain(module: Module) -> list[str]:
    """Find code in domain/ that waits, or does I/O by a builtin."""
    if module.folder != "domain":
        return []
    return [
        f"{node.lineno}: domain/ must not {_what(node)}"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith)
        or (isinstance(node, ast.Call) and module.name_of(node.func) in IO_BUILTINS)
    ]


def _what(node: ast.AST) -> str:
    return "use a builtin that does I/O or runs code" if isinstance(node, ast.Call) else "wait"


def enters_over_the_bridge(module: Module) -> list[str]:
    """Find `async with aio_as_trio(…)` and `async for … in aio_as_trio(…)`.

    A cancellation between entering and leaving loses what they hold.
    """
    found: list[str] = []
    for node in ast.walk(module.tree):
        entered: Sequence[ast.expr] = ()
        if isinstance(node, ast.AsyncWith):
            entered = [item.context_expr for item in node.items]
        elif isinstance(node, ast.AsyncFor):
            entered = [node.iter]
        found += [
            f"{expression.lineno}: cross the bridge once, with a coroutine; never enter it"
            for expression in entered
            if isinstance(expression, ast.Call)
            and module.name_of(expression.func).endswith("aio_as_trio")
        ]
    return found


def swallows_cancellation(module: Module) -> list[str]:
    """Find handlers of everything that do not end in `raise`, and `suppress` of everything."""
    found = []
    for node in ast.walk(module.tree):
        if (
            isinstance(node, ast.ExceptHandler)
            and _catches_everything(module, node.type)
            and not _raises(node.body)
        ):
            found.append(
                f"{node.lineno}: this handler may swallow a cancellation; end it with raise"
            )
        if isinstance(node, ast.Call) and module.name_of(node.func).endswith("suppress"):
            found += [
                f"{node.lineno}: suppress would swallow a cancellation"
                for argument in node.args
                if module.name_of(argument) in CATCHES_EVERYTHING
            ]
    return found


def _catches_everything(module: Module, kind: ast.expr | None) -> bool:
    if kind is None:
        return True
    kinds = kind.elts if isinstance(kind, ast.Tuple) else [kind]
    return any(module.name_of(each) in CATCHES_EVERYTHING for each in kinds)


def _raises(body: Sequence[ast.stmt]) -> bool:
    """Whether every path that reaches the end of these statements raises."""
    last = body[-1]
    if isinstance(last, ast.If):
        return bool(last.orelse) and _raises(last.body) and _raises(last.orelse)
    if isinstance(last, ast.With | ast.AsyncWith):
        return _raises(last.body)
    return isinstance(last, ast.Raise) and not _returns_before(body)


def _returns_before(body: Sequence[ast.stmt]) -> bool:
    return any(isinstance(node, ast.Return) for statement in body for node in ast.walk(statement))
