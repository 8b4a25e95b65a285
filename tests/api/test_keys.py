"""The form of a key, and the conditions under which it is accepted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from api.keys import Token, hash_secret, mint_key, parse_token, why_refused

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


def test_of_a_minted_token_only_the_hash_of_its_secret_is_kept() -> None:
    record, text = mint_key("depot reader", ["read"], ["north"], None)
    token = parse_token(text)
    assert token is not None
    assert token.key_id == record.key_id
    assert record.secret_hash == hash_secret(token.secret)
    assert token.secret not in repr(record)
    assert len(bytes.fromhex(token.secret)) == 32
    assert why_refused(record, token, NOW) is None


def test_two_keys_share_nothing() -> None:
    first, second = mint_key("a", ["read"], None, None), mint_key("a", ["read"], None, None)
    assert first[0].key_id != second[0].key_id
    assert first[0].secret_hash != second[0].secret_hash


@pytest.mark.parametrize(
    ("scopes", "workspaces", "words"),
    [
        (["write"], None, "write"),
        ([], None, "at least one scope"),
        (["read"], [], "no workspace"),
    ],
)
def test_a_key_for_nothing_or_for_the_unknown_is_not_minted(
    scopes: list[str], workspaces: list[str] | None, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        mint_key("x", scopes, workspaces, None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "lh",
        "lh_a",
        "lh_a_b_c",
        "xx_a_b",
        "lh__b",
        "lh_a_",
        "lh_a_b ",
        "lh_ä_b",
        "lh_a_" + "b" * 500,
        "lh_a_b\0",
    ],
)
def test_what_is_not_a_token_is_not_taken_apart(text: str) -> None:
    assert parse_token(text) is None


def test_a_key_is_refused_from_the_instant_it_expires() -> None:
    record, text = mint_key("x", ["read"], None, NOW)
    token = parse_token(text)
    assert token is not None
    assert why_refused(record, token, NOW - timedelta(microseconds=1)) is None
    assert why_refused(record, token, NOW) == "The key has expired."


def test_without_the_secret_a_revoked_key_looks_like_none() -> None:
    record, text = mint_key("x", ["read"], None, None)
    revoked = record._replace(revoked_at=NOW)
    token = parse_token(text)
    assert token is not None
    assert why_refused(revoked, token, NOW) == "The key was revoked."
    guess = Token(record.key_id, "0" * 64)
    assert (
        why_refused(revoked, guess, NOW) == why_refused(None, guess, NOW) == "The key is not known."
    )
