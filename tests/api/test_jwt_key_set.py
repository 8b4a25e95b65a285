"""Which of the keys that an issuer publishes may verify tokens, and what is no set of keys."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.jwt_key_set import MAX_KEY_SET_BYTES, MAX_KEYS, BadKeySet, KeySet, read_key_set
from tests.api.issuer import public_jwk

ALLOWED = frozenset({"RS256", "ES256", "EdDSA"})


def read(*entries: Any) -> KeySet:
    return read_key_set(orjson.dumps({"keys": [*entries, public_jwk("one")]}), ALLOWED)


def test_keys_are_found_by_id_each_for_its_algorithm() -> None:
    found = read(public_jwk("curve", "ES256"), public_jwk("edwards", "EdDSA"))
    assert {key_id: key.key.algorithm_name for key_id, key in found.keys.items()} == {
        "curve": "ES256",
        "edwards": "EdDSA",
        "one": "RS256",
    }
    assert found.left_out == 0


def test_a_key_without_algorithm_has_the_usual_one_of_its_type() -> None:
    plain = {k: v for k, v in public_jwk("plain").items() if k not in ("alg", "use")}
    assert read(plain).keys["plain"].key.algorithm_name == "RS256"


LEFT_OUT = {
    "for encryption": public_jwk("two", use="enc", alg="RSA-OAEP"),
    "for signing only": public_jwk("two", key_ops=["sign"]),
    "operations that are no list": public_jwk("two", key_ops="verify"),
    "symmetric": {"kty": "oct", "kid": "two", "k": "c2VjcmV0", "alg": "HS256"},
    "symmetric, called RS256": {"kty": "oct", "kid": "two", "k": "c2VjcmV0", "alg": "RS256"},
    "RSA, called HS256": public_jwk("two", alg="HS256"),
    "RSA, called none": public_jwk("two", alg="none"),
    "RSA, called ES256": public_jwk("two", alg="ES256"),
    "an algorithm that is not allowed": public_jwk("two", alg="PS256"),
    "a curve that is not allowed": public_jwk("two", "ES384"),
    "a private key": public_jwk("two", d="AQAB"),
    "1024 bits": public_jwk("short", bits=1024),
    "no id": {k: v for k, v in public_jwk("two").items() if k != "kid"},
    "an id that is a number": public_jwk("two", kid=2),
    "an id too long": public_jwk("two", kid="x" * 257),
    "a modulus that is a number": public_jwk("two", n=17),
    "an empty modulus": public_jwk("two", n=""),
    "an even exponent": public_jwk("two", e="AQAA"),
    "a point off its curve": public_jwk("two", "ES256", x="AQ"),
    "no object": ["two"],
    "an id that is taken": public_jwk("other", kid="one"),
}


@pytest.mark.parametrize("entry", LEFT_OUT.values(), ids=LEFT_OUT.keys())
def test_a_key_that_may_not_verify_is_left_out_alone(entry: Any) -> None:
    alone = read()
    found = read_key_set(orjson.dumps({"keys": [public_jwk("one"), entry]}), ALLOWED)
    assert (set(found.keys), found.left_out) == ({"one"}, 1)
    assert found.keys["one"].digest == alone.keys["one"].digest


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"<html>", "not JSON"),
        (b"", "not JSON"),
        (b"[]", "not an object with a list of keys"),
        (b'{"keys": {}}', "not an object with a list of keys"),
        (b'{"keys": []}', "none of its 0 keys"),
        (orjson.dumps({"keys": [public_jwk("two", use="enc")]}), "none of its 1 keys"),
        (b" " * MAX_KEY_SET_BYTES + b"{}", "more than 262144 bytes"),
        (b"[" * 100_000, "not JSON"),
    ],
)
def test_what_is_no_set_of_keys_says_so(body: bytes, says: str) -> None:
    with pytest.raises(BadKeySet, match=says):
        read_key_set(body, ALLOWED)


def test_of_very_many_keys_the_first_count() -> None:
    entries = [public_jwk("one", kid=str(number)) for number in range(MAX_KEYS + 20)]
    found = read_key_set(orjson.dumps({"keys": entries}), ALLOWED)
    assert (len(found.keys), found.left_out) == (MAX_KEYS, 20)


anything = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(max_size=30)


@given(
    member=st.sampled_from(["kty", "kid", "alg", "use", "key_ops", "n", "e", "crv", "x", "y"]),
    value=anything | st.lists(anything, max_size=3),
    base=st.sampled_from(["RS256", "ES256", "EdDSA"]),
)
def test_whatever_a_member_is_the_other_keys_stay(member: str, value: Any, base: str) -> None:
    text = orjson.dumps({"keys": [{**public_jwk("odd", base), member: value}, public_jwk("one")]})
    assert "one" in read_key_set(text, ALLOWED).keys
