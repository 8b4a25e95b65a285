"""The issuer of JWTs as the settings describe it: its rules, and the way to its keys.

Owns the translation of settings into rules, and the HTTP client that fetches the keys. The client
is one of its own, so the providers' calls cannot keep a fetch waiting. It connects by the one
dialler, so the rules for outgoing connections hold (docs/decisions/0013).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import httpx

from api.jwt_access import JwtAccess
from api.jwt_claims import JwtRules
from api.jwt_keys import IssuerKeys, KeyRenewal
from providers.http import Call, HttpPool

if TYPE_CHECKING:
    from api.services import DatabaseTime
    from lastheard.settings import Settings
    from runtime.dialling import Dialler

FETCH_SECONDS: Final = 10.0


class JwtIssuer(NamedTuple):
    """The parts of one issuer. Open `pool` around `keys.run`, and run that for `access`."""

    pool: HttpPool
    keys: IssuerKeys
    access: JwtAccess


def make_jwt_issuer(settings: Settings, dialler: Dialler, clock: DatabaseTime) -> JwtIssuer | None:
    """Return the issuer of the settings, or None if they name none."""
    if settings.jwt_issuer is None or settings.jwt_jwks_url is None:
        return None
    pool = HttpPool(dialler, max_connections=1, max_response_bytes=settings.max_answer_bytes)
    url = httpx.URL(settings.jwt_jwks_url)

    async def fetch() -> bytes:
        """Return the answer's body. Raises ProviderFault, within FETCH_SECONDS."""
        headers = {"Accept": "application/jwk-set+json, application/json"}
        call = Call(method="GET", url=url, headers=headers, deadline_seconds=FETCH_SECONDS)
        return (await pool.fetch(call)).body

    rules = make_jwt_rules(settings, settings.jwt_issuer)
    renewal = KeyRenewal(
        renew_seconds=settings.jwt_keys_seconds, kept_seconds=settings.jwt_keys_kept_seconds
    )
    keys = IssuerKeys(rules.issuer, rules.algorithms, fetch, renewal)
    return JwtIssuer(pool, keys, JwtAccess(rules, keys, clock))


def make_jwt_rules(settings: Settings, issuer: str) -> JwtRules:
    return JwtRules(
        issuer=issuer,
        audiences=settings.jwt_audience_list,
        algorithms=settings.jwt_algorithm_list,
        audience_claim=settings.jwt_audience_claim,
        leeway_seconds=settings.jwt_leeway_seconds,
        subject_claim=settings.jwt_subject_claim,
        scope_claim=settings.jwt_scope_claim,
        scope_prefix=settings.jwt_scope_prefix,
        workspaces_claim=settings.jwt_workspaces_claim,
        workspaces_prefix=settings.jwt_workspaces_prefix,
        all_workspaces=settings.jwt_all_workspaces,
    )
