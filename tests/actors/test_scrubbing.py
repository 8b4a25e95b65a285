"""What a provider brings passes the scrubber on its way in, whatever the provider does."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
import trio

from actors.scrubbing import ScrubbedPoller, ScrubbedStreamer
from domain.model import MAX_SAMPLE_BYTES, FaultClass, Reading
from ports.providers import BadRecord, ProviderFault, Sample
from runtime.scrubbing import Scrubber
from tests.actors.harness import LIVE, streamed
from tests.actors.instants import at
from tests.actors.polling import ScriptedPoller, page
from tests.actors.scripted import ScriptedStreamer, frame, outage

if TYPE_CHECKING:
    from trio.testing import MockClock

    from tests.actors.harness import Harness, Shard

SECRET = "s3cret-of-the-fleet"


def _poller(*script: Any) -> ScrubbedPoller:
    return ScrubbedPoller(ScriptedPoller(*script), Scrubber(SECRET))


async def test_a_fault_of_a_poll_holds_no_secret() -> None:
    with pytest.raises(ProviderFault, match=r"^no such path: /\[redacted\]/x$") as caught:
        await _poller(
            ProviderFault(FaultClass.QUOTA, f"no such path: /{SECRET}/x", retry_after=3.0)
        ).fetch([], None, None)
    assert (caught.value.fault, caught.value.retry_after) == (FaultClass.QUOTA, 3.0)


async def test_names_texts_and_samples_of_a_page_hold_no_secret() -> None:
    readings = (Reading("charging_status", SECRET, at(0)), Reading("soc_percent", 5.0, at(0)))
    long = b"x" * (MAX_SAMPLE_BYTES - 5)
    records = (
        BadRecord("x-bus-1", f"of {SECRET}", long + SECRET.encode()),
        BadRecord(SECRET, "no time", SECRET.encode()),
    )
    fetched = await _poller(
        page(
            Sample("x-bus-1", readings),
            Sample(SECRET, readings),
            malformed=records,
            malformed_count=2,
            errors={SECRET: SECRET},
            next_page=SECRET,
        )
    ).fetch(["x-bus-1"], None, None)
    scrubbed = (Reading("charging_status", "[redacted]", at(0)), readings[1])
    assert fetched.samples == (Sample("x-bus-1", scrubbed), Sample("[redacted]", scrubbed))
    assert fetched.malformed == (
        BadRecord("x-bus-1", "of [redacted]", long + b"[reda"),
        BadRecord("[redacted]", "no time", b"[redacted]"),
    )
    assert fetched.errors == {"[redacted]": "[redacted]"}
    assert (fetched.malformed_count, fetched.next_page) == (
        2,
        SECRET,
    )  # a token goes back as it came, and nowhere else


@pytest.mark.parametrize(("cursor", "kept"), [("c-1", "c-1"), (f"c-{SECRET}", None), (None, None)])
async def test_a_cursor_that_holds_the_secret_is_not_kept(
    cursor: str | None, kept: str | None
) -> None:
    assert (await _poller(page(cursor=cursor)).fetch([], None, None)).cursor == kept


async def test_faults_of_a_stream_hold_no_secret_also_in_a_group() -> None:
    streamer = ScrubbedStreamer(ScriptedStreamer(outage(f"refused: {SECRET}")), Scrubber(SECRET))
    with pytest.raises(ProviderFault, match=r"^refused: \[redacted\]$"):
        async with streamer.connect():
            pass

    async def fail() -> None:
        raise outage(f"closed: {SECRET}")

    with pytest.RaisesGroup(pytest.RaisesExc(ProviderFault, match=r"^closed: \[redacted\]$")):
        async with streamer.connect(), trio.open_nursery() as nursery:
            nursery.start_soon(fail)


async def test_refused_frames_and_strangers_of_a_stream_hold_no_secret(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    streamer = shard.provider.streamers[LIVE] = ScriptedStreamer()
    await harness.store.put_provider(replace(streamed(), credential="env:LIVE"))
    view = await shard.view()
    nursery.start_soon(shard.ingest.run)
    nursery.start_soon(shard.stream(view).run)
    socket = await streamer.wait_connected()
    echo = quote("the secret of env:LIVE")
    socket.say(
        frame(echo, 0, soc_percent=1), frame(echo, 1e6, soc_percent=1)
    )  # a stranger; in the future
    await trio.sleep(10)
    rows = await harness.store.list_rejections(view.workspace_id, before=None, reason=None, limit=9)
    assert {(row.reason, row.external_id) for row in rows} == {
        ("unknown_device", "x-[redacted]"),
        ("future_timestamp", "x-[redacted]"),
    }
    assert all(b"[redacted]" in (row.sample or b"") for row in rows)
    assert echo not in repr(rows)
