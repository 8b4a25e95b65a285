"""Asks legacy systems over HTTP, by the shape that each workspace has configured.

Owns the deadline of a load, the bound on loads at once, and what a failed call is called. It must
never follow a redirect or a link to another origin, because the credential would travel with it,
and never let the credential or a query string into a message.

The call itself is made by `fetch`, the process's HTTP pool under the outbound rules.
"""

from __future__ import annotations

import json
from collections import Counter, OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

import orjson
import trio

from domain.model import MAX_SAMPLE_BYTES
from legacy.flights import Flights
from legacy.mapping import (
    MAX_ITEMS,
    Reader,
    RegistryMapping,
    ValuesMapping,
    split_views,
)
from legacy.paging import Pager
from legacy.shape import ShapeInvalid, parse_shape
from legacy.target import LESS_REMEDY, describe_fault, make_target
from ports.legacy import (
    LegacyRegistry,
    LegacyUnfit,
    LegacyUnreachable,
    LegacyValues,
    ShapeFault,
)
from ports.providers import AnswerTooLarge, ProviderFault
from runtime.clock import SystemClock
from runtime.faults import EnvironmentFault

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from datetime import datetime
    from types import TracebackType

    from legacy.shape import LegacyShape, RegistryShape, ValuesShape
    from legacy.target import Target
    from ports.legacy import LegacyConfiguration
    from runtime.clock import Clock
    from runtime.scrubbing import Scrubber

DEADLINE_SECONDS: Final = 3.0
MAX_LOADS: Final = 8
MAX_ANSWER_BYTES: Final = 16 * 1024 * 1024  # of one load, over all its pages
MAX_SHAPES: Final = 256  # compiled ones that are kept
ITEMS_PER_SLICE: Final = 25  # mapped without a look at the other tasks


class Fetch(Protocol):
    """Return the body of a GET that was answered with 2xx, within so many seconds.

    Redirects are not followed, and the length of the body is bounded. Raises ProviderFault.
    """

    async def __call__(
        self, url: str, headers: Mapping[str, str], deadline_seconds: float
    ) -> bytes: ...


@dataclass(frozen=True, slots=True)
class LegacyStatistics:
    """Loads from legacy systems: totals, except for the present values named so."""

    max_loads: int
    in_flight: int  # now
    waiting: int  # now; loads whose turn has not come
    loads: int
    shared: int  # readers that were served by a load of another
    unreachable: int
    unfit: int  # answers that did not fit as a whole
    unfit_items: int


class LegacyClient:
    """Asks legacy systems: the one implementation of ports.legacy.LegacySystems.

    Enter it (`async with`) around everything that asks, and within its HTTP pool. At the end of the
    block all loads in flight are cancelled, and their readers get LegacyUnreachable.
    `resolve_secret` turns a reference into a secret, as for connections.
    """

    def __init__(
        self,
        fetch: Fetch,
        resolve_secret: Callable[[str], Awaitable[str]],
        *,
        clock: Clock | None = None,
        deadline_seconds: float = DEADLINE_SECONDS,
        max_loads: int = MAX_LOADS,
    ) -> None:
        self._fetch = fetch
        self._resolve_secret = resolve_secret
        self._clock: Clock = clock or SystemClock()
        self._deadline_seconds = deadline_seconds
        self._limiter = trio.CapacityLimiter(max_loads)
        self._registries = Flights[LegacyRegistry]()
        self._values = Flights[LegacyValues]()
        self._shapes: OrderedDict[bytes, LegacyShape] = OrderedDict()
        self._counts: Counter[str] = Counter()
        self._nursery_manager = trio.open_nursery()

    async def __aenter__(self) -> Self:
        self._nursery = await self._nursery_manager.__aenter__()
        self._registries.open(self._nursery)
        self._values.open(self._nursery)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._nursery.cancel_scope.cancel()
        # Without the block's exception, which would come out of the nursery in a group.
        await self._nursery_manager.__aexit__(None, None, None)

    # The port

    def check(self, configuration: LegacyConfiguration) -> list[ShapeFault]:
        """Compile the shape and return its mistakes. Does no I/O."""
        try:
            parse_shape(configuration.shape)
        except ShapeInvalid as invalid:
            return invalid.faults
        return []

    async def load_registry(
        self, workspace_id: str, configuration: LegacyConfiguration
    ) -> LegacyRegistry:
        """Ask for all devices. Raises LegacyUnreachable and LegacyUnfit."""

        async def load() -> LegacyRegistry:
            shape = self._shape_of(configuration).registry
            if shape is None:
                raise LegacyUnfit("", "the shape has no /registry, so no devices can be read")
            return await self._load_registry(workspace_id, configuration, shape)

        return await self._registries.join(
            _key(workspace_id, configuration), lambda: self._within_deadline(load)
        )

    async def load_values(
        self, workspace_id: str, configuration: LegacyConfiguration
    ) -> LegacyValues:
        """Ask for the present values of all devices. Raises LegacyUnreachable and LegacyUnfit."""

        async def load() -> LegacyValues:
            shape = self._shape_of(configuration)
            return await self._load_values(workspace_id, configuration, shape.values)

        return await self._values.join(
            _key(workspace_id, configuration), lambda: self._within_deadline(load)
        )

    def statistics(self) -> LegacyStatistics:
        limiter = self._limiter.statistics()
        return LegacyStatistics(
            max_loads=int(limiter.total_tokens),
            in_flight=limiter.borrowed_tokens,
            waiting=limiter.tasks_waiting,
            loads=self._counts["loads"],
            shared=self._registries.shared + self._values.shared,
            unreachable=self._counts["unreachable"],
            unfit=self._counts["unfit"],
            unfit_items=self._counts["unfit_items"],
        )

    # One load

    async def _within_deadline(self, load: Callable[[], Awaitable[Any]]) -> Any:
        """Run the load in its turn. The wait for the turn counts into the deadline."""
        self._counts["loads"] += 1
        had_turn = False
        try:
            with trio.move_on_after(self._deadline_seconds):
                async with self._limiter:
                    had_turn = True
                    return await load()
            raise LegacyUnreachable(self._describe_delay(had_turn=had_turn))
        except LegacyUnreachable:
            self._counts["unreachable"] += 1
            raise
        except LegacyUnfit:
            self._counts["unfit"] += 1
            raise

    def _describe_delay(self, *, had_turn: bool) -> str:
        within = f"within {self._deadline_seconds:g} s"
        if had_turn:
            return f"the legacy system did not answer completely {within}"
        return (
            f"the legacy system was not asked {within}: {self._limiter.total_tokens:g} other loads "
            "were in flight all the time"
        )

    async def _load_registry(
        self, workspace_id: str, configuration: LegacyConfiguration, shape: RegistryShape
    ) -> LegacyRegistry:
        target = await self._target(configuration)
        reader = Reader(target.scrubber)
        mapping = RegistryMapping(shape, reader)
        pager = Pager(target.base_url, workspace_id, shape, "/registry")
        answered_at = await self._map_pages(target, pager, shape, reader, mapping)
        return LegacyRegistry(
            mapping.devices(),
            tuple(reader.unfit),
            answered_at,
            reader.unfit_count,
            has_our_ids=shape.device_id is not None,
        )

    async def _load_values(
        self, workspace_id: str, configuration: LegacyConfiguration, shape: ValuesShape
    ) -> LegacyValues:
        target = await self._target(configuration)
        reader = Reader(target.scrubber)
        mapping = ValuesMapping(shape, reader)
        pager = Pager(target.base_url, workspace_id, shape, "/values")
        answered_at = await self._map_pages(target, pager, shape, reader, mapping)
        views = split_views(mapping.views())
        return LegacyValues(
            views.by_device_id,
            tuple(reader.unfit),
            answered_at,
            reader.unfit_count,
            views.by_external_id,
        )

    async def _map_pages(
        self,
        target: Target,
        pager: Pager,
        shape: RegistryShape | ValuesShape,
        reader: Reader,
        mapping: RegistryMapping | ValuesMapping,
    ) -> datetime:
        """Map every page of the answer. Return when the first one came."""
        answered_at: datetime | None = None
        items, length = 0, 0
        while (url := pager.url) is not None:
            body = await self._get(url, target)
            answered_at = answered_at or self._clock.wall()
            document = _parse(body, target.scrubber)
            page = reader.items(document, shape.items, mapping.items_pointer)
            items, length = items + len(page), length + len(body)
            _refuse_too_much(shape, items, length)
            await _map_items(mapping, page)
            pager.turn(document, body, page, reader)
        self._counts["unfit_items"] += reader.unfit_count
        assert answered_at is not None  # noqa: S101 - a load has a first page
        return answered_at

    async def _get(self, url: str, target: Target) -> bytes:
        try:
            return await self._fetch(url, target.headers, self._deadline_seconds)
        except ProviderFault as fault:
            text = target.scrubber.text(describe_fault(fault, url))
            if fault.unreadable or isinstance(fault, AnswerTooLarge):
                raise LegacyUnfit("", text) from None
            # `from None` drops the cause, which is not scrubbed.
            raise LegacyUnreachable(
                text, permanent=fault.permanent, retry_after=fault.retry_after
            ) from None

    # Configuration

    def _shape_of(self, configuration: LegacyConfiguration) -> LegacyShape:
        """Return the compiled shape. Raises LegacyUnfit for one that an older version accepted."""
        key = _shape_key(configuration)
        if (known := self._shapes.get(key)) is not None:
            self._shapes.move_to_end(key)
            return known
        try:
            shape = parse_shape(configuration.shape)
        except ShapeInvalid as invalid:
            raise LegacyUnfit("", f"the configured shape is invalid: {invalid}") from None
        self._shapes[key] = shape
        if len(self._shapes) > MAX_SHAPES:
            self._shapes.popitem(last=False)
        return shape

    async def _target(self, configuration: LegacyConfiguration) -> Target:
        """Return where to ask, with the credential. Raises LegacyUnreachable."""
        header = self._shape_of(configuration).credential_header
        if configuration.credential is None:
            return make_target(configuration, header, None)
        try:
            secret = await self._resolve_secret(configuration.credential)
        except (EnvironmentFault, ValueError) as fault:
            raise LegacyUnreachable(f"the legacy system cannot be asked: {fault}") from fault
        return make_target(configuration, header, secret)


def _key(workspace_id: str, configuration: LegacyConfiguration) -> tuple[Any, ...]:
    """Return what two loads must have in common to be one."""
    credential = configuration.credential
    return workspace_id, configuration.base_url, credential, _shape_key(configuration)


def _shape_key(configuration: LegacyConfiguration) -> bytes:
    return orjson.dumps(configuration.shape, default=dict, option=orjson.OPT_SORT_KEYS)


def _parse(body: bytes, scrubber: Scrubber) -> Any:
    """Return the JSON document. Raises LegacyUnfit."""
    try:
        return orjson.loads(body)
    except ValueError:
        pass
    try:
        # This reader takes NaN, which old systems write, so that it costs its own signal only.
        return json.loads(body, strict=False)
    except (ValueError, RecursionError):
        raise LegacyUnfit(
            "",
            "the legacy system's answer is not JSON",
            scrubber.sample(body, MAX_SAMPLE_BYTES),
        ) from None


def _refuse_too_much(shape: RegistryShape | ValuesShape, items: int, length: int) -> None:
    if items > MAX_ITEMS:
        detail = f"more than {MAX_ITEMS} items"
    elif length > MAX_ANSWER_BYTES:
        detail = f"more than {MAX_ANSWER_BYTES} bytes"
    else:
        return
    raise LegacyUnfit(shape.items.text, f"the legacy system answered with {detail}: {LESS_REMEDY}")


async def _map_items(mapping: RegistryMapping | ValuesMapping, items: list[Any]) -> None:
    """Map the items in slices, so that a large fleet does not keep the other tasks waiting."""
    for place, item in enumerate(items):
        if place % ITEMS_PER_SLICE == 0:
            await trio.lowlevel.checkpoint()
        mapping.add(item)
