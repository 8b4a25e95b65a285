"""The settings of traces: which addresses and headers are taken, and what is said of others."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from lastheard.settings import Settings, load
from lastheard.trace_settings import read_headers
from lastheard.tracing import open_tracing
from runtime.settings import SettingsError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("http://collector:4318", "http://collector:4318/v1/traces"),
        ("http://collector:4318/", "http://collector:4318/v1/traces"),
        ("https://host/otlp", "https://host/otlp/v1/traces"),
        ("https://host/v1/traces", "https://host/v1/traces"),
        ("", None),
    ],
)
def test_an_address_may_be_the_collectors_or_the_full_one(given: str, used: str | None) -> None:
    assert Settings(otlp_url=given).otlp_url == used


@pytest.mark.parametrize(
    ("given", "remedy"),
    [
        ("collector:4318", "give an address"),
        ("ftp://collector", "give an address"),
        ("http://", "give an address"),
        ("http://user:s3cret@collector", "LASTHEARD_OTLP_HEADERS"),
        ("http://collector/?key=s3cret", "leave out what follows"),
        ("http://collector:many", "LASTHEARD_OTLP_URL"),
    ],
)
def test_an_address_that_cannot_work_is_refused(
    given: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LASTHEARD_OTLP_URL", given)
    with pytest.raises(SettingsError, match=remedy) as refused:
        load()
    assert "LASTHEARD_OTLP_URL" in str(refused.value)
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("share", ["-0.1", "1.1", "all"])
def test_a_share_is_between_none_and_all(share: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LASTHEARD_TRACE_SHARE", share)
    with pytest.raises(SettingsError, match="LASTHEARD_TRACE_SHARE"):
        load()


def test_headers_are_names_and_values() -> None:
    assert read_headers("Authorization=Bearer a=b, x-team = fleet") == {
        "authorization": "Bearer a=b",
        "x-team": "fleet",
    }


@pytest.mark.parametrize("text", ["s3cret", "a=1,,b=2", "a b=1", "a=1\r\nb: 2", "ä=1", "=1"])
def test_headers_of_another_form_are_refused_without_their_text(text: str) -> None:
    with pytest.raises(ValueError, match="is not NAME=VALUE") as refused:
        read_headers(text)
    assert text not in str(refused.value)


async def test_headers_that_cannot_be_read_end_the_start(tmp_path: Path) -> None:
    settings = Settings(otlp_url="http://127.0.0.1:1", otlp_headers=f"file:{tmp_path / 'none'}")
    with pytest.raises(SettingsError, match="LASTHEARD_OTLP_HEADERS"):
        async with open_tracing(settings):
            raise AssertionError("it was opened")


async def test_a_missing_library_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "lastheard.otlp", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.context", None)
    with pytest.raises(SettingsError, match=r"lastheard\[tracing\]"):
        async with open_tracing(Settings(otlp_url="http://127.0.0.1:1")):
            raise AssertionError("it was opened")
