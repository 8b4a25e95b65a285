"""Of an answer that is not what was expected, facts are kept, in strict patterns."""

from __future__ import annotations

import pytest

from domain.model import FaultClass
from ports.providers import ProviderFault
from providers.answers import Answer, describe_answer, error_code_in, error_code_of, media_type_of
from providers.rfms import wire as rfms
from providers.viriciti import errors as viriciti


@pytest.mark.parametrize(
    "code",
    [
        "RateExceeded",
        "invalid_client",
        "invalid-token",
        "E1001",
        "error.auth_401",
        "InvalidUserException",
    ],
)
def test_a_short_token_is_an_error_code(code: str) -> None:
    assert error_code_of(code) == code


@pytest.mark.parametrize(
    "value",
    [
        "",
        "x",
        None,
        True,
        4.5,
        {"code": "E1"},
        "no such key",
        "key=abc",
        "a" * 41,
        "9f86d081-884c-4d63-a4c2-5c9f1a0b8e11",  # a key that came back as one
        "sk_live_51H8x2eK",
        "Zm9vOmJhcg==",
        "user:password",
        "%61bc",
        "caf\u00e9",
        123_456_789_012,
    ],
)
def test_a_text_that_could_be_a_key_is_no_error_code(value: object) -> None:
    assert error_code_of(value) is None


@pytest.mark.parametrize(("value", "code"), [(404, "404"), (-32000, "-32000"), (0, "0")])
def test_a_small_number_is_an_error_code(value: int, code: str) -> None:
    assert error_code_of(value) == code


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"error":"RateExceeded","error_description":"s3cret"}', "RateExceeded"),
        (b'{"error":{"message":"s3cret"}}', None),
        (b'["error"]', None),
        (b"<html>", None),
        (b"", None),
    ],
)
def test_each_provider_reads_its_error_code(body: bytes, code: str | None) -> None:
    assert (rfms.read_error_code(body), viriciti.read_error_code(body)) == (code, code)


def test_the_first_name_with_a_code_counts() -> None:
    assert error_code_in(b'{"error":"something went wrong","code":"E7"}', "error", "code") == "E7"


@pytest.mark.parametrize(
    ("text", "media_type"),
    [
        ("application/json", "application/json"),
        ("Text/HTML; charset=s3cret", "text/html"),
        ("application/problem+json", "application/problem+json"),
        ("s3cret", None),
        ("text/html s3cret", None),
        ("application/s3cret=", None),
        ("a/" + "b" * 100, None),
        ("", None),
    ],
)
def test_a_media_type_is_cut_to_its_pattern(text: str, media_type: str | None) -> None:
    assert media_type_of({"content-type": text}) == media_type


def test_facts_are_told_in_words() -> None:
    assert describe_answer("text/html", 7, None) == "text/html, 7 bytes"
    assert describe_answer(None, 0, None) == "no body"
    assert describe_answer(None, 9, "E7", is_cut=True) == "more than 9 bytes, error E7"


def test_an_unreadable_answer_is_told_by_its_facts() -> None:
    def refuse(_: bytes) -> None:
        raise ProviderFault(FaultClass.PROTOCOL, "it is not JSON", unreadable=True)

    answer = Answer(200, "text/html", b"<p>s3cret</p>")
    with pytest.raises(ProviderFault) as caught:
        answer.read(refuse, rfms.read_error_code)
    assert str(caught.value) == "it is not JSON (answered 200: text/html, 13 bytes)"
    assert caught.value.unreadable
