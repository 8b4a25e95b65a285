"""What is refused, and why: the table of bad tokens, at the API, with real keys and a real issuer.

Each is 401 with a challenge that names the reason (RFC 6750, 3.1), except for a token that cannot
be judged because the issuer is away: that is 503.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from api.app import create_app
from api.jwt_access import MAX_JWT_CHARACTERS
from tests.api.issuer import Issuer, open_issuer, private_key, public_jwk, segment, sign
from tests.api.standing_time import START
from tests.providers.servers import Asked, Reply, http_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from api.jwt_access import JwtAccess
    from tests.api.harness import Answer, Harness

NOW = int(START.timestamp())


class Bad(NamedTuple):
    """A token that is refused, and what the refusal says."""

    name: str
    make: Callable[[Issuer], str]
    says: str


def by_hand(header: dict[str, Any], claims: dict[str, Any], secret: bytes | None) -> str:
    """Return a token that no library would make. `secret` None leaves it unsigned."""
    signed = f"{segment(header)}.{segment(claims)}"
    mac = b"" if secret is None else hmac.digest(secret, signed.encode(), hashlib.sha256)
    return f"{signed}.{segment(mac)}"


def public_pem() -> bytes:
    form = PublicFormat.SubjectPublicKeyInfo
    return private_key("one").public_key().public_bytes(Encoding.PEM, form)


def with_part(token: str, place: int, content: str) -> str:
    parts = token.split(".")
    parts[place] = content
    return ".".join(parts)


def flipped(token: str) -> str:
    """Return the token with another signature of the same length."""
    signature = token.rpartition(".")[2]
    return with_part(token, 2, signature[:-4] + ("AAAA" if signature[-4:] != "AAAA" else "BBBB"))


HS256 = {"alg": "HS256", "typ": "JWT", "kid": "one"}
NO_JWT = "This is not a JWT"
ALGORITHM = "algorithm (alg) is not one that is allowed here: ES256, RS256"
BAD = (
    Bad("expired", lambda of: of.token(exp=NOW - 30), "has expired"),
    Bad("not yet valid", lambda of: of.token(nbf=NOW + 31), "not valid yet"),
    Bad("issued in the future", lambda of: of.token(iat=NOW + 31), "issued in the future"),
    Bad("no end", lambda of: of.token(exp=None), "the claim exp is required"),
    Bad("an end that is text", lambda of: of.token(exp="tomorrow"), "exp is not a number"),
    Bad("an end that is true", lambda of: of.token(exp=True), "exp is not a number"),
    Bad("an endless end", lambda of: of.token(exp=10**17), "exp is not a number"),
    Bad("a start that is a list", lambda of: of.token(nbf=[NOW]), "nbf is not a number"),
    Bad("another issuer", lambda of: of.token(iss="https://other.example"), "another issuer"),
    Bad("no issuer", lambda of: of.token(iss=None), "another issuer"),
    Bad("a list of issuers", lambda of: of.token(iss=[of.claims()["iss"]]), "another issuer"),
    Bad("another audience", lambda of: of.token(aud="billing"), "another audience"),
    Bad("no audience", lambda of: of.token(aud=None), "another audience"),
    Bad("an audience that is a number", lambda of: of.token(aud=[1]), "aud is neither a text"),
    Bad("no subject", lambda of: of.token(sub=None), "sub must name the subject"),
    Bad("a subject with a line end", lambda of: of.token(sub="a\nb"), "sub must name the subject"),
    Bad("a subject too long", lambda of: of.token(sub="x" * 201), "sub must name the subject"),
    Bad("scopes in an object", lambda of: of.token(scope={"read": True}), "scope is neither"),
    Bad("workspaces in an object", lambda of: of.token(workspaces={}), "workspaces is neither"),
    Bad("alg none", lambda of: by_hand({**HS256, "alg": "none"}, of.claims(), None), ALGORITHM),
    Bad("alg None", lambda of: by_hand({**HS256, "alg": "None"}, of.claims(), None), ALGORITHM),
    Bad("no alg", lambda of: by_hand({"kid": "one"}, of.claims(), None), ALGORITHM),
    Bad("alg in a list", lambda of: by_hand({**HS256, "alg": ["RS256"]}, of.claims(), None), ""),
    Bad("HS256 by the public key", lambda of: by_hand(HS256, of.claims(), public_pem()), ALGORITHM),
    Bad(
        "HS256 by the public key, called RS256",
        lambda of: by_hand({**HS256, "alg": "RS256"}, of.claims(), public_pem()),
        "signature is not that",
    ),
    Bad("an algorithm not allowed", lambda of: sign(of.claims(), algorithm="PS256"), ALGORITHM),
    Bad(
        "an allowed algorithm, of another key",
        lambda of: sign(of.claims(), key_id="elliptic", algorithm="ES256", kid="one"),
        "not the one of its key",
    ),
    Bad(
        "signed by a removed key", lambda of: sign(of.claims(iat=NOW - 31), "removed"), "not among"
    ),
    Bad("signed by another, under this id", lambda of: sign(of.claims(), "x", kid="one"), "signat"),
    Bad("a key id that is a number", lambda of: by_hand({**HS256, "kid": 1}, {}, b"x"), "(kid)"),
    Bad("no key id", lambda of: sign(of.claims(), kid=""), "does not name its key"),
    Bad("another signature", lambda of: flipped(of.token()), "signature is not that"),
    Bad("no signature", lambda of: with_part(of.token(), 2, ""), "signature is not that"),
    Bad("another type", lambda of: sign(of.claims(), typ="logout+jwt"), "another type (typ)"),
    Bad("a critical extension", lambda of: sign(of.claims(), crit=["b64"], b64=True), "(crit)"),
    Bad("an unknown one", lambda of: sign(of.claims(), crit=["exp"], exp=NOW + 9), "(crit)"),
    Bad("an empty crit", lambda of: sign(of.claims(), crit=[]), "(crit)"),
    Bad("a detached payload", lambda of: sign(of.claims(), crit=["b64"], b64=False), NO_JWT),
    Bad("a garbage header", lambda of: with_part(of.token(), 0, "e30%"), NO_JWT),
    Bad("a garbage payload", lambda of: with_part(of.token(), 1, "!!!!"), NO_JWT),
    Bad("a garbage signature", lambda of: with_part(of.token(), 2, "a*b"), NO_JWT),
    Bad("a header that is no JSON", lambda of: with_part(of.token(), 0, segment(b"{")), NO_JWT),
    Bad("a header that is a list", lambda of: with_part(of.token(), 0, segment(b"[]")), NO_JWT),
    Bad("a deep header", lambda of: with_part(of.token(), 0, segment(b"[" * 3000)), NO_JWT),
    Bad("a deep payload", lambda of: with_part(of.token(), 1, segment(b"[" * 3000)), NO_JWT),
    Bad("a payload that is text", lambda of: sign(b'"me"'), NO_JWT),
    Bad("a payload that is no UTF-8", lambda of: sign(b'{"sub":"\xff"}'), NO_JWT),
    Bad("a payload with a lone surrogate", lambda of: sign(rb'{"sub":"\ud800"}'), NO_JWT),
    Bad("a payload with NaN", lambda of: sign(b'{"exp":NaN}'), NO_JWT),
    Bad("two parts", lambda of: of.token().rpartition(".")[0], NO_JWT),
    Bad("four parts", lambda of: of.token() + ".x", NO_JWT),
    Bad("dots alone", lambda of: "..", NO_JWT),
    Bad("too long", lambda of: of.token(more="x" * MAX_JWT_CHARACTERS), "longer than 8192"),
)
bad_tokens = pytest.mark.parametrize("bad", BAD, ids=[bad.name for bad in BAD])


@pytest.fixture
def issuer(harness: Harness) -> Issuer:
    return Issuer(harness.clock)


@pytest.fixture
async def jwts(harness: Harness, issuer: Issuer) -> AsyncIterator[JwtAccess]:
    """The issuer, running, and the API of the harness with it."""
    async with open_issuer(issuer, harness.clock) as found:
        harness.client = create_app(harness.make_services(jwts=found.access)).test_client()
        yield found.access


async def ask(harness: Harness, token: str) -> Answer:
    return await harness.ask("POST", "/ingest", key=token, json={"updates": []})


def refusal_of(answer: Answer) -> str:
    """Return the reason of a 401. Challenge and body say the same."""
    assert (answer.status, answer.problem) == (401, "unauthenticated"), answer.body
    detail = str(answer.json["detail"])
    assert answer.headers["www-authenticate"] == (
        f'Bearer realm="lastheard", error="invalid_token", error_description="{detail}"'
    )
    return detail


@bad_tokens
async def test_a_bad_token_is_401_and_its_challenge_says_why(
    harness: Harness, issuer: Issuer, jwts: JwtAccess, bad: Bad
) -> None:
    assert (await ask(harness, issuer.token())).status == 200
    answer = await ask(harness, bad.make(issuer))
    assert bad.says in refusal_of(answer)
    assert issuer.asked == 1  # no bad token makes the shard ask again
    assert (await ask(harness, issuer.token())).status == 200


async def test_the_edges_of_the_leeway_hold_to_the_second(
    harness: Harness, issuer: Issuer, jwts: JwtAccess
) -> None:
    on_the_edge = {"exp": NOW - 29, "nbf": NOW + 30, "iat": NOW + 30}
    assert (await ask(harness, issuer.token(**on_the_edge))).status == 200


async def test_where_a_token_says_its_key_is_nobody_looks(
    harness: Harness, issuer: Issuer, jwts: JwtAccess
) -> None:
    """Key ids and keys of the token's own (jku, jwk, x5u, x5c) are ignored, and never fetched."""
    visits: list[str] = []

    def decoy(asked: Asked) -> Reply:
        visits.append(asked.target)
        return Reply(200, b'{"keys":[]}')

    async with http_server(decoy) as address:
        own: dict[str, Any] = {"jku": f"{address}/jwks", "x5u": f"{address}/cert", "x5c": ["MIIB"]}
        own["jwk"] = public_jwk("attacker")
        good = sign(issuer.claims(), **own)
        forged = sign(issuer.claims(), "attacker", kid="one", **own)
        assert (await ask(harness, good)).status == 200
        assert "signature is not that" in refusal_of(await ask(harness, forged))
    assert visits == []


async def test_a_token_stops_at_its_end_though_it_is_remembered(
    harness: Harness, issuer: Issuer, jwts: JwtAccess
) -> None:
    token = issuer.token(exp=NOW + 60)
    assert [(await ask(harness, token)).status for _ in range(3)] == [200] * 3
    assert jwts.statistics().signatures_checked == 1
    harness.let_pass(60 + 29)
    assert (await ask(harness, token)).status == 200
    harness.let_pass(1)
    assert refusal_of(await ask(harness, token)) == "The token has expired."
    assert jwts.statistics().tokens_remembered == 0


async def test_without_an_issuer_a_jwt_is_no_key(harness: Harness, issuer: Issuer) -> None:
    answer = await ask(harness, issuer.token())
    assert "not a key of this service" in refusal_of(answer)


async def test_a_key_works_beside_jwts_and_the_other_way_round(
    harness: Harness, issuer: Issuer, jwts: JwtAccess
) -> None:
    issuer.is_away = True
    assert (await ask(harness, "ingest")).status == 200
    assert (await ask(harness, "read")).status == 403
