"""Answers to reads are compressed for clients that take gzip, and for nobody else."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import orjson
import pytest

from api.compression import IN_THREAD_BYTES, MIN_BYTES
from tests.api.harness import draft

if TYPE_CHECKING:
    from tests.api.harness import Answer, Harness

HEALTH = "/workspaces/north/health"


async def ask(harness: Harness, path: str, accepted: str | None, method: str = "GET") -> Answer:
    headers = {} if accepted is None else {"Accept-Encoding": accepted}
    return await harness.ask(method, path, headers=headers)


def is_gzip(answer: Answer) -> bool:
    """Return whether the answer is compressed. It must say so."""
    said = answer.headers.get("content-encoding")
    assert said in {None, "gzip"}
    assert answer.body.startswith(b"\x1f\x8b") is (said == "gzip")
    return said == "gzip"


@pytest.mark.parametrize(
    ("accepted", "expected"),
    [
        ("gzip", True),
        ("gzip, deflate, br, zstd", True),
        ("br;q=1.0, GZIP;q=0.8, *;q=0.1", True),
        ("*", True),
        ("identity;q=0.5, gzip;q=0.5", True),
        ("gzip;q=0.001", True),
        ("identity;q=0, gzip", True),
        (None, False),
        ("", False),
        ("identity", False),
        ("br", False),
        ("gzip;q=0", False),
        ("gzip;q=0, *", False),
        ("*;q=0", False),
        ("identity, gzip;q=0.5", False),
        ("identity;q=0", False),
        ("gzip;q=many", False),
        (";;,=", False),
        ("gzipped", False),
    ],
)
async def test_gzip_is_sent_to_those_who_prefer_it(
    harness: Harness, accepted: str | None, *, expected: bool
) -> None:
    answer = await ask(harness, HEALTH, accepted)
    assert (answer.status, is_gzip(answer)) == (200, expected)
    assert "accept-encoding" in answer.headers["vary"].lower()


async def test_a_compressed_answer_says_the_same(harness: Harness) -> None:
    many = [draft(f"d-{index:04}") for index in range(400)]
    await harness.stores.registry.put_devices("north", many)
    for path in (f"{HEALTH}?limit=500", f"{HEALTH}?format=csv", "/workspaces/north/devices"):
        plain, packed = await ask(harness, path, None), await ask(harness, path, "gzip")
        assert is_gzip(packed)
        assert gzip.decompress(packed.body) == plain.body
        assert packed.headers["content-type"] == plain.headers["content-type"]
        assert len(packed.body) < len(plain.body) / 4
        assert plain.headers["vary"] == packed.headers["vary"]
    assert len((await ask(harness, f"{HEALTH}?limit=500", None)).body) > IN_THREAD_BYTES


async def test_small_answers_stay_as_they_are(harness: Harness) -> None:
    small = await ask(harness, "/workspaces?limit=1", "gzip")
    assert (len(small.body) < MIN_BYTES, is_gzip(small)) == (True, False)


async def test_answers_with_a_strong_tag_stay_as_they_are(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.compression.MIN_BYTES", 10)
    device = await ask(harness, "/workspaces/north/devices/bus-1", "gzip")
    assert (is_gzip(device), device.headers["etag"]) == (False, '"1"')
    assert is_gzip(await ask(harness, "/workspaces?limit=1", "gzip"))


async def test_answers_to_writes_are_never_compressed(harness: Harness) -> None:
    updates = [{"workspace_id": "north", "provider_id": "live", "device_id": "x", "readings": []}]
    answer = await harness.ask(
        "POST", "/ingest", json={"updates": updates * 50}, headers={"Accept-Encoding": "gzip"}
    )
    assert len(answer.body) > MIN_BYTES
    assert not is_gzip(answer)


async def test_a_refused_read_is_compressed_like_any_answer(harness: Harness) -> None:
    query = "&".join(f"unknown_{number}=1" for number in range(40))
    answer = await ask(harness, f"{HEALTH}?{query}", "gzip")
    assert (answer.status, is_gzip(answer)) == (400, True)
    assert orjson.loads(gzip.decompress(answer.body))["status"] == 400


async def test_lists_that_may_be_csv_vary_by_accept_too(harness: Harness) -> None:
    for path in (HEALTH, "/workspaces/north/devices", "/workspaces/north/issues", "/worklist"):
        answer = await ask(harness, path, None)
        assert "accept" in [name.strip() for name in answer.headers["vary"].lower().split(",")]
