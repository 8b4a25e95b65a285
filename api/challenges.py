"""The answers to missing and wrong credentials (RFC 6750), for the gate and for the handlers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from api.keys import parse_token
from api.problem_types import UNAUTHENTICATED
from api.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from api.keys import Token

CHALLENGE = 'Bearer realm="lastheard"'
_HEADER: Final = b"authorization"
# RFC 6750, 3: what an error_description may not have in it.
_NOT_DESCRIBING: Final = re.compile(r"[^\x20-\x21\x23-\x5B\x5D-\x7E]")


def credentials_missing() -> Problem:
    # RFC 6750, 3.1: no error code when the client gave no credentials at all.
    detail = "Send a key: Authorization: Bearer lh_…"
    return Problem(UNAUTHENTICATED, detail, headers={"WWW-Authenticate": CHALLENGE})


def credentials_refused(why: str) -> Problem:
    description = _NOT_DESCRIBING.sub("'", why)
    challenge = f'{CHALLENGE}, error="invalid_token", error_description="{description}"'
    return Problem(UNAUTHENTICATED, why, headers={"WWW-Authenticate": challenge})


def find_authorization(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return the Authorization header. Several are one with commas between (RFC 9110, 5.3)."""
    found = [value.decode("latin-1") for name, value in headers if name.lower() == _HEADER]
    return ", ".join(found) if found else None


def read_bearer(header: str) -> str:
    """Return the bearer token of an Authorization header. Raises Problem 401 unless it has one.

    Of several tokens none is taken: a proxy may have judged another one than we would.
    """
    scheme, _, text = header.partition(" ")
    if scheme.lower() != "bearer":
        raise credentials_refused("Send the key as a bearer token: Authorization: Bearer <key>")
    if "," in text:
        raise credentials_refused("Send one Authorization header, with one key or JWT.")
    return text.strip()


def read_key(bearer: str) -> Token:
    """Return the parts of a bearer token that is a key. Raises Problem 401 when it is none."""
    token = parse_token(bearer)
    if token is None:
        raise credentials_refused(
            "This is not a key of this service; "
            "a key looks like lh_<id>_<secret>, sent as a bearer token."
        )
    return token
