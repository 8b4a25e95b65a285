"""A stream and a state endpoint with data that cannot be read: only its vehicle is refused."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from tests.acceptance.harness import QUICK, eventually, open_harness
from tests.acceptance.loose_vendor import Fleet, LooseVendor, Text, now_ms, open_loose_vendor
from tests.acceptance.shard import said

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from tests.acceptance.harness import Harness


def frame(vid: str, time: str = "%d", value: str = "61.5", rest: bytes = b"") -> bytes:
    """One frame; `%d` in the time stands for now."""
    point = f'"vid":"{vid}","label":"soc","time":{time.replace("%d", str(now_ms()))}'
    return b'{"type":"vehicles","payload":{%b,"value":%b%b}}' % (
        point.encode(),
        value.encode(),
        rest,
    )


def future() -> bytes:
    return frame("bus_1", str(now_ms(ahead_seconds=3600)))


GOOD = partial(frame, "bus_2")
EXPECTED = {
    "bus_1": ("configured-no-data", "updates_rejected"),
    "bus_2": ("healthy", "reporting"),
}

# Of each fleet, bus_1 sends what cannot be taken, and bus_2 is well.
FLEETS: dict[str, tuple[Text, str]] = {
    "time-in-words": (partial(frame, "bus_1", '"now"'), "malformed"),
    "time-without-zone": (partial(frame, "bus_1", '"2026-03-01T12:00:00"'), "malformed"),
    "comma-of-two-meanings": (partial(frame, "bus_1", value='"1,234"'), "malformed"),
    "truth-value": (partial(frame, "bus_1", value="true"), "malformed"),
    "not-a-number": (partial(frame, "bus_1", value="NaN"), "malformed"),
    "beyond-numbers": (partial(frame, "bus_1", value="1e400"), "malformed"),
    "half-a-pair": (partial(frame, "bus_1", rest=b',"name":"\\ud800"'), "malformed"),
    "latin-1": (partial(frame, "bus_1", rest=b',"name":"M\xfcller"'), "malformed"),
    "clock-ahead": (future, "future_timestamp"),
    "out-of-range": (partial(frame, "bus_1", value="461"), "invalid"),
}


async def test_what_one_vehicle_sends_costs_that_vehicle_only(dsn: str, tmp_path: Path) -> None:
    fleets = {
        slug: Fleet([bad, GOOD], lambda: b'{"bus_1":{},"bus_2":{}}')
        for slug, (bad, _) in FLEETS.items()
    }
    async with open_loose_vendor(fleets) as vendor, open_harness(dsn, tmp_path) as harness:
        for slug in FLEETS:
            await add_fleet(harness, vendor, slug)
        await eventually(
            lambda: verdicts(harness),
            dict.fromkeys(FLEETS, EXPECTED),
        )
        told = {slug: await ledger(harness, slug) for slug in FLEETS}
    assert told == {slug: {("bus_1", reason)} for slug, (_, reason) in FLEETS.items()}
    assert vendor.opened == dict.fromkeys(FLEETS, 1)  # no frame cost the connection


async def test_a_clock_ahead_is_one_verdict_on_every_path(dsn: str, tmp_path: Path) -> None:
    """The stream, the state endpoint, an envelope, and /ingest."""

    def state() -> bytes:
        return b'{"bus_1":{"soc":{"time":%d,"value":61.5}}}' % now_ms(ahead_seconds=3600)

    fleets = {
        "stream": Fleet([future]),
        "state": Fleet(state=state),
        "envelope": Fleet(),
        "ingest": Fleet(),
    }
    async with open_loose_vendor(fleets) as vendor, open_harness(dsn, tmp_path) as harness:
        for slug in fleets:
            await add_fleet(harness, vendor, slug)

        async def shown() -> dict[str, tuple[tuple[str, str], set[tuple[str, str]]]]:
            await forward(harness, "envelope", future())
            await harness.shard.ingest(ahead(await harness.now()))
            return {
                slug: (
                    (await harness.shard.verdicts(slug))["bus_1"],
                    await ledger(harness, slug),
                )
                for slug in fleets
            }

        verdict = (EXPECTED["bus_1"], {("bus_1", "future_timestamp")})
        await eventually(shown, dict.fromkeys(fleets, verdict))


async def test_a_forwarded_frame_is_held_against_its_vehicle(dsn: str, tmp_path: Path) -> None:
    timeout = b'{"bus_1":{"error":{"code":504}},"bus_2":{"soc":{"time":%d,"value":60.0}}}'
    async with (
        open_loose_vendor({"pushed": Fleet()}) as vendor,
        open_harness(dsn, tmp_path) as harness,
    ):
        await add_fleet(harness, vendor, "pushed")
        results = [
            await forward(harness, "pushed", message)
            for message in (
                frame("bus_1", '"now"'),
                frame("bus_1", value="NaN"),
                frame("bus_1", rest=b',"name":"\\ud800"'),
                frame("bus_2", '"%d"', '"61.5"'),
                timeout % now_ms(ahead_seconds=1),
            )
        ]
        told = await ledger(harness, "pushed")
        state = "SELECT device_id FROM device_state WHERE last_rejection_reason = 'malformed'"
        held_against = [row["device_id"] for row in await harness.fetch(state)]
    assert results == [
        ["rejected:malformed"],
        ["rejected:malformed"],
        ["rejected:malformed"],
        ["accepted"],
        ["accepted", "rejected:malformed"],
    ]
    assert told == {("bus_1", "malformed")}
    assert held_against == ["bus_1"]


async def test_types_that_can_mean_one_thing_are_taken(dsn: str, tmp_path: Path) -> None:
    loose: list[Text] = [
        partial(frame, "bus_1", '"%d"', '"61.5"'),
        lambda: frame("bus_2", str(now_ms() / 1000), '"61,25"'),
    ]
    async with (
        open_loose_vendor({"loose": Fleet(loose)}) as vendor,
        open_harness(dsn, tmp_path) as harness,
    ):
        await add_fleet(harness, vendor, "loose")
        expected = {"bus_1": {"soc_percent": 61.5}, "bus_2": {"soc_percent": 61.25}}
        await eventually(lambda: values(harness, "loose"), expected)
        assert await ledger(harness, "loose") == set()


async def test_an_error_for_a_vehicle_is_no_answer_about_it(dsn: str, tmp_path: Path) -> None:
    def state() -> bytes:
        error = b'{"error":{"code":504,"message":"upstream timeout"}}'
        return b'{"bus_1":%b,"bus_2":{"soc":{"time":%d,"value":60.0}}}' % (error, now_ms())

    async with (
        open_loose_vendor({"erring": Fleet(state=state)}) as vendor,
        open_harness(dsn, tmp_path) as harness,
    ):
        await add_fleet(harness, vendor, "erring")
        await eventually(lambda: answered(harness, "erring"), {"bus_1": False, "bus_2": True})
        await eventually(lambda: ledger(harness, "erring"), {("bus_1", "malformed")})
        items = {item["device_id"]: item for item in await health(harness, "erring")}
    assert items["bus_2"]["reason"] == "reporting"
    assert items["bus_1"]["reason"] not in ("device_silent", "never_reported", "updates_rejected")


def ahead(now: datetime) -> dict[str, Any]:
    observed_at = (now + timedelta(hours=1)).isoformat()
    reading = {"signal": "soc_percent", "value": 61.5, "observed_at": observed_at}
    return {
        "workspace_id": "ingest",
        "provider_id": "viriciti",
        "external_id": "bus_1",
        "readings": [reading],
    }


async def forward(harness: Harness, slug: str, message: bytes) -> list[str]:
    envelope = {
        "workspaceId": slug,
        "providerType": "viriciti",
        "providerId": "viriciti",
        "receivedAt": "2026-05-01T09:00:00Z",
        "rawMessage": message.decode(),
    }
    answer = await harness.shard.post("/provider-ingest", envelope)
    return [said(result) for result in answer["results"]]


async def add_fleet(harness: Harness, vendor: LooseVendor, slug: str) -> None:
    secret = harness.folder / f"{slug}.secret"
    secret.write_text("a-key")
    shard = harness.shard
    await shard.add_workspace(slug, interval=2, thresholds=QUICK, active=False)
    await shard.add_provider(
        slug,
        "viriciti",
        provider_type="viriciti",
        transport="stream",
        base_url=f"{vendor.url}/{slug}",
        credential=f"file:{secret}",
    )
    await shard.add_devices(slug, "viriciti", ["bus_1", "bus_2"])
    await shard.add_workspace(slug, interval=2, thresholds=QUICK)


async def verdicts(harness: Harness) -> dict[str, dict[str, tuple[str, str]]]:
    return {slug: await harness.shard.verdicts(slug) for slug in FLEETS}


async def health(harness: Harness, slug: str) -> list[Any]:
    items: list[Any] = (await harness.shard.health(slug))["items"]
    return items


async def answered(harness: Harness, slug: str) -> dict[str, bool]:
    return {
        item["device_id"]: item["evidence"]["provider_answered_at"] is not None
        for item in await health(harness, slug)
    }


async def ledger(harness: Harness, slug: str) -> set[tuple[str, str]]:
    """Return external id and reason of each row that has one.

    A row without one counts what was overtaken: two state calls may be committed in any order.
    """
    rows = await harness.shard.rejections(slug)
    return {(row["external_id"], row["reason"]) for row in rows if row["reason"] is not None}


async def values(harness: Harness, slug: str) -> dict[str, dict[str, float]]:
    return {
        device_id: {
            signal: value
            for signal, (value, _) in (await harness.shard.values(slug, device_id)).items()
        }
        for device_id in ("bus_1", "bus_2")
    }
