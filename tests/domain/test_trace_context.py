"""W3C Trace Context, level 1: which headers are valid, and what is passed on."""

from __future__ import annotations

import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.trace_context import read_trace_id, to_trace_id, write_traceparent

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{SPAN}-01"
HEX = "0123456789abcdef"


def digits(count: int) -> st.SearchStrategy[str]:
    return st.text(HEX, min_size=count, max_size=count).filter(lambda text: text.strip("0") != "")


@pytest.mark.parametrize(
    "value",
    [
        GOOD,
        f"00-{TRACE}-{SPAN}-00",
        f"00-{TRACE}-{SPAN}-ff",
        f"01-{TRACE}-{SPAN}-01",
        f"cc-{TRACE}-{SPAN}-01-",
        f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like",
    ],
)
def test_nfr_003_a_valid_header_gives_its_trace_id(value: str) -> None:
    assert read_trace_id([value]) == TRACE


@pytest.mark.parametrize(
    "values",
    [
        [],
        [""],
        [GOOD, GOOD],  # several headers
        [f"{GOOD}, {GOOD}"],  # several, joined by a proxy
        [f"ff-{TRACE}-{SPAN}-01"],  # the version that is forbidden
        [f"00-{'0' * 32}-{SPAN}-01"],
        [f"00-{TRACE}-{'0' * 16}-01"],
        [f"00-{TRACE.upper()}-{SPAN}-01"],
        [f"0X-{TRACE}-{SPAN}-01"],
        [f"00-{TRACE}-{SPAN}-0g"],
        [f"00-{TRACE}-{SPAN}"],
        [f"00-{TRACE}-{SPAN}-01-more"],  # version 00 has nothing behind the flags
        [f"00-{TRACE}-{SPAN}-01-"],
        [f"cc-{TRACE}-{SPAN}-01.more"],
        [f"cc-{TRACE}-{SPAN}-010"],
        [f"00-{TRACE[:-1]}-{SPAN}-01"],
        [f"00_{TRACE}_{SPAN}_01"],
        [f" {GOOD}"],
        [f"{GOOD}\n"],
        [f"00-{'٣' * 32}-{SPAN}-01"],  # digits, but not those of ASCII
    ],
)
def test_nfr_003_an_invalid_header_counts_as_absent(values: list[str]) -> None:
    assert read_trace_id(values) is None


@given(st.lists(st.text(max_size=70), max_size=3))
def test_any_text_is_read_without_an_error(values: list[str]) -> None:
    found = read_trace_id(values)
    assert found is None or re.fullmatch(r"[0-9a-f]{32}", found)


@given(digits(32), digits(16))
def test_what_is_written_is_read_back(trace_id: str, span_id: str) -> None:
    written = write_traceparent(trace_id, span_id)
    assert written == f"00-{trace_id}-{span_id}-01"
    assert read_trace_id([written]) == trace_id


@given(st.text(), digits(16))
def test_every_trace_id_can_be_passed_on(text: str, span_id: str) -> None:
    trace_id = read_trace_id([write_traceparent(text, span_id)])
    assert trace_id == to_trace_id(text)


def test_another_trace_id_becomes_its_digest() -> None:
    """As `printf please-run | sha256sum | cut -c1-32` says."""
    digest = hashlib.sha256(b"please-run").hexdigest()[:32]
    assert to_trace_id("please-run") == digest == "ef0bfb86dae2cce67522f676c89c1a10"
    assert to_trace_id("0" * 32) != "0" * 32
    assert to_trace_id(TRACE.upper()) != TRACE
