"""The mistakes of form of a fleet file, in words that say what to write instead.

Owns the words for what pydantic and tomllib find. fleet_file.py finds the place of each.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from pydantic import BaseModel
    from pydantic_core import ErrorDetails

_SYNTAX = (  # what tomllib's words contain, and the remedy
    ("Invalid value", "Text stands in quotation marks; true, false and numbers do not"),
    ("Illegal character '\\n'", "A text ends on its line: add the quotation mark at its end"),
    ("twice", "Of several, each begins with two brackets, as [[workspaces.devices]] does"),
    ("Unescaped '\\'", "Write two backslashes, or put the text into 'single quotation marks'"),
)
_FORMS = {
    "int_type": "write a whole number, without quotation marks",
    "int_from_float": "write a whole number, without quotation marks",
    "float_type": "write a number, without quotation marks",
    "bool_type": "write true or false, without quotation marks",
    "string_type": "write it as text, in quotation marks",
    "greater_than": "it must be more than {gt}",
    "greater_than_equal": "it must be {ge} or more",
    "less_than": "it must be less than {lt}",
    "less_than_equal": "it must be {le} or less",
    "string_too_long": "it has more than {max_length} characters",
    "enum": "it must be one of {expected}",
    "literal_error": "it must be one of {expected}",
}


def explain_syntax(detail: str) -> str:
    """Return tomllib's words, with a remedy where they do not say one."""
    remedy = next((remedy for words, remedy in _SYNTAX if words in detail), None)
    return detail if remedy is None else f"{detail}. {remedy}"


def explain_form(error: ErrorDetails, table: type[BaseModel]) -> str:
    """Return what is wrong with a value or key of `table`, and what to write."""
    name = str(error["loc"][-1])
    match error["type"]:
        case "extra_forbidden":
            return _unknown_key(name, table.model_fields)
        case "missing":
            return f"it is missing: add {_written(name)}"
        case "too_short":
            return f"it is empty: add {_written(name)}"
        case "list_type":
            return f"write {_written(name)} before each"
        case "string_pattern_mismatch":
            described = table.model_fields[name].description if name in table.model_fields else None
            return f"it is not {described or 'text of one line, with a character at least'}"
        case kind if kind in _FORMS:
            given: dict[str, Any] = error.get("ctx", {})
            return _FORMS[kind].format_map({name: _number(one) for name, one in given.items()})
        case _:
            return error["msg"].removeprefix("Value error, ")


def _unknown_key(name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name, known, n=1)
    meant = f"; did you mean {near[0]}?" if near else "."
    return f"no such key here{meant} The keys are {', '.join(known)}"


def _written(name: str) -> str:
    return {
        "workspaces": "[[workspaces]]",
        "connections": "[[workspaces.connections]]",
        "devices": "[[workspaces.devices]]",
    }.get(name, "it")


def _number(value: object) -> object:
    """Return 300 for 300.0, and anything else as it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
