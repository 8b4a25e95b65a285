"""A fleet goes out of a running service as CSV, and comes back as a spreadsheet saves it."""

from __future__ import annotations

import csv
import gzip
import io
from typing import TYPE_CHECKING

from tests.acceptance.harness import open_harness

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.shard import Shard

BUSES = tuple(f"bus-{number}" for number in range(40))


def rows_of(raw: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(raw.decode("utf-8-sig"), newline="")))


async def export(shard: Shard, path: str) -> bytes:
    """Return a list as CSV. The client takes gzip and unpacks it, as most clients do."""
    answer = await shard.ask("GET", path, headers={"Accept": "text/csv"})
    assert (answer.status, answer.headers["content-encoding"]) == (200, "gzip")
    return answer.body


async def test_a_fleet_goes_through_a_spreadsheet(dsn: str, tmp_path: Path) -> None:
    async with open_harness(dsn, tmp_path) as harness:
        shard = harness.shard
        await shard.add_pushed_fleet("harbour", BUSES)
        devices = await export(shard, "/workspaces/harbour/devices")
        saved = b"\xef\xbb\xbf" + devices.replace(b",", b";").replace(b"Bus bus-7", b"=Bus 7")
        headers = {"Content-Type": "text/csv"}
        path = "/workspaces/harbour/devices/import"
        answer = await shard.ask("POST", path, content=saved, headers=headers)
        assert answer.json == {"devices": 40, "created": 0, "updated": 40, "swapped": 0}
        broken = await shard.ask("POST", path, content=saved + b"bus 41;;;;;;;;\n", headers=headers)
        again = await export(shard, "/workspaces/harbour/devices")
        health = await export(shard, "/workspaces/harbour/health")
    assert {fault["row"] for fault in broken.json["errors"]} == {42}
    assert broken.status == 422
    assert rows_of(again) == rows_of(devices.replace(b"Bus bus-7", b"'=Bus 7"))
    assert [row["device_id"] for row in rows_of(health)] == sorted(BUSES)


async def test_a_compressed_answer_has_the_length_it_says(dsn: str, tmp_path: Path) -> None:
    async with open_harness(dsn, tmp_path) as harness:
        shard = harness.shard
        await shard.add_pushed_fleet("harbour", BUSES)
        path = "/api/telematics-mvp/workspaces/harbour/devices"
        key = {"Authorization": f"Bearer {shard.tokens['all']}"}
        found = {}
        for taken in ("gzip", "identity", "gzip"):  # over one connection
            headers = key | {"Accept-Encoding": taken}
            async with shard.client.stream("GET", path, headers=headers) as answer:
                raw = b"".join([piece async for piece in answer.aiter_raw()])
            assert int(answer.headers["content-length"]) == len(raw)
            found[taken] = raw
    assert gzip.decompress(found["gzip"]) == found["identity"]
    assert len(found["gzip"]) < len(found["identity"]) / 4
