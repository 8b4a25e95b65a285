"""Notices: every change that another shard should look at sends one, and no other command does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from tests.storage.contract.cast import HARBOUR, HARBOUR_LEASE, ISLAND, connection

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.storage.contract.cast import World


async def test_every_change_that_others_should_look_at_is_told(
    world: World, nursery: trio.Nursery
) -> None:
    send, receive = trio.open_memory_channel[str](100)

    async def heard() -> str:
        with trio.fail_after(5):
            return await receive.receive()

    nursery.start_soon(world.stores.notices.listen, send.send_nowait)
    assert await heard() == ""
    stores, other = world.stores, await world.begin("shard-2", ttl_seconds=0)
    tokens = dict(await stores.leases.claim(world.session, [HARBOUR_LEASE]))
    changes: dict[str, tuple[Callable[[], Awaitable[object]], str]] = {
        "put_workspace": (lambda: world.put_workspace("lake"), "workspace:lake"),
        "change it": (lambda: world.put_workspace("lake", active=False), "workspace:lake"),
        "put_provider": (
            lambda: stores.registry.put_provider(connection("more", ISLAND)),
            f"workspace:{ISLAND}",
        ),
        "put_devices": (
            lambda: stores.registry.put_devices(HARBOUR, [world.draft("bus-9")]),
            f"workspace:{HARBOUR}",
        ),
        "retire_device": (
            lambda: stores.registry.retire_device(HARBOUR, "bus-9"),
            f"workspace:{HARBOUR}",
        ),
        "request_cycle": (
            lambda: stores.registry.request_cycle(HARBOUR, "trace-1"),
            f"workspace:{HARBOUR}",
        ),
        "declare_dead": (lambda: stores.leases.declare_dead(world.session), "leases"),
        "release": (lambda: stores.leases.release(world.session, tokens), "leases"),
        "start_draining": (lambda: stores.sessions.start_draining(world.session), "leases"),
        "end_session": (lambda: stores.sessions.end_session(world.session), "leases"),
    }
    for name, (change, notice) in changes.items():
        await change()
        assert (name, await heard()) == (name, notice)
    # Commands that change nothing send no notice.
    await world.put_workspace("lake", active=False)
    await stores.registry.request_cycle(HARBOUR, "trace-2")
    await stores.leases.release(world.session, tokens)
    await stores.sessions.end_session(other)
    await world.put_workspace("last")
    assert await heard() == "workspace:last"
    nursery.cancel_scope.cancel()
