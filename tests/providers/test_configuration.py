"""Addresses and secrets are checked before they are used."""

from __future__ import annotations

import httpx
import pytest

from domain.model import FaultClass
from ports.providers import ProviderFault
from providers.configuration import header_secret, join_path, parse_base_url


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://provider.example", "https://provider.example/"),
        ("https://provider.example/rfms4/", "https://provider.example/rfms4"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080/"),
    ],
)
def test_a_base_address_loses_its_last_slash(text: str, url: str) -> None:
    assert parse_base_url(text) == httpx.URL(url)


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("ftp://provider.example", "https://"),
        ("provider.example", "https://"),
        ("https://", "name a host"),
        ("https://me:pw@provider.example", "credential"),
        ("https://provider.example/?apiKey=x", "leave out"),
        ("https://provider.example:port", "look like"),
    ],
)
def test_an_unusable_base_address_says_what_to_change(text: str, remedy: str) -> None:
    with pytest.raises(ProviderFault, match=remedy) as caught:
        parse_base_url(text)
    assert (caught.value.fault, caught.value.permanent) == (FaultClass.CONFIGURATION, True)


def test_paths_are_joined_behind_the_bases_own_path() -> None:
    assert (
        join_path(parse_base_url("https://p.example/rfms4/"), "/vehicles")
        == "https://p.example/rfms4/vehicles"
    )
    assert (
        join_path(parse_base_url("https://p.example"), "/vehicles") == "https://p.example/vehicles"
    )


def test_the_line_end_of_a_secret_file_is_not_part_of_the_secret() -> None:
    assert header_secret(" s3cret \n") == "s3cret"


@pytest.mark.parametrize("secret", [None, "", "  \n", "two\nlines", "schlüssel", "bell\a"])
def test_a_secret_unfit_for_headers_is_a_fault_without_quoting(
    secret: str | None,
) -> None:
    with pytest.raises(ProviderFault) as caught:
        header_secret(secret)
    assert (caught.value.fault, caught.value.permanent) == (FaultClass.CONFIGURATION, True)
    assert not secret or secret.strip() == "" or secret not in str(caught.value)
