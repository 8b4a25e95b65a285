"""Pages of a list, asked from shards whose DSNs differ in text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from storage.cursor_key import load_cursor_key
from tests.processes.fleets import make_key
from tests.processes.shard import PREFIX, open_shard

if TYPE_CHECKING:
    from storage.gateway import Database
    from tests.conftest import Stores

pytestmark = [pytest.mark.processes, pytest.mark.postgres]


async def test_a_page_begun_on_one_shard_goes_on_at_another(
    dsn: str, database: Database, postgres_stores: Stores
) -> None:
    key = await make_key(postgres_stores)
    other_dsn = f"{dsn}{'&' if '?' in dsn else '?'}application_name=other"
    async with (
        open_shard(dsn, key) as first,
        open_shard(other_dsn, key, shard_id="shard-2") as second,
    ):
        for workspace_id in ("harbour", "island"):
            body = {"name": workspace_id}
            made = await first.client.put(f"{PREFIX}/workspaces/{workspace_id}", json=body)
            assert made.status_code == 201, made.text
        page = (await first.get(f"{PREFIX}/workspaces?limit=1")).json()
        following = await second.get(f"{PREFIX}/workspaces?limit=1&cursor={page['next_cursor']}")
        said = [child.out + child.errors for child in (first.child, second.child)]
    assert following.status_code == 200, following.text
    assert [row["workspace_id"] for row in (*page["items"], *following.json()["items"])] == [
        "harbour",
        "island",
    ]
    cursor_key = await load_cursor_key(database)
    assert [text for text in said if cursor_key.hex() in text or repr(cursor_key) in text] == []
