"""The way of a frame and the round trips of requests, as `make figures` prints them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.processes.passage import find_passage
from tests.processes.traced import drop_unknown_settings, settings_source

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.processes
async def test_a_frame_passes_from_its_socket_to_the_log_of_its_commit(empty_dsn: str) -> None:
    passage = await find_passage(empty_dsn, ROOT, frames=3)
    way = [
        "providers/viriciti/wire.py",
        "actors/ingest.py",
        "storage/ingest.py",
        "actors/records.py",
    ]
    assert [name for name in passage.files if name in way] == way
    # More than tests/api/test_round_trips.py allows would be another path than the one it counts.
    assert passage.round_trips == {"a health request": 2, "a page of snapshots": 3}


def test_settings_that_a_checkout_lacks_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LASTHEARD_DSN", "LASTHEARD_PROBE_PORT", "LASTHEARD_SECRET_A"):
        monkeypatch.setenv(name, "x")
    drop_unknown_settings("    dsn: str\n    http_port: int\n")
    left = {name for name in os.environ if name.startswith("LASTHEARD_")}
    assert left >= {"LASTHEARD_DSN", "LASTHEARD_SECRET_A"}
    assert "LASTHEARD_PROBE_PORT" not in left


def test_this_checkout_knows_the_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without them the service would take its usual ports, which another may have."""
    ports = ("LASTHEARD_HTTP_PORT", "LASTHEARD_PROBE_PORT")
    for name in ports:
        monkeypatch.setenv(name, "0")
    drop_unknown_settings(settings_source(ROOT))
    assert [os.environ.get(name) for name in ports] == ["0", "0"]
