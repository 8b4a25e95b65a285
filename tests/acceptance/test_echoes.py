"""A vendor repeats the credential in its answers. It shows up nowhere in the service."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import orjson

from tests.acceptance.echoes import BUS, ENCODINGS, VIN, Vendor, open_vendor, parts_of
from tests.acceptance.harness import Harness, open_harness, until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.acceptance.conftest import Logbook

# By provider_id: type, transport, side of the vendor, settings, and vehicle.
CONNECTIONS = {
    "maker": ("rfms", "poll", "http_url", {"auth": "basic"}, VIN),
    "silent": ("viriciti", "stream", "http_url", {}, BUS),
    "loud": ("viriciti", "stream", "stream_url", {}, "bus_0002"),
}


async def test_an_echoing_vendor_gives_no_secret_away(
    dsn: str, tmp_path: Path, logbook: Logbook
) -> None:
    """Covers nine encodings, polls, streams (refused and open), state calls, and cut secrets."""
    pairs = {
        slug: f"fleet:{secrets.token_hex(6)}/-{secrets.token_urlsafe(15)}+%7e~"
        for slug in ENCODINGS
    }
    async with open_vendor(pairs) as vendor, open_harness(dsn, tmp_path, seconds=120.0) as harness:
        for slug, pair in pairs.items():
            await _configure(harness, vendor, slug, pair)
        await until(lambda: _is_done(vendor, pairs), within=90.0)
        for slug in pairs:
            await until(lambda slug=slug: _is_in_the_ledger(harness, slug))  # type: ignore[misc]
        seen = [*await _stored(harness), *await _answered(harness, pairs), *_logged(logbook)]
        kinds = {row["reason"] for slug in pairs for row in await harness.shard.rejections(slug)}
    assert kinds >= {"invalid", "unknown_device", "future_timestamp"}
    everything = "\n".join(seen)
    assert "[redacted]" in everything
    assert "answered 403" in everything
    assert [
        (slug, part)
        for slug, pair in pairs.items()
        for part in _forms(slug, pair)
        if part in everything
    ] == []


def _forms(slug: str, pair: str) -> set[str]:
    """Return the parts of the encoded and of the plain password. The user's name is no secret."""
    _, _, password = pair.partition(":")
    return parts_of(ENCODINGS[slug](pair)[-24:]) | parts_of(password)


async def _configure(harness: Harness, vendor: Vendor, slug: str, pair: str) -> None:
    secret = harness.folder / f"{slug}.secret"
    secret.write_text(pair)
    shard = harness.shard
    await shard.add_workspace(slug, interval=2, active=False)
    for provider_id, (kind, transport, side, settings, vehicle) in CONNECTIONS.items():
        await shard.add_provider(
            slug,
            provider_id,
            provider_type=kind,
            transport=transport,
            base_url=f"{getattr(vendor, side)}/{slug}",
            credential=f"file:{secret}",
            settings=settings,
        )
        await shard.add_devices(slug, provider_id, [vehicle])
    await shard.add_workspace(slug, interval=2)


async def _is_done(vendor: Vendor, pairs: Mapping[str, str]) -> bool:
    return vendor.has_shown_everything(pairs)


async def _is_in_the_ledger(harness: Harness, slug: str) -> bool:
    rows = await harness.shard.rejections(slug)
    return {row["provider_id"] for row in rows} == CONNECTIONS.keys()


async def _stored(harness: Harness) -> list[str]:
    """Return every text of every table."""
    tables = await harness.fetch(
        "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
    )
    rows = [
        row
        for table in tables
        for row in await harness.fetch(f'SELECT * FROM "{table["tablename"]}"')
    ]
    return [text for row in rows for text in _texts(row)]


async def _answered(harness: Harness, slugs: Mapping[str, str]) -> list[str]:
    """Return every text that the API answers about these workspaces and the process."""
    lists = ("health", "issues", "rejections", "cycles", "snapshots", "providers")
    paths = [f"/workspaces/{slug}/{what}" for slug in slugs for what in lists]
    answers = [await harness.shard.get(path, limit=500) for path in paths]
    return [
        text
        for answer in [*answers, await harness.shard.get("/runtime")]
        for text in _texts(answer)
    ]


def _logged(logbook: Logbook) -> list[str]:
    return [text for line in logbook.lines() for text in _texts(line)]


def _texts(value: Any) -> Iterator[str]:
    match value:
        case dict():
            for name, item in value.items():
                yield str(name)
                yield from _texts(item)
        case list() | tuple():
            for item in value:
                yield from _texts(item)
        case bytes():
            yield value.decode("latin-1")
        case str() if value.startswith(("{", "[")):  # jsonb as the driver gives it
            yield value
            try:
                yield from _texts(orjson.loads(value))
            except orjson.JSONDecodeError:
                return
        case _:
            yield str(value)
