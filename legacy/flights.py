"""One call for all who ask for the same at the same time.

Owns the calls in flight, by key. A call runs in a task of its own, so a reader that is cancelled
does not end it for the others. When the last reader has left, the call is cancelled: nobody waits
for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import trio

from ports.legacy import LegacyUnreachable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

_T = TypeVar("_T")


class _Flight(Generic[_T]):
    """One call: its readers, and its result or fault once it has ended."""

    def __init__(self) -> None:
        self.scope = trio.CancelScope()
        self.ended = trio.Event()
        self.readers = 0
        self.result: _T | None = None
        # What readers get if the call neither returns nor raises.
        self.fault: Exception | None = LegacyUnreachable("the legacy client is closing")


class Flights(Generic[_T]):
    """The calls in flight. Open them with the nursery that runs them, before the first reader."""

    def __init__(self) -> None:
        self._nursery: trio.Nursery | None = None
        self._by_key: dict[Hashable, _Flight[Any]] = {}
        self.shared = 0  # readers that found a call in flight

    def __len__(self) -> int:
        return len(self._by_key)

    def open(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery

    async def join(self, key: Hashable, call: Callable[[], Awaitable[_T]]) -> _T:
        """Return the result of the call with this key; begin it if there is none in flight.

        The wait has no deadline of its own: the call must have one. Raises what the call raised.
        """
        if self._nursery is None:
            raise RuntimeError("the legacy client is not open: enter it with `async with` first")
        flight = self._by_key.get(key)
        if flight is None:
            flight = self._by_key[key] = _Flight()
            self._nursery.start_soon(self._fly, key, flight, call)
        else:
            self.shared += 1
        flight.readers += 1
        try:
            await flight.ended.wait()
        finally:
            flight.readers -= 1
            if not flight.readers:
                self._land(key, flight)
                flight.scope.cancel()
        if flight.fault is not None:
            raise flight.fault.with_traceback(None)
        return cast("_T", flight.result)

    async def _fly(
        self, key: Hashable, flight: _Flight[_T], call: Callable[[], Awaitable[_T]]
    ) -> None:
        try:
            with flight.scope:
                flight.result = await call()
                flight.fault = None
        except Exception as fault:
            flight.fault = fault  # a bug, too, is raised in its readers and not in the nursery
        finally:
            self._land(key, flight)
            flight.ended.set()

    def _land(self, key: Hashable, flight: _Flight[Any]) -> None:
        """Forget the flight, unless a newer one has its key."""
        if self._by_key.get(key) is flight:
            del self._by_key[key]
