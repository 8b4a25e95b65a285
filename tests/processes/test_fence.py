"""`make fence` in short: three shards with several writers, taken over while they write."""

from __future__ import annotations

import pytest

from benchmarks.fence import judge
from benchmarks.place import open_place
from storage.gateway import open_bridge

pytestmark = [pytest.mark.cluster, pytest.mark.processes, pytest.mark.postgres]


@pytest.mark.timeout(300)
async def test_takeovers_with_several_writers_leave_history_whole() -> None:
    async with open_bridge(), open_place() as place:
        lines = await judge(place, updates=30_000, takeovers=4)
    assert [str(line) for line in lines if not line.holds] == []
    assert len(lines) == 10
