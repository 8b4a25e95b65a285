"""Redaction: remove secrets from log lines, error texts and status pages.

This module owns the rules that recognise a secret by its key or by its shape, for `logs`,
`settings` and `supervisor`. Pure: no logging, no I/O. When in doubt it hides too much.

Every quantifier that could scan the text repeatedly is bounded, and so is the text. Logged text may
come from outside, and a slow expression would hold up the event loop.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

REDACTED = "[redacted]"
MAX_TEXT_LENGTH = 32_768  # longer texts are cut, and say so
MAX_DEPTH = 12  # a cycle or a deeper document ends as text

_SENSITIVE_WORD = (
    r"authorization|api[-_]?key|token|secret|passw(?:or)?d|passphrase|pwd|credential|cookie"
    r"|private[-_]?key"
)
_SENSITIVE_KEY = re.compile(_SENSITIVE_WORD, re.IGNORECASE)
# Facts about a secret: when it expires, which one it is, where it is stored. The values of such
# keys still pass the patterns below.
_ABOUT_A_SECRET = re.compile(
    r"(?:_at|_id|_name|_kind|_type|_count|_state|_seconds|_ref|_reference)$", re.IGNORECASE
)
_QUOTED_OR_RUN = (
    r"""(?:\\"(?:(?!\\").){0,4000}\\"|"(?:[^"\\]|\\.){0,4000}"""
    r""""|'(?:[^'\\]|\\.){0,4000}'|[^\s"',;&)}\]]+)"""
)

# What stands in a secret's place in our own help and error texts: "no credential: set it to …",
# "postgresql://user:password@host", "Bearer lh_…", "a bearer token".
_PROSE = (
    r"(?:a|an|and|anyone|as|by|for|give|has|if|in|is|it|must|name|needs|no|not|of|on|one|or|put"
    r"|send|set|so|that|the|this|to|use|which|with)\s"
)
_PLACEHOLDER = r"(?:lh_[…<]|\$(?-i:[A-Z_]+)\b|<\w|`?(?:env|file):)"

_TEXT_RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    # Our own keys, lh_<id>_<secret>: prefix and id stay, because people look keys up by them.
    (re.compile(r"\b(lh_[A-Za-z0-9]+)_[A-Za-z0-9_-]{8,}"), rf"\1_{REDACTED}"),
    # A DSN's password may hold any character if it was not escaped, so this matches up to the last
    # @.
    (
        re.compile(
            r"\b(postgres(?:ql)?(?:\+\w{1,20})?://(?!user:password@)[^\s:/@]{0,200}):\S{1,4000}@",
            re.IGNORECASE,
        ),
        rf"\1:{REDACTED}@",
    ),
    (
        re.compile(
            r"\b([a-z][a-z0-9+.-]{0,20}://(?!user:password@)[^\s:/?#@]{0,200})"
            r":[^\s/?#\"']{1,4000}@",
            re.IGNORECASE,
        ),
        rf"\1:{REDACTED}@",
    ),
    # JSON Web Tokens in any place.
    (re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?"), REDACTED),
    (
        re.compile(
            rf"\b(bearer)\s+(?!tokens?\b|realm=|{_PLACEHOLDER})[A-Za-z0-9._~+/=-]+", re.IGNORECASE
        ),
        rf"\1 {REDACTED}",
    ),
    (
        re.compile(r"\b(basic)\s+(?=\S*[0-9=+/])[A-Za-z0-9+/=]{6,}", re.IGNORECASE),
        rf"\1 {REDACTED}",
    ),
    # key=value, key: value, "key": "value", ?key=value; an authorization may have its scheme first.
    (
        re.compile(
            rf"""((?:{_SENSITIVE_WORD})[\w-]{{0,40}}\\?["']?\s{{0,4}}[:=]\s{{0,4}}(?:b(?=["']))?)"""
            rf"""(?!\[redacted\]|None\b|null\b|true\b|false\b|(?<=: ){_PROSE})"""
            rf"""(?!(?:bearer\s+)?{_PLACEHOLDER})"""
            rf"""(?:(?:basic|bearer|digest|token)\s+)?{_QUOTED_OR_RUN}""",
            re.IGNORECASE,
        ),
        rf"\1{REDACTED}",
    ),
    # Header pairs in a repr: (b'authorization', b'…').
    (
        re.compile(
            rf"""(["'][\w-]{{0,40}}(?:{_SENSITIVE_WORD})[\w-]{{0,40}}["']\s?,\s?b?)"""
            r"""(?:"[^"]*"|'[^']*')""",
            re.IGNORECASE,
        ),
        rf"\1{REDACTED}",
    ),
)

# Every rule above needs one of these. Most texts have none, and one search is cheaper than eight.
_WORTH_A_LOOK = re.compile(rf"lh_|://|eyJ|bearer|basic|{_SENSITIVE_WORD}", re.IGNORECASE)


@lru_cache(maxsize=4096)
def is_sensitive_key(key: str) -> bool:
    """Return whether the name alone says that its value is a secret."""
    return _SENSITIVE_KEY.search(key) is not None and _ABOUT_A_SECRET.search(key) is None


def redact_text(text: str) -> str:
    """Return the text with everything that looks like a secret replaced."""
    if len(text) > MAX_TEXT_LENGTH:
        text = f"{text[:MAX_TEXT_LENGTH]}… cut from {len(text)} characters"
    if _WORTH_A_LOOK.search(text) is None:
        return text
    for pattern, replacement in _TEXT_RULES:
        text = pattern.sub(replacement, text)
    return text


def redact(value: Any, depth: int = 0) -> Any:
    """Return a JSON-able copy of the value without secrets.

    Objects that JSON does not know become their redacted text.
    """
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, bytes | bytearray):
        return redact_text(value.decode("utf-8", "backslashreplace"))
    if isinstance(value, datetime | date | UUID):
        return value.isoformat() if isinstance(value, date) else str(value)
    if depth < MAX_DEPTH and isinstance(value, Mapping):
        return {
            _text(key): _redact_entry(_text(key), item, depth + 1) for key, item in value.items()
        }
    if depth < MAX_DEPTH and isinstance(value, list | tuple | set | frozenset):
        return _redact_sequence(value, depth + 1)
    return redact_text(_text(value))


def _redact_entry(key: str, value: Any, depth: int) -> Any:
    if not is_sensitive_key(key) or value is None or isinstance(value, bool):
        return redact(value, depth)
    # A number named token is a lease's fencing token, which the logs need. A number under another
    # sensitive key may be a PIN.
    if isinstance(value, int) and key.lower().endswith("token"):
        return value
    return REDACTED


def _redact_sequence(values: Any, depth: int) -> list[Any]:
    items = list(values)
    if len(items) == 2 and isinstance(items[0], str | bytes) and is_sensitive_key(_text(items[0])):
        return [_text(items[0]), REDACTED]  # a header pair
    return [redact(item, depth) for item in items]


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    try:
        return (
            repr(value)
            if not isinstance(value, BaseException)
            else f"{type(value).__name__}: {value}"
        )
    except Exception as error:  # an object whose repr fails must not lose the log line
        return f"<{type(value).__name__} without a repr: {type(error).__name__}>"
