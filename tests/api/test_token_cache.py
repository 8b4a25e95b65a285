"""The cache of tokens: how much it keeps, and for how long."""

from __future__ import annotations

from api.token_cache import REFUSED_SECONDS, TokenCache, digest_of

ONE, TWO, THREE = (digest_of(token) for token in ("one", "two", "three"))


def test_the_key_unused_for_longest_makes_room() -> None:
    cache = TokenCache(max_tokens=2)
    cache.remember_key(ONE, "key-1")
    cache.remember_key(TWO, "key-2")
    assert cache.key_of(ONE) == "key-1"
    cache.remember_key(THREE, "key-3")
    assert [cache.key_of(digest) for digest in (ONE, TWO, THREE)] == ["key-1", None, "key-3"]


def test_the_oldest_refusal_makes_room() -> None:
    cache = TokenCache(max_tokens=2)
    for digest in (ONE, TWO, ONE, THREE):
        cache.remember_refusal(digest, "unknown", now=0.0)
    refusals = [cache.refusal_of(digest, now=0.0) for digest in (ONE, TWO, THREE)]
    assert refusals == ["unknown", None, "unknown"]


def test_refusals_push_no_key_out() -> None:
    cache = TokenCache(max_tokens=1)
    cache.remember_key(ONE, "key-1")
    cache.remember_refusal(TWO, "unknown", now=0.0)
    assert cache.key_of(ONE) == "key-1"


def test_a_refusal_is_over_after_its_time() -> None:
    cache = TokenCache()
    cache.remember_refusal(ONE, "revoked", now=100.0)
    assert cache.refusal_of(ONE, now=100.0 + REFUSED_SECONDS - 0.1) == "revoked"
    assert cache.refusal_of(ONE, now=100.0 + REFUSED_SECONDS) is None


def test_a_token_is_either_right_or_wrong() -> None:
    cache = TokenCache()
    cache.remember_refusal(ONE, "unknown", now=0.0)
    cache.remember_key(ONE, "key-1")
    assert (cache.key_of(ONE), cache.refusal_of(ONE, now=0.0)) == ("key-1", None)
    cache.remember_refusal(ONE, "revoked", now=0.0)
    assert (cache.key_of(ONE), cache.refusal_of(ONE, now=0.0)) == (None, "revoked")
