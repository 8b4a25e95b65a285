"""Readers share a load, and a shard makes a bounded number of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from legacy.client import MAX_LOADS
from ports.legacy import LegacyUnreachable
from tests.legacy.clients import (
    answer_well,
    client_of,
    configured,
    unreachable,
)
from tests.legacy.shapes import without
from tests.legacy.test_mapping import VIEW
from tests.providers.servers import Asked, Reply, http_server

if TYPE_CHECKING:
    from legacy.client import LegacyClient


class _Gate:
    """A server that answers when it is told to, and counts."""

    def __init__(self) -> None:
        self.may_answer = trio.Event()
        self.asked = 0
        self.waiting = 0
        self.peak = 0

    async def answer(self, asked: Asked) -> Reply:
        self.asked += 1
        self.waiting += 1
        self.peak = max(self.peak, self.waiting)
        await self.may_answer.wait()
        self.waiting -= 1
        return answer_well(asked)

    async def wait_until_asked(self, times: int) -> None:
        with trio.fail_after(10):
            while self.asked < times:  # noqa: ASYNC110 - another task counts
                await trio.sleep(0.01)


async def test_readers_of_one_workspace_share_a_load() -> None:
    gate, found = _Gate(), list[Any]()

    async with http_server(gate.answer) as base, client_of(deadline_seconds=10) as client:
        configuration = configured(base)

        async def read() -> None:
            found.append(await client.load_values("north", configuration))

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(read)
            await gate.wait_until_asked(1)
            await trio.testing.wait_all_tasks_blocked()
            gate.may_answer.set()
        assert (gate.asked, len(found)) == (1, 20)
        assert all(one is found[0] for one in found)
        assert client.statistics().shared == 19
        await client.load_values("north", configuration)
    assert gate.asked == 2  # the result is not kept


async def test_other_workspaces_kinds_and_shapes_do_not_share() -> None:
    gate = _Gate()
    async with http_server(gate.answer) as base, client_of(deadline_seconds=10) as client:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.load_values, "north", configured(base))
            nursery.start_soon(client.load_values, "south", configured(base))
            nursery.start_soon(client.load_registry, "north", configured(base))
            nursery.start_soon(client.load_values, "north", configured(base, credential=None))
            nursery.start_soon(client.load_values, "north", configured(base, without("/registry")))
            await gate.wait_until_asked(5)
            gate.may_answer.set()
        assert client.statistics().shared == 0


async def test_a_cancelled_first_reader_fails_nobody() -> None:
    gate, found = _Gate(), list[Any]()

    async with http_server(gate.answer) as base, client_of(deadline_seconds=10) as client:
        first = trio.CancelScope()

        async def read(scope: trio.CancelScope) -> None:
            with scope:
                found.append(await client.load_values("north", configured(base)))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read, first)
            await gate.wait_until_asked(1)
            for _ in range(5):
                nursery.start_soon(read, trio.CancelScope())
            await trio.testing.wait_all_tasks_blocked()
            first.cancel()
            await trio.testing.wait_all_tasks_blocked()
            gate.may_answer.set()
    assert first.cancelled_caught
    assert (gate.asked, len(found)) == (1, 5)


async def test_a_load_without_readers_is_given_up() -> None:
    gate = _Gate()
    async with http_server(gate.answer) as base, client_of(deadline_seconds=60) as client:
        with trio.move_on_after(0.5):
            await client.load_values("north", configured(base))
        with trio.fail_after(5):
            while client.statistics().in_flight:  # noqa: ASYNC110 - another task counts
                await trio.sleep(0.01)
        gate.may_answer.set()
        values = await client.load_values("north", configured(base))
    assert values.views == {"bus-1": VIEW}


async def test_readers_share_a_fault_too() -> None:
    gate, faults = _Gate(), list[str]()

    async def fail(asked: Asked) -> Reply:
        await gate.answer(asked)
        return Reply(503)

    async with http_server(fail) as base, client_of(deadline_seconds=10) as client:

        async def read() -> None:
            faults.append(await unreachable(client, configured(base)))

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(read)
            await gate.wait_until_asked(1)
            await trio.testing.wait_all_tasks_blocked()
            gate.may_answer.set()
    assert (gate.asked, len(faults), len(set(faults))) == (1, 3, 1)


async def test_readers_of_a_client_that_closes_get_a_fault() -> None:
    gate, faults = _Gate(), list[str]()

    async def read(client: LegacyClient, base: str) -> None:
        faults.append(await unreachable(client, configured(base)))

    async with http_server(gate.answer) as base, trio.open_nursery() as nursery:
        async with client_of(deadline_seconds=60) as client:
            nursery.start_soon(read, client, base)
            await gate.wait_until_asked(1)
        with trio.fail_after(10):
            while not faults:  # noqa: ASYNC110 - another task appends
                await trio.sleep(0.01)
    assert faults == ["the legacy client is closing"]


async def test_an_error_within_the_block_comes_out_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError):
        async with client_of():
            raise ZeroDivisionError


async def test_at_most_eight_loads_are_in_flight() -> None:
    gate = _Gate()
    async with (
        http_server(gate.answer) as base,
        client_of(deadline_seconds=30) as client,
        trio.open_nursery() as nursery,
    ):
        for number in range(20):
            nursery.start_soon(client.load_values, f"fleet-{number}", configured(base))
        await gate.wait_until_asked(MAX_LOADS)
        await trio.sleep(0.3)  # a ninth would be there by now
        statistics = client.statistics()
        gate.may_answer.set()
    assert (gate.peak, gate.asked) == (8, 20)
    assert (statistics.in_flight, statistics.waiting, statistics.max_loads) == (8, 12, 8)


async def test_the_wait_for_a_turn_counts_into_the_deadline() -> None:
    """One after the other, the five would take five seconds."""
    gate, texts = _Gate(), list[str]()
    async with http_server(gate.answer) as base, client_of(deadline_seconds=1, max_loads=1) as one:

        async def read(workspace_id: str) -> None:
            with pytest.raises(LegacyUnreachable) as caught:
                await one.load_values(workspace_id, configured(base))
            texts.append(str(caught.value))

        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(read, f"fleet-{number}")
        took = trio.current_time() - began
    assert took < 3
    assert len(texts) == 5
    assert all("within 1 s" in text for text in texts)
