"""JMESPath expressions that a customer wrote, compiled once and evaluated within bounds.

Owns what an expression may cost. The customer's expression runs on another system's answer, so
neither may be trusted with the time or the memory of this process. Three bounds hold: the length
of the text, the depth of the syntax tree, and the number of steps of an evaluation. A step is one
visit of a node, or one part of a value that is copied, compared or written as text. Without the
last bound, `[@,@]|[@,@]|…` doubles a value every six characters.

It must never put a part of the answer into a message: the answer may repeat our secret.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from jmespath.exceptions import (
    EmptyExpressionError,
    IncompleteExpressionError,
    JMESPathError,
    JMESPathTypeError,
    LexerError,
    ParseError,
)
from jmespath.functions import Functions
from jmespath.parser import Parser
from jmespath.visitor import TreeInterpreter

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_LENGTH: Final = 500
MAX_DEPTH: Final = 40
MAX_QUOTED: Final = 120  # characters of an expression in a message
_CHARACTERS_PER_STEP: Final = 16
_EQUALITY: Final = ("eq", "ne")

Node = Any  # of the library's syntax tree: an object with type, value and children


class ExpressionInvalid(ValueError):
    """The text is no expression that may be used. The message names the place in it."""


class EvaluationFailed(Exception):
    """The expression cannot be evaluated on this value. The message does not quote the value."""


class Expression:
    """A compiled expression. Immutable; prints as its text."""

    __slots__ = ("_fields", "_tree", "text")

    def __init__(self, text: str) -> None:
        """Compile the text. Raises ExpressionInvalid."""
        if len(text) > MAX_LENGTH:
            raise ExpressionInvalid(
                f"the expression has {len(text)} characters; at most {MAX_LENGTH} are allowed"
            )
        self.text = text
        self._tree: Node = _parse(text)
        self._fields = _fields_of(self._tree)

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"

    def evaluate(self, value: Any, budget: Budget) -> Any:
        """Return what the expression finds in the value; None if it finds nothing.

        The steps are taken from the budget. Raises EvaluationFailed.
        """
        if self._fields is None:
            return budget.evaluate(self._tree, value)
        # Most expressions are names in a row, which need no interpreter.
        for name in self._fields:
            value = value.get(name) if isinstance(value, dict) else None
        return value


class Budget:
    """The steps that are left for one or more evaluations."""

    def __init__(self, steps: int) -> None:
        self._interpreter = _BoundedInterpreter()
        self._steps = steps
        self.renew()

    def renew(self) -> None:
        """Give back all steps, for the next item."""
        self._interpreter.left = self._steps

    def evaluate(self, tree: Node, value: Any) -> Any:
        try:
            return self._interpreter.visit(tree, value)
        except EvaluationFailed:
            raise
        except JMESPathTypeError as error:
            # The library's own text quotes the value.
            raise EvaluationFailed(
                f"{error.function_name}() takes {_one_of(error.expected_types)}, "
                f"and was given {error.actual_type}"
            ) from None
        except RecursionError:
            raise EvaluationFailed("the value is nested too deep") from None
        except Exception as error:
            # The library raises many kinds of error on values that it does not expect. Each costs
            # this evaluation only. `from None` drops the texts, which may quote the value.
            raise EvaluationFailed(f"it cannot be evaluated ({type(error).__name__})") from None


class _BoundedInterpreter(TreeInterpreter):
    """The library's interpreter, which counts its steps."""

    def __init__(self) -> None:
        super().__init__()
        self._known = Functions()
        self.left = 0

    def spend(self, steps: int) -> None:
        self.left -= steps
        if self.left < 0:
            raise EvaluationFailed("it takes too many steps: it copies or compares too much")

    def visit(self, node: Node, *args: Any, **kwargs: Any) -> Any:
        self.spend(1)
        return super().visit(node, *args, **kwargs)

    def visit_flatten(self, node: Node, value: Any) -> list[Any] | None:
        base = self.visit(node["children"][0], value)
        if not isinstance(base, list):
            return None
        self.spend(sum(len(one) if isinstance(one, list) else 1 for one in base))
        flat: list[Any] = []
        for one in base:
            if isinstance(one, list):
                flat.extend(one)
            else:
                flat.append(one)
        return flat

    def visit_slice(self, node: Node, value: Any) -> Any:
        if isinstance(value, list):
            self.spend(len(value))
        return super().visit_slice(node, value)

    def visit_comparator(self, node: Node, value: Any) -> Any:
        """Compare, after the cost of comparing whole lists and objects is taken.

        Order exists between two numbers and between two texts; it is null between others.
        """
        left, right = (self.visit(child, value) for child in node["children"])
        if node["value"] in _EQUALITY:
            self._spend_on(left)
            self._spend_on(right)
        elif not (_is_number(left) and _is_number(right)) and not (
            isinstance(left, str) and isinstance(right, str)
        ):
            return None
        return self.COMPARATOR_FUNC[node["value"]](left, right)

    def visit_function_expression(self, node: Node, value: Any) -> Any:
        arguments = [self.visit(child, value) for child in node["children"]]
        for argument in arguments:
            self._spend_on(argument)
        if node["value"] == "join" and all(isinstance(one, str | list) for one in arguments):
            self.spend(len(arguments[0]) * len(arguments[1]) // _CHARACTERS_PER_STEP)
        return self._known.call_function(node["value"], arguments)

    def _spend_on(self, value: Any) -> None:
        """Take as many steps as the value has parts, however often it has the same part."""
        waiting = [value]
        while waiting:
            part = waiting.pop()
            if isinstance(part, list):
                self.spend(len(part))
                waiting.extend(part)
            elif isinstance(part, dict):
                self.spend(len(part))
                waiting.extend(part.values())
            elif isinstance(part, str):
                self.spend(len(part) // _CHARACTERS_PER_STEP)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


# Compiling


def _parse(text: str) -> Node:
    try:
        tree: Node = Parser().parse(text).parsed
    except EmptyExpressionError:
        raise ExpressionInvalid("the expression is empty") from None
    except IncompleteExpressionError:
        raise ExpressionInvalid(f"{_quoted(text)} breaks off at its end") from None
    except LexerError as error:
        raise ExpressionInvalid(_at(text, error.lexer_position, error.message)) from None
    except ParseError as error:
        if error.lex_position >= len(text):
            raise ExpressionInvalid(f"{_quoted(text)} breaks off at its end") from None
        raise ExpressionInvalid(
            _at(text, error.lex_position, f"{error.token_value!r} is not expected here")
        ) from None
    except RecursionError:
        raise ExpressionInvalid(f"{_quoted(text)} is nested too deep") from None
    except (JMESPathError, ValueError) as error:
        raise ExpressionInvalid(f"{_quoted(text)} is no JMESPath expression: {error}") from None
    _check_tree(text, tree)
    return tree


def _fields_of(tree: Node) -> tuple[str, ...] | None:
    """Return the names of an expression such as `a.b.c`; None for every other one."""
    nodes = tree["children"] if tree["type"] == "subexpression" else [tree]
    if any(node["type"] != "field" for node in nodes):
        return None
    return tuple(node["value"] for node in nodes)


def _quoted(text: str) -> str:
    """Return the text in quotes, cut to what a message can hold."""
    return repr(text if len(text) <= MAX_QUOTED else f"{text[:MAX_QUOTED]}…")


def _at(text: str, place: int, what: str) -> str:
    return f"{_quoted(text)} is no JMESPath expression: character {place + 1}: {what}"


def _check_tree(text: str, tree: Node) -> None:
    """Raise ExpressionInvalid for a tree that is too deep, or calls a function wrongly.

    The library would notice the latter only when it evaluates.
    """
    waiting = [(tree, 1)]
    while waiting:
        node, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise ExpressionInvalid(
                f"{_quoted(text)} is nested {depth} levels deep or more; {MAX_DEPTH} are allowed"
            )
        if node["type"] == "function_expression":
            _check_function(text, node)
        waiting += [(child, depth + 1) for child in node["children"] if isinstance(child, dict)]


def _check_function(text: str, node: Node) -> None:
    name, given = node["value"], len(node["children"])
    place = text.find(f"{name}(")
    known = Functions.FUNCTION_TABLE.get(name)
    if known is None:
        names = ", ".join(sorted(Functions.FUNCTION_TABLE))
        raise ExpressionInvalid(
            _at(text, place, f"there is no function {name}(); there are {names}")
        )
    signature = known["signature"]
    is_variadic = bool(signature) and bool(signature[-1].get("variadic"))
    if given < len(signature) or (given > len(signature) and not is_variadic):
        least = "at least " if is_variadic else ""
        raise ExpressionInvalid(
            _at(text, place, f"{name}() takes {least}{len(signature)} arguments, not {given}")
        )


def _one_of(kinds: Sequence[str]) -> str:
    return " or ".join(kinds)
