"""The keys that an issuer publishes (JWKS, RFC 7517), read from the bytes of its answer.

Pure. Owns which keys may verify a token: public, asymmetric, for signatures, for one algorithm that
the settings allow, and strong enough. Any other key of the set is left out and counted: Keycloak
lists a key for encryption beside those for signatures. One bad key does not spoil the set.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWK

if TYPE_CHECKING:
    from collections.abc import Collection

# Those of RFC 7518 and RFC 8037 with a public half. A symmetric key that verifies can also sign.
ASYMMETRIC_ALGORITHMS: Final = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA"),
)
MAX_KEY_SET_BYTES: Final = 262_144
MAX_KEYS: Final = 100
MAX_KEY_ID_CHARACTERS: Final = 256
RSA_BITS: Final = range(2048, 8192 + 1)  # RFC 7518, 3.3; beyond 8192 a signature takes too long
_PRIVATE_HALF: Final = "d"


class SigningKey(NamedTuple):
    """One public key. It verifies the one algorithm that its PyJWK is for.

    Two keys with one `digest` are the same key, so tokens that the one has verified stay verified.
    """

    key_id: str
    key: PyJWK
    digest: bytes


class KeySet(NamedTuple):
    """The keys that may verify tokens, by id, and how many others the set has."""

    keys: Mapping[str, SigningKey] = MappingProxyType({})
    left_out: int = 0


class BadKeySet(Exception):
    """The answer is no set of keys, or none of its keys may be used. The text says why."""


def read_key_set(body: bytes, algorithms: Collection[str]) -> KeySet:
    """Return the usable keys of the set. Raises BadKeySet if there are none.

    Of two keys with one id the first counts.
    """
    listed = _list_keys(body)
    keys: dict[str, SigningKey] = {}
    for entry in listed[:MAX_KEYS]:
        key = _read_key(entry, algorithms)
        if key is not None:
            keys.setdefault(key.key_id, key)
    if not keys:
        raise BadKeySet(
            f"none of its {len(listed)} keys has an id and is for signatures by "
            f"{', '.join(sorted(algorithms))}"
        )
    return KeySet(keys, len(listed) - len(keys))


def _list_keys(body: bytes) -> list[Any]:
    if len(body) > MAX_KEY_SET_BYTES:
        raise BadKeySet(f"it has more than {MAX_KEY_SET_BYTES} bytes")
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise BadKeySet("it is not JSON") from None
    listed = document.get("keys") if isinstance(document, Mapping) else None
    if not isinstance(listed, list):
        raise BadKeySet("it is not an object with a list of keys, as RFC 7517 has it")
    return listed


def _read_key(entry: Any, algorithms: Collection[str]) -> SigningKey | None:
    """Return the key, or None if no token may be verified with it."""
    if not isinstance(entry, dict) or not _is_for_signatures(entry):
        return None
    key_id = entry.get("kid")
    if not isinstance(key_id, str) or not 1 <= len(key_id) <= MAX_KEY_ID_CHARACTERS:
        return None
    try:
        key = PyJWK.from_dict(entry)
    except Exception:
        # Members of a wrong type or value, for which two libraries raise errors of their own. One
        # entry that cannot be read must not cost the others.
        return None
    if key.algorithm_name not in algorithms or not _is_strong(key):
        return None
    content = orjson.dumps(entry, option=orjson.OPT_SORT_KEYS)
    return SigningKey(key_id, key, hashlib.sha256(content).digest())


def _is_for_signatures(entry: Mapping[str, Any]) -> bool:
    """Return whether the key is public, asymmetric, and not for another use (RFC 7517, 4.2, 4.3).

    A private key in a public place has been seen by others.
    """
    operations = entry.get("key_ops", ["verify"])
    return (
        entry.get("kty") != "oct"
        and entry.get("use", "sig") == "sig"
        and isinstance(operations, list)
        and "verify" in operations
        and _PRIVATE_HALF not in entry
    )


def _is_strong(key: PyJWK) -> bool:
    public = key.key
    return not isinstance(public, RSAPublicKey) or public.key_size in RSA_BITS
