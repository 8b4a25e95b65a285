"""What the claims of a JWT grant (RFC 7519, RFC 9068), by the rules that the settings give.

Pure: the time is an argument, and nothing here knows keys or signatures. The claims are judged
before the signature, because that is cheaper. So nothing that this module returns may be used
before api/jwt_access.py has verified the signature.

A claim grants only what it names. A token without the claim of workspaces opens no workspace.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from api.access import Access
from api.keys import Scope
from domain.ids import is_id

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

SUBJECT_PREFIX: Final = "jwt:"
MAX_SUBJECT_CHARACTERS: Final = 200
_LARGEST_TIME: Final = 2**53  # seconds; a float is exact below it
_KNOWN_SCOPES: Final = frozenset(scope.value for scope in Scope)


class BadToken(Exception):
    """The token is refused. The text says why, and repeats nothing of the token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JwtRules:
    """What a token must say, and which of its claims say what it opens.

    A claim is named by its name, or by the way to it with dots between (`realm_access.roles`). Of a
    claim's words, those that begin with the prefix count, without the prefix. `all_workspaces` is
    the word that opens every workspace; None if no word does.
    """

    issuer: str
    audiences: frozenset[str]
    algorithms: frozenset[str]
    audience_claim: str = "aud"
    leeway_seconds: float = 30.0
    subject_claim: str = "sub"
    scope_claim: str = "scope"
    scope_prefix: str = ""
    workspaces_claim: str = "workspaces"
    workspaces_prefix: str = ""
    all_workspaces: str | None = None


class Claimed(NamedTuple):
    """What a token claims. Times in seconds since 1970; `issued_at` None if it does not say."""

    access: Access
    expires_at: float
    issued_at: float | None


def read_claims(claims: Mapping[str, Any], rules: JwtRules, now: datetime) -> Claimed:
    """Return what these claims grant at `now`. Raises BadToken."""
    issued_at, expires_at = _check_times(claims, now.timestamp(), rules.leeway_seconds)
    if claims.get("iss") != rules.issuer:
        raise BadToken("The token is of another issuer.")
    if rules.audiences.isdisjoint(_read_audience(claims, rules.audience_claim)):
        raise BadToken(f"The token is for another audience, by its claim {rules.audience_claim}.")
    access = Access(
        SUBJECT_PREFIX + _read_subject(claims, rules.subject_claim),
        _KNOWN_SCOPES & set(_granted(claims, rules.scope_claim, rules.scope_prefix)),
        _read_workspaces(claims, rules),
    )
    return Claimed(access, expires_at, issued_at)


def has_expired(expires_at: float, now: datetime, rules: JwtRules) -> bool:
    return now.timestamp() >= expires_at + rules.leeway_seconds


def _check_times(
    claims: Mapping[str, Any], now: float, leeway: float
) -> tuple[float | None, float]:
    """Return when the token was issued and when it expires, in seconds since 1970."""
    expires_at = _read_time(claims, "exp")
    if expires_at is None:
        raise BadToken("The token has no end: the claim exp is required.")
    if now >= expires_at + leeway:
        raise BadToken("The token has expired.")
    not_before = _read_time(claims, "nbf")
    if not_before is not None and not_before > now + leeway:
        raise BadToken("The token is not valid yet, by its claim nbf.")
    issued_at = _read_time(claims, "iat")
    if issued_at is not None and issued_at > now + leeway:
        raise BadToken("The token was issued in the future, by its claim iat: compare the clocks.")
    return issued_at, expires_at


def _read_time(claims: Mapping[str, Any], name: str) -> float | None:
    """Return a NumericDate (RFC 7519, 2), or None if the token has no such claim."""
    if name not in claims:
        return None
    value = claims[name]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or abs(value) > _LARGEST_TIME:
        raise BadToken(f"The claim {name} is not a number of seconds since 1970.")
    return float(value)


def _read_subject(claims: Mapping[str, Any], name: str) -> str:
    """Return the subject. It stands in logs and in the history, so it is short and printable."""
    subject = _find(claims, name)
    if (
        not isinstance(subject, str)
        or not 1 <= len(subject) <= MAX_SUBJECT_CHARACTERS
        or not subject.isprintable()
    ):
        raise BadToken(
            f"The claim {name} must name the subject, in 1 to {MAX_SUBJECT_CHARACTERS} printable "
            "characters."
        )
    return subject


def _read_audience(claims: Mapping[str, Any], name: str) -> list[str]:
    """Return the audiences: a list, or one text that is not split (RFC 7519, 4.1.3)."""
    value = _find(claims, name)
    return [value] if isinstance(value, str) else _words(claims, name)


def _read_workspaces(claims: Mapping[str, Any], rules: JwtRules) -> frozenset[str] | None:
    """Return the workspaces that the token opens. None is all, which one word alone can say.

    A word that is no id can name none, and it may have characters that no database takes.
    """
    named = frozenset(_granted(claims, rules.workspaces_claim, rules.workspaces_prefix))
    if rules.all_workspaces is not None and rules.all_workspaces in named:
        return None
    return frozenset(filter(is_id, named))


def _granted(claims: Mapping[str, Any], name: str, prefix: str) -> Iterator[str]:
    """Yield the words of a claim that begin with the prefix, without it."""
    for word in _words(claims, name):
        if word.startswith(prefix):
            yield word.removeprefix(prefix)


def _words(claims: Mapping[str, Any], name: str) -> list[str]:
    """Return the words of a claim: a list, or a text with spaces between. [] if it is missing.

    Of the white space only U+0020 separates (RFC 6749, 3.3).
    """
    value = _find(claims, name)
    if value is None:
        return []
    if isinstance(value, str):
        return [word for word in value.split(" ") if word]
    if isinstance(value, list) and all(isinstance(word, str) for word in value):
        return value
    raise BadToken(f"The claim {name} is neither a text nor a list of texts.")


def _find(claims: Mapping[str, Any], name: str) -> Any:
    """Return the value of a claim, or None.

    A name with dots is looked for as it is, since some issuers have URLs as names, and then as the
    way to a nested claim.
    """
    if name in claims:
        return claims[name]
    value: Any = claims
    for part in name.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(part)
    return value
