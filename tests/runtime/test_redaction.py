"""Redaction hides secrets, and leaves help texts as they were written."""

from __future__ import annotations

import pytest

from runtime.redaction import redact_text

HELP = (
    "this connection has no credential: set it to env:NAME or file:PATH",
    "base_url must not hold a user or password: put them into the credential",
    "Send a key: Authorization: Bearer lh_… (lastheard token create)",
    "a key looks like lh_<id>_<secret>, sent as a bearer token.",
    "set LASTHEARD_DSN=postgresql://user:password@host/database",
    'curl -H "Authorization: Bearer $KEY" http://127.0.0.1:8080/',
    "the credential: `env:NAME` or `file:PATH`",
    "two tenants cannot share a credential: it tells them apart",
    'Bearer realm="lastheard"',
)
SECRETS = (
    ("password: hunter2", "hunter2"),
    ("password: set-by-hand", "set-by-hand"),
    ("password: a1b2", "a1b2"),
    ("password=the secret", "the"),
    ("credential: theta", "theta"),
    ("Authorization: Bearer lh_abcd1234_S3cretS3cret", "S3cretS3cret"),
    ("authorization: bearer eyJhbGciOi.abc", "eyJhbGciOi"),
    ("Bearer tokenized-secret-1", "tokenized-secret-1"),
    ("postgresql://user:hunter2@host/database", "hunter2"),
    ("postgresql://user:password1@host/database", "password1"),
    ("api-key: $ecret", "ecret"),
)


@pytest.mark.parametrize("text", HELP)
def test_a_help_text_is_left_as_it_is(text: str) -> None:
    assert redact_text(text) == text


@pytest.mark.parametrize(("text", "secret"), SECRETS)
def test_a_secret_in_a_similar_text_is_hidden(text: str, secret: str) -> None:
    assert secret not in redact_text(text)
