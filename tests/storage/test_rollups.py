"""Counted hours as they are stored, and buckets as PostgreSQL finds them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from domain.indicators import BOUNDS, Refused, bucket_of, count_lag, count_refused
from storage.rollups import dump_counts

if TYPE_CHECKING:
    from storage.gateway import Connection, Database


def test_equal_counts_are_stored_as_the_same_text() -> None:
    parts = [
        count_refused(Refused("rejected", "invalid", None, 2)),
        count_lag("observed_committed", 45, 7),
        Counter({"slots": 1, "samples": 0}),
    ]
    texts = {dump_counts(sum(order, Counter())) for order in (parts, parts[::-1])}
    assert texts == {'{"lag observed_committed 45":7,"refused rejected invalid -":2,"slots":1}'}


async def test_postgresql_finds_the_buckets_of_the_rule(database: Database) -> None:
    values = [-1.0, 0.0, 1e12, *BOUNDS, *(bound * 0.9999999 for bound in BOUNDS)]

    async def work(connection: Connection) -> list[int]:
        rows = await connection.fetch(
            "SELECT width_bucket(v, $2::float8[]) FROM unnest($1::float8[]) WITH ORDINALITY"
            " AS i (v, place) ORDER BY place",
            values,
            list(BOUNDS),
        )
        return [row[0] for row in rows]

    assert await database.run(work) == list(map(bucket_of, values))
