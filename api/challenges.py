"""The answers to missing and wrong credentials (RFC 6750), for the gate and for the handlers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.keys import parse_token
from api.problem_types import UNAUTHENTICATED
from api.problems import Problem

if TYPE_CHECKING:
    from api.keys import Token

CHALLENGE = 'Bearer realm="lastheard"'


def credentials_missing() -> Problem:
    # RFC 6750, 3.1: no error code when the client gave no credentials at all.
    detail = "Send a key: Authorization: Bearer lh_…"
    return Problem(UNAUTHENTICATED, detail, headers={"WWW-Authenticate": CHALLENGE})


def credentials_refused(why: str) -> Problem:
    headers = {"WWW-Authenticate": f'{CHALLENGE}, error="invalid_token"'}
    return Problem(UNAUTHENTICATED, why, headers=headers)


def read_token(header: str) -> Token:
    """Return the token of an Authorization header. Raises Problem 401 when it has none."""
    scheme, _, text = header.partition(" ")
    token = parse_token(text.strip()) if scheme.lower() == "bearer" else None
    if token is None:
        raise credentials_refused(
            "This is not a key of this service; "
            "a key looks like lh_<id>_<secret>, sent as a bearer token."
        )
    return token
