"""The legacy system of a workspace, as it answers over its configured HTTP shape."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from runtime.faults import EnvironmentFault

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from domain.parity import DeviceView


class LegacyConfiguration(NamedTuple):
    """How one workspace's legacy system is reached.

    `credential` is a reference (env:NAME, file:PATH), never the secret. `shape` is the JSON
    document that says where its answers have what: docs/cutover.md.
    """

    base_url: str
    credential: str | None
    shape: Mapping[str, Any]


class ShapeFault(NamedTuple):
    """A mistake in a configured shape.

    `pointer` is the JSON Pointer to the member within the shape. `detail` names the expression and
    the place in it.
    """

    pointer: str
    detail: str


class LegacyUnreachable(EnvironmentFault):
    """The legacy system did not answer in time, refused the call, or answered with an error."""


class LegacyUnfit(EnvironmentFault):
    """The answer as a whole does not fit the configured shape.

    `expression` is the one that did not find what it must. `sample` is the beginning of the answer,
    at most 4 kB, without secrets.
    """

    def __init__(self, expression: str, message: str, sample: bytes = b"") -> None:
        super().__init__(message)
        self.expression = expression
        self.sample = sample


class UnfitItem(NamedTuple):
    """One item of an answer, or one signal of it, that does not fit. The others are not lost.

    `device_id` is None if it could not be read, and the external id if the shape names devices by
    provider and external id. `expression` is its JSON Pointer in the shape. `sample` is the
    beginning of the item, at most 4 kB, without secrets; empty after the first few of an answer.
    """

    device_id: str | None
    expression: str
    detail: str
    sample: bytes


class LegacyDevice(NamedTuple):
    """A device as the legacy registry has it.

    If the legacy system does not know our ids (the shape has no device_id), `device_id` is the
    external id. Then look the device up by provider_id and external_id first.
    """

    device_id: str
    provider_id: str
    external_id: str
    vehicle_id: str
    vehicle_name: str


class LegacyRegistry(NamedTuple):
    """A complete answer of the legacy registry. Incomplete answers raise.

    A device that is left out because its item does not fit is not gone. So while `unfit_count` is
    not 0, the answer does not say which devices left. `unfit` has the first of the unfit items.
    `has_our_ids` says whether the legacy system knows our device ids.
    """

    devices: tuple[LegacyDevice, ...]
    unfit: tuple[UnfitItem, ...]
    answered_at: datetime
    unfit_count: int = 0
    has_our_ids: bool = True


class LegacyValues(NamedTuple):
    """What the legacy system shows of every device of a workspace.

    `views` is by device_id. It is empty if the shape names devices by provider and external id;
    then `by_external_id` has them, by (provider_id, external_id). A device whose item does not fit
    is in it, and not readable. `unfit` has the first of the unfit items and signals.
    """

    views: Mapping[str, DeviceView]
    unfit: tuple[UnfitItem, ...]
    answered_at: datetime
    unfit_count: int = 0
    by_external_id: Mapping[tuple[str, str], DeviceView] = MappingProxyType({})


class LegacySystems(Protocol):
    """Asks legacy systems. Concurrent readers of one workspace share one call.

    A call has a deadline of 3 s, and a shard makes at most 8 at once. Raises LegacyUnreachable and
    LegacyUnfit.
    """

    def check(self, configuration: LegacyConfiguration) -> list[ShapeFault]:
        """Compile the shape and return its mistakes. Does no I/O."""

    async def load_registry(
        self, workspace_id: str, configuration: LegacyConfiguration
    ) -> LegacyRegistry:
        """Ask for all devices of the workspace."""

    async def load_values(
        self, workspace_id: str, configuration: LegacyConfiguration
    ) -> LegacyValues:
        """Ask for the present values of all devices of the workspace."""
