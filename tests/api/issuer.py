"""A small issuer of JWTs: real keys, and a real HTTP server on loopback that publishes them.

It counts who asks for its keys, and can be away or slow. Its tokens have the shapes of those that
Cognito and Keycloak give for client credentials.
"""

from __future__ import annotations

import base64
from contextlib import asynccontextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

import jwt
import orjson
import trio
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms

from lastheard.jwt_issuer import JwtIssuer, make_jwt_issuer
from lastheard.settings import Settings
from tests.providers.servers import Asked, Reply, http_server, loopback_dialler

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from jwt.types import JWKDict

    from api.services import DatabaseTime

ISSUER = "https://issuer.example/realms/fleet"
AUDIENCE = "lastheard"
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


def private_key(key_id: str, algorithm: str = "RS256", bits: int = 2048) -> PrivateKey:
    """Return the key of this id."""
    return _make_key(key_id, algorithm, bits)


@cache
def _make_key(key_id: str, algorithm: str, bits: int) -> PrivateKey:
    """Make a key, once in a run, because it takes long."""
    del key_id
    match algorithm:
        case "ES256":
            return ec.generate_private_key(ec.SECP256R1())
        case "ES384":
            return ec.generate_private_key(ec.SECP384R1())
        case "EdDSA":
            return ed25519.Ed25519PrivateKey.generate()
        case _:
            return rsa.generate_private_key(65537, bits)


def public_jwk(key_id: str, algorithm: str = "RS256", **changes: Any) -> dict[str, Any]:
    """Return the public half as an issuer publishes it (RFC 7517)."""
    bits = changes.pop("bits", 2048)
    key: Any = private_key(key_id, algorithm, bits)
    jwk: JWKDict = get_default_algorithms()[algorithm].to_jwk(key.public_key(), as_dict=True)
    return {**jwk, "kid": key_id, "alg": algorithm, "use": "sig", **changes}


def sign(
    claims: Mapping[str, Any] | bytes, key_id: str = "one", algorithm: str = "RS256", **header: Any
) -> str:
    """Return the claims as a token, signed with the key of this id, with more in its header."""
    payload = claims if isinstance(claims, bytes) else orjson.dumps(claims)
    signer = jwt.PyJWS()
    whole = {"kid": key_id, **header}
    key: Any = private_key(key_id, algorithm)
    token = signer.encode(payload, key, algorithm, {k: v for k, v in whole.items() if k != "crit"})
    if "crit" not in whole:
        return token
    # PyJWT signs no critical extension that it does not know, so this is done by hand.
    parts = (segment({**whole, "alg": algorithm}), segment(payload))
    signed = get_default_algorithms()[algorithm].sign(".".join(parts).encode(), key)
    return ".".join([*parts, segment(signed)])


def segment(content: Mapping[str, Any] | bytes) -> str:
    """Return one part of a token."""
    raw = content if isinstance(content, bytes) else orjson.dumps(content)
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class Issuer:
    """The issuer's side: its published keys, and what happens to it. `asked` counts fetches."""

    def __init__(self, clock: DatabaseTime) -> None:
        self._clock = clock
        self.published: list[Any] = [public_jwk("one")]
        self.asked = 0
        self.is_away = False
        self.hangs = False

    async def answer(self, asked: Asked) -> Reply:
        assert (asked.method, asked.target) == ("GET", "/jwks.json")
        self.asked += 1
        if self.hangs:
            await trio.sleep_forever()
        if self.is_away:
            return Reply(503, b"<html>we are sorry</html>", {"Content-Type": "text/html"})
        return Reply(200, orjson.dumps({"keys": self.published}))

    def now(self) -> int:
        return int(self._clock.now().timestamp())

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Return the claims of a good token of ten minutes. A claim that is None is left out."""
        now = self.now()
        plain = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": "gateway",
            "iat": now,
            "exp": now + 600,
            "scope": "read ingest",
            "workspaces": ["north"],
        }
        return {name: value for name, value in {**plain, **changes}.items() if value is not None}

    def token(self, **changes: Any) -> str:
        return sign(self.claims(**changes))


def cognito_claims(now: int) -> dict[str, Any]:
    """Return what Cognito puts into an access token for client credentials.

    There is no `aud`; `scope` has the scopes as `resource-server/scope`. Source: "Understanding the
    access token" in the Amazon Cognito developer guide.
    """
    return {
        "sub": "6k1pn3hbcvq5r5kkh7tkkfgt0i",
        "token_use": "access",
        "scope": "lastheard/read lastheard/ingest lastheard/workspace:north",
        "auth_time": now,
        "iss": "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_Example01",
        "exp": now + 3600,
        "iat": now,
        "version": 2,
        "jti": "d6f0ad6a-7c2d-4a3c-8f0e-0e5a2f3b9c11",
        "client_id": "6k1pn3hbcvq5r5kkh7tkkfgt0i",
    }


COGNITO = {
    "jwt_issuer": "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_Example01",
    "jwt_audience_claim": "client_id",
    "jwt_audiences": "6k1pn3hbcvq5r5kkh7tkkfgt0i",
    "jwt_scope_prefix": "lastheard/",
    "jwt_workspaces_claim": "scope",
    "jwt_workspaces_prefix": "lastheard/workspace:",
    "jwt_all_workspaces": "*",
}


def keycloak_claims(now: int) -> dict[str, Any]:
    """Return what Keycloak puts into an access token of a service account.

    The audience comes from an audience mapper, `workspaces` from a mapper of the client. Source:
    "Using a service account" and "Protocol mappers" in the Keycloak server administration guide.
    """
    return {
        "exp": now + 300,
        "iat": now,
        "jti": "trrtcc:1d7c6a6e-6a52-4d0c-9b0c-1f3f0c9f0f6b",
        "iss": ISSUER,
        "aud": ["lastheard", "account"],
        "sub": "0f2f8a2e-5d0b-4a43-9d3b-8d5f5b1d0a77",
        "typ": "Bearer",
        "azp": "gateway",
        "acr": "1",
        "realm_access": {"roles": ["default-roles-fleet", "offline_access", "lastheard-ingest"]},
        "resource_access": {
            "lastheard": {"roles": ["read", "ingest"]},
            "account": {"roles": ["manage-account", "view-profile"]},
        },
        "scope": "profile email",
        "clientHost": "192.0.2.17",
        "email_verified": False,
        "preferred_username": "service-account-gateway",
        "clientAddress": "192.0.2.17",
        "client_id": "gateway",
        "workspaces": ["north"],
    }


KEYCLOAK = {
    "jwt_issuer": ISSUER,
    "jwt_audiences": "lastheard",
    "jwt_subject_claim": "client_id",
    "jwt_scope_claim": "resource_access.lastheard.roles",
}


@asynccontextmanager
async def serving_keys(issuer: Issuer) -> AsyncIterator[str]:
    """Publish the issuer's keys, and yield their URL."""
    async with http_server(issuer.answer) as address:
        yield f"{address}/jwks.json"


@asynccontextmanager
async def open_issuer(
    issuer: Issuer, clock: DatabaseTime, **settings: Any
) -> AsyncIterator[JwtIssuer]:
    """Run the issuer, and what a shard with these settings runs for it."""
    async with serving_keys(issuer) as url:
        plain = {"jwt_issuer": ISSUER, "jwt_audiences": AUDIENCE, "outbound_allow": "127.0.0.1"}
        found = make_jwt_issuer(
            Settings(jwt_jwks_url=url, **{**plain, **settings}), loopback_dialler(), clock
        )
        assert found is not None
        async with found.pool, trio.open_nursery() as nursery:
            nursery.start_soon(found.keys.run)
            yield found
            nursery.cancel_scope.cancel()
