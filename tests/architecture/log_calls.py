"""The log calls of the service, read from its source: event, level and fields of each.

Owns how a field is found that a call takes from a mapping: a literal of the same function, or the
dictionary that a named function returns. What cannot be found is OPEN.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from tests.architecture.source import shipped_modules

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.architecture.source import Module

METHODS: Final[Mapping[str, str]] = {
    "debug": "debug",
    "info": "info",
    "warning": "warning",
    "error": "error",
    "exception": "error",
    "critical": "critical",
}
LIFECYCLE: Final = "domain/lifecycle.py"
EDGE_RECOVERED: Final = ("failures", "failed_for_seconds", "last_error")
OPEN: Final = "…"  # stands for fields whose names are data
# The level is decided in the code, and the names of steps are their classes'.
DECIDED: Final = frozenset({"debug", "info"})
STEPS: Final = ("compare", "guard", "sync")
NOT_CALLS: Final = ("runtime/logs.py",)  # EdgeLog itself


@dataclass
class Logged:
    """What the code logs under one event name, over all its calls."""

    levels: set[str] = field(default_factory=set)
    fields: list[frozenset[str]] = field(default_factory=list)

    @property
    def always(self) -> frozenset[str]:
        return frozenset.intersection(*self.fields)

    @property
    def sometimes(self) -> frozenset[str]:
        return frozenset.union(*self.fields) - self.always


@lru_cache(maxsize=1)
def logged() -> Mapping[str, Logged]:
    """Return every event of the service."""
    found: dict[str, Logged] = defaultdict(Logged)
    for module in shipped_modules():
        if str(module.path) in NOT_CALLS or "log" not in module.text.lower():
            continue
        for event, levels, names in (*_log_calls(module), *_edges(module)):
            found[event].levels |= levels
            found[event].fields += names
    return found


@lru_cache(maxsize=1)
def bound_names() -> frozenset[str]:
    """Return every field that some logger is bound to, or some task's log context."""
    return frozenset(
        keyword.arg
        for module in shipped_modules()
        if "bind" in module.text
        for call in _calls(module.tree)
        if _method(call) in ("bind", "bind_contextvars")
        for keyword in call.keywords
        if keyword.arg
    )


Found = tuple[str, set[str], list[frozenset[str]]]


def _log_calls(module: Module) -> Iterator[Found]:
    for function in _functions(module.tree):
        for call in _own_calls(function):
            method = _method(call)
            if method not in (*METHODS, "log") or "log" not in _base(call):
                continue
            fields = _fields(call, function, method)
            if method != "log":
                yield from ((event, {METHODS[method]}, fields) for event in _texts(call.args[0]))
                continue
            level, event = call.args[:2]
            if isinstance(level, ast.IfExp) and isinstance(event, ast.IfExp):  # by one condition
                yield _texts(event.body)[0], _levels(level.body), fields
                yield _texts(event.orelse)[0], _levels(level.orelse), fields
            else:
                yield from ((name, _levels(level), fields) for name in _texts(event))


def _levels(level: ast.expr) -> set[str]:
    names = {node.attr.lower() for node in ast.walk(level) if isinstance(node, ast.Attribute)}
    return names or set(DECIDED)


def _edges(module: Module) -> Iterator[Found]:
    """Yield both events of each EdgeLog of a module, with the fields of its calls there."""
    made = [
        (_assigned_to(call, module.tree), call)
        for call in _calls(module.tree)
        if _method(call) == "EdgeLog" and len(call.args) == 2
    ]
    for target, call in made:
        for subject in _texts(call.args[1]):
            for edge, always in (("failed", ("error",)), ("recovered", EDGE_RECOVERED)):
                given = [
                    frozenset({*always, *(word.arg for word in used.keywords if word.arg)})
                    for used in _calls(module.tree)
                    if _method(used) == edge and (len(made) == 1 or _is_of(used, target, len(made)))
                ]
                level = {"warning"} if edge == "failed" else {"info"}
                yield f"{subject}_{edge}", level, given or [frozenset(always)]


def _is_of(used: ast.Call, target: str, edges: int) -> bool:
    """Return whether a call is one of this EdgeLog's, by the name that it is kept under."""
    base = _base(used)
    return base == target or (target == "self._edges" and base == "edge" and edges == 2)


def _assigned_to(call: ast.Call, tree: ast.Module) -> str:
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if call in ast.walk(node.value):
                return ast.unparse(targets[0])
    return ""


# --- fields


def _fields(call: ast.Call, function: ast.AST, method: str) -> list[frozenset[str]]:
    """Return the fields of a call; twice, without and with those that are added on a condition."""
    always, sometimes = set[str](), set[str]()
    if method == "exception":
        always.add("exception")
    for keyword in call.keywords:
        if keyword.arg == "exc_info":
            (sometimes if isinstance(keyword.value, ast.IfExp) else always).add("exception")
        elif keyword.arg:
            always.add(keyword.arg)
        else:
            sure, perhaps = _names_of(keyword.value, function)
            always |= sure
            sometimes |= perhaps
    found = [frozenset(always)]
    return [*found, frozenset(always | sometimes)] if sometimes else found


def _names_of(value: ast.expr, function: ast.AST) -> tuple[set[str], set[str]]:
    """Return the keys of a mapping that a call spreads: those that are always there, and others."""
    if isinstance(value, ast.Name):
        return _names_of_variable(value.id, function)
    if isinstance(value, ast.Call):
        called = _method(value)
        if called == "asdict":
            return _fields_of_class("EmbeddedStatistics"), set()
        for module in shipped_modules():
            if f"def {called}(" not in module.text:  # searching is quicker than parsing
                continue
            for other in _functions(module.tree):
                if isinstance(other, ast.FunctionDef) and other.name == called:
                    return _names_of_result(other)
    return {OPEN}, set()


def _names_of_variable(name: str, function: ast.AST) -> tuple[set[str], set[str]]:
    always, sometimes = set[str](), set[str]()
    for node in ast.walk(function):
        if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
            continue
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        for target in targets:
            if isinstance(target, ast.Name) and target.id == name:
                if isinstance(node.value, ast.Dict):
                    always |= _keys(node.value)
                else:
                    sure, perhaps = _names_of(node.value, function)
                    always, sometimes = always | sure, sometimes | perhaps
            elif _is_item_of(target, name):
                sometimes |= _texts_of_item(target)
    return (always or {OPEN}), sometimes


def _names_of_result(function: ast.FunctionDef) -> tuple[set[str], set[str]]:
    returned = [node.value for node in ast.walk(function) if isinstance(node, ast.Return)]
    for value in returned:
        if isinstance(value, ast.Dict):
            return _keys(value), set()
        if isinstance(value, ast.Name):
            return _names_of_variable(value.id, function)
    return {OPEN}, set()


def _fields_of_class(name: str) -> set[str]:
    return {
        item.target.id
        for module in shipped_modules()
        if f"class {name}:" in module.text
        for node in module.tree.body
        if isinstance(node, ast.ClassDef) and node.name == name
        for item in node.body
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
    }


def _is_item_of(target: ast.expr, name: str) -> bool:
    return (
        isinstance(target, ast.Subscript)
        and isinstance(target.value, ast.Name)
        and target.value.id == name
    )


def _texts_of_item(target: ast.expr) -> set[str]:
    return set(_texts(target.slice)) if isinstance(target, ast.Subscript) else set()


def _keys(node: ast.Dict) -> set[str]:
    return {str(key.value) for key in node.keys if isinstance(key, ast.Constant)}


# --- calls and names


def _functions(tree: ast.Module) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _own_calls(function: ast.AST) -> Iterator[ast.Call]:
    """Yield the calls of a function, without those of functions inside it."""
    for child in ast.iter_child_nodes(function):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(child, ast.Call):
            yield child
        yield from _own_calls(child)


def _calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def _method(call: ast.Call) -> str:
    if isinstance(call.func, ast.Attribute):
        return call.func.attr
    return call.func.id if isinstance(call.func, ast.Name) else ""


def _base(call: ast.Call) -> str:
    return ast.unparse(call.func.value) if isinstance(call.func, ast.Attribute) else ""


@lru_cache(maxsize=1)
def _constants() -> Mapping[str, str]:
    (module,) = [one for one in shipped_modules() if str(one.path) == LIFECYCLE]
    return {
        node.target.id: node.value.value
        for node in module.tree.body
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    }


def _texts(node: ast.expr) -> list[str]:
    """Return the texts that an expression may be: a constant, both of a choice, or a step's."""
    if isinstance(node, ast.Constant):
        return [str(node.value)]
    if isinstance(node, ast.IfExp):
        return [*_texts(node.body), *_texts(node.orelse)]
    if isinstance(node, ast.Name):
        return [_constants()[node.id]] if node.id in _constants() else []
    if isinstance(node, ast.JoinedStr):
        return [f"cutover_{step}" for step in STEPS]
    return []
