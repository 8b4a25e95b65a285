"""JWTs of an OAuth2 issuer (client credentials), as another way to show what a caller may do.

Owns the order of the checks of one token: its length, its header, its claims, its key, its
signature. Verified tokens are remembered by digest, so a client that sends one token many times
costs one check of its signature. A remembered token counts until it expires, and only while the key
that signed it is still among the issuer's keys.

It must never take an algorithm or a key from the token alone. The algorithm is that of the key, and
the key is one that the issuer publishes (RFC 8725, 3.1). A token is not stored and not logged.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import jwt
import orjson

from api.challenges import credentials_refused
from api.jwt_claims import BadToken, Claimed, JwtRules, has_expired, read_claims
from api.jwt_keys import IssuerKeysStatistics, KeysAway
from api.problem_types import DEPENDENCY_AWAY
from api.problems import Problem
from api.token_cache import digest_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from api.access import Access
    from api.jwt_key_set import SigningKey
    from api.jwt_keys import IssuerKeys
    from api.services import DatabaseTime

MAX_JWT_CHARACTERS: Final = 8192
MAX_REMEMBERED: Final = 4096
# RFC 9068, 2.1, and what Cognito (nothing) and Keycloak (JWT) send. Tokens of other kinds that an
# issuer signs with the same key have other types (RFC 8725, 3.11).
_TYPES: Final = frozenset({"jwt", "at+jwt", "application/at+jwt"})
_NO_JWT: Final = "This is not a JWT: three parts in base64url, the first two of them JSON objects."
_BAD_HEADER: Final = (
    "The header of the token has critical extensions (crit) or a key id (kid) that are not "
    "understood here."
)
_AWAY: Final = (
    "The keys of the issuer cannot be fetched now, so it is not known whether this token is good."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class JwtStatistics:
    """JWTs since the start of the process; those named so are present values."""

    keys: IssuerKeysStatistics
    tokens_remembered: int  # now
    signatures_checked: int
    refused: int
    undecided: int  # 503: the issuer's keys were away


class _Verified(NamedTuple):
    access: Access
    expires_at: float
    signed_by: SigningKey


class _Parts(NamedTuple):
    header: Mapping[str, Any]
    claims: Mapping[str, Any]


class JwtAccess:
    """Judges the JWTs of one issuer. `keys` must be running."""

    def __init__(self, rules: JwtRules, keys: IssuerKeys, clock: DatabaseTime) -> None:
        self._rules = rules
        self._keys = keys
        self._clock = clock
        self._remembered: OrderedDict[bytes, _Verified] = OrderedDict()
        self._counts: Counter[str] = Counter()
        self._signatures = jwt.PyJWS(options={"enforce_minimum_key_length": True})

    async def verify(self, token: str) -> Access:
        """Return what the token opens. Returns without waiting if the token is remembered.

        Raises Problem 401 for a token that is not good, and 503 when that cannot be known now.
        Raises an EnvironmentFault while the time is not known.
        """
        now = self._clock.now()
        try:
            if len(token) > MAX_JWT_CHARACTERS:
                raise BadToken(f"The token is longer than {MAX_JWT_CHARACTERS} characters.")
            digest = digest_of(token)
            return self._recall(digest, now) or await self._verify_anew(token, digest, now)
        except BadToken as bad:
            self._counts["refused"] += 1
            raise credentials_refused(str(bad)) from None
        except KeysAway as away:
            self._counts["undecided"] += 1
            raise Problem(DEPENDENCY_AWAY, _AWAY, retry_after_seconds=away.retry_after) from away

    def _recall(self, digest: bytes, now: datetime) -> Access | None:
        """Return what a token opens that was verified before, if it is still good."""
        found = self._remembered.get(digest)
        if found is None:
            return None
        key = self._keys.current(found.signed_by.key_id)
        if (
            key is None
            or key.digest != found.signed_by.digest
            or has_expired(found.expires_at, now, self._rules)
        ):
            del self._remembered[digest]
            return None
        self._remembered.move_to_end(digest)
        return found.access

    async def _verify_anew(self, token: str, digest: bytes, now: datetime) -> Access:
        parts = _take_apart(token)
        key_id = _check_header(parts.header, self._rules)
        claimed = read_claims(parts.claims, self._rules, now)
        key = await self._keys.find(key_id, self._least_age(claimed, now))
        if key is None:
            raise BadToken("The key that signed the token is not among the issuer's keys.")
        self._check_signature(token, key)
        self._remembered[digest] = _Verified(claimed.access, claimed.expires_at, key)
        if len(self._remembered) > MAX_REMEMBERED:
            self._remembered.popitem(last=False)
        return claimed.access

    def _least_age(self, claimed: Claimed, now: datetime) -> float | None:
        """Return the least age of the token in seconds, if its clock is off by the leeway."""
        if claimed.issued_at is None:
            return None
        return now.timestamp() - claimed.issued_at - self._rules.leeway_seconds

    def _check_signature(self, token: str, key: SigningKey) -> None:
        self._counts["signatures_checked"] += 1
        try:
            self._signatures.decode(token, key.key, algorithms=[key.key.algorithm_name])
        except jwt.InvalidAlgorithmError:
            raise BadToken("The token's algorithm is not the one of its key.") from None
        except jwt.InvalidTokenError:
            raise BadToken("The signature is not that of the issuer's key.") from None

    def statistics(self) -> JwtStatistics:
        return JwtStatistics(
            keys=self._keys.statistics(),
            tokens_remembered=len(self._remembered),
            signatures_checked=self._counts["signatures_checked"],
            refused=self._counts["refused"],
            undecided=self._counts["undecided"],
        )


def is_jwt(token: str) -> bool:
    """Return whether a bearer token is to be read as a JWT. No key of this service has a dot."""
    return "." in token


def _take_apart(token: str) -> _Parts:
    """Return header and claims as the token states them; nobody has vouched for them yet."""
    try:
        unverified = jwt.PyJWS().decode_complete(token, options={"verify_signature": False})
        claims = orjson.loads(unverified["payload"])
    except (jwt.DecodeError, orjson.JSONDecodeError):
        raise BadToken(_NO_JWT) from None
    except jwt.InvalidTokenError:
        raise BadToken(_BAD_HEADER) from None
    if not isinstance(claims, dict):
        raise BadToken(_NO_JWT)
    return _Parts(unverified["header"], claims)


def _check_header(header: Mapping[str, Any], rules: JwtRules) -> str:
    """Return the id of the key. Raises BadToken.

    Members that tell where a key is (jku, jwk, x5u, x5c) are not looked at.
    """
    if "crit" in header:
        raise BadToken(_BAD_HEADER)
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.lower() not in _TYPES:
        raise BadToken("The token is of another type (typ) than JWT or at+jwt.")
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in rules.algorithms:
        allowed = ", ".join(sorted(rules.algorithms))
        raise BadToken(f"The token's algorithm (alg) is not one that is allowed here: {allowed}.")
    key_id = header.get("kid")
    if not isinstance(key_id, str) or not key_id:
        raise BadToken("The token does not name its key (kid).")
    return key_id
