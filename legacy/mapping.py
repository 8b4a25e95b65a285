"""From the legacy system's answers to devices and values of ours, by the configured shape. Pure.

Owns what one bad item or value costs: that item or that value, and nothing else. Only an answer
without a list of items is unfit as a whole. It must never put a value into a message, and every
sample passes the scrubber before it is cut.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from domain.ids import is_id
from domain.model import MAX_SAMPLE_BYTES
from domain.parity import DeviceView, ShownValue
from domain.position import HALVES, LATITUDE, LONGITUDE, POSITION
from domain.signals import NOT_AVAILABLE, InvalidValue, check_value
from legacy.expressions import Budget, EvaluationFailed
from legacy.shape import readings_of
from ports.legacy import LegacyDevice, LegacyUnfit, UnfitItem
from runtime.instants import format_instant

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from legacy.expressions import Expression
    from legacy.shape import RegistryShape, SignalReading, ValuesShape
    from runtime.scrubbing import Scrubber

MAX_ITEMS: Final = 20_000  # of one load
ANSWER_STEPS: Final = 500_000
ITEM_STEPS: Final = 10_000
MAX_UNFIT: Final = 1_000  # kept of one load; all are counted
MAX_SAMPLES: Final = 20  # of one load
_ID_LENGTH: Final = 128
_NAME_LENGTH: Final = 200
_TWO_TO_63: Final = 2**63

Key = str | tuple[str, str]  # a device_id, or provider_id and external_id


class _ItemUnfit(Exception):
    """An item does not fit at the member with this pointer."""

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(detail)
        self.pointer = pointer


class Reader:
    """Evaluates a shape's expressions on one load, and gathers what does not fit."""

    def __init__(self, scrubber: Scrubber) -> None:
        self._scrubber = scrubber
        self._budget = Budget(ITEM_STEPS)
        self.unfit: list[UnfitItem] = []
        self.unfit_count = 0
        self._samples = 0

    def items(self, document: Any, expression: Expression, pointer: str) -> list[Any]:
        """Return the list that the expression finds. Raises LegacyUnfit."""
        found = self.evaluate_whole(document, expression, pointer)
        if isinstance(found, list):
            return found
        what = "nothing" if found is None else "something else"
        raise self._unfit_answer(
            document, expression, pointer, f"found {what} where a list of items must be"
        )

    def evaluate_whole(self, document: Any, expression: Expression, pointer: str) -> Any:
        """Evaluate an expression on a whole answer. Raises LegacyUnfit."""
        try:
            return expression.evaluate(document, Budget(ANSWER_STEPS))
        except EvaluationFailed as error:
            raise self._unfit_answer(document, expression, pointer, f"failed: {error}") from None

    def _unfit_answer(
        self, document: Any, expression: Expression, pointer: str, detail: str
    ) -> LegacyUnfit:
        return LegacyUnfit(
            expression.text,
            f"the legacy system's answer does not fit: {pointer} ({expression.text}) {detail}",
            self._scrubber.sample(_as_json(document), MAX_SAMPLE_BYTES),
        )

    def scrubbed(self, text: str) -> str:
        return self._scrubber.text(text)

    def begin_item(self) -> None:
        self._budget.renew()

    def evaluate(self, item: Any, expression: Expression, pointer: str) -> Any:
        """Evaluate an expression on an item. Raises _ItemUnfit."""
        try:
            return expression.evaluate(item, self._budget)
        except EvaluationFailed as error:
            raise _ItemUnfit(pointer, str(error)) from None

    def name(self, item: Any, expression: Expression, pointer: str, limit: int) -> str:
        """Return a name: printable text without blanks at its ends, or a whole number as text.

        Raises _ItemUnfit.
        """
        value = self.evaluate(item, expression, pointer)
        if type(value) is int and 0 <= value < _TWO_TO_63:
            return str(value)
        name = self.scrubbed(value.strip()) if isinstance(value, str) else ""
        if 0 < len(name) <= limit and name.isprintable():
            return name
        what = "nothing" if value is None else "no text that can be a name"
        raise _ItemUnfit(pointer, f"found {what}; at most {limit} printable characters")

    def device_id(self, item: Any, expression: Expression, pointer: str) -> str:
        """Return the id of a device. Raises _ItemUnfit."""
        name = self.name(item, expression, pointer, _ID_LENGTH)
        if not is_id(name):
            raise _ItemUnfit(pointer, "a device_id is 1 to 64 letters, digits and . _ : -")
        return name

    def report(self, device_id: str | None, pointer: str, detail: str, item: Any) -> None:
        """Keep an item or signal that does not fit, with a sample of the item."""
        self.unfit_count += 1
        if len(self.unfit) >= MAX_UNFIT:
            return
        sample = b""
        if self._samples < MAX_SAMPLES:
            self._samples += 1
            sample = self._scrubber.sample(_as_json(item), MAX_SAMPLE_BYTES)
        self.unfit.append(UnfitItem(device_id, pointer, detail, sample))


@dataclass(slots=True)
class _Seen:
    """The devices of one load, and those that it has twice with different contents."""

    by_key: dict[Key, Any] = field(default_factory=dict)
    twice: set[Key] = field(default_factory=set)

    def add(self, key: Key, content: Any) -> bool:
        """Keep the content. Return false if the device was there with another content.

        Pages may overlap while devices move, so the same content twice is no mistake.
        """
        if key in self.twice or self.by_key.setdefault(key, content) != content:
            self.twice.add(key)
            return False
        return True


TWICE: Final = "the answer has this device twice, with different contents"


class RegistryMapping:
    """Gathers the devices of one registry answer, item by item."""

    items_pointer: Final = "/registry/items"

    def __init__(self, shape: RegistryShape, reader: Reader) -> None:
        self._shape = shape
        self._reader = reader
        self._seen = _Seen()

    def add(self, item: Any) -> None:
        """Map one item. An item that does not fit is reported."""
        self._reader.begin_item()
        device_id = None
        try:
            device = self._device(item)
            device_id = device.device_id
            if not self._seen.add(self._key(device), device):
                raise _ItemUnfit("/registry", TWICE)
        except _ItemUnfit as fault:
            self._reader.report(device_id, fault.pointer, str(fault), item)

    def _device(self, item: Any) -> LegacyDevice:
        shape, reader = self._shape, self._reader
        external_id = reader.name(item, shape.external_id, "/registry/external_id", _ID_LENGTH)
        if shape.device_id is None:
            device_id = external_id
        else:
            device_id = reader.device_id(item, shape.device_id, "/registry/device_id")
        provider_id = reader.device_id(item, shape.provider_id, "/registry/provider_id")
        vehicle_id = reader.name(item, shape.vehicle_id, "/registry/vehicle_id", _ID_LENGTH)
        name = reader.name(item, shape.vehicle_name, "/registry/vehicle_name", _NAME_LENGTH)
        return LegacyDevice(device_id, provider_id, external_id, vehicle_id, name)

    def _key(self, device: LegacyDevice) -> Key:
        if self._shape.device_id is not None:
            return device.device_id
        return device.provider_id, device.external_id

    def devices(self) -> tuple[LegacyDevice, ...]:
        """Return the devices, without those that the answer has twice."""
        seen = self._seen
        return tuple(device for key, device in seen.by_key.items() if key not in seen.twice)


class ValuesMapping:
    """Gathers what the legacy system shows of each device, item by item."""

    items_pointer: Final = "/values/items"

    def __init__(self, shape: ValuesShape, reader: Reader) -> None:
        self._shape = shape
        self._reader = reader
        self._readings = readings_of(shape)
        self._seen = _Seen()

    def add(self, item: Any) -> None:
        """Map one item. What does not fit is reported: a signal, or the whole item."""
        self._reader.begin_item()
        key = None
        try:
            key = self._key(item)
            view = self._view(item, _id_of(key))
            if not self._seen.add(key, view):
                raise _ItemUnfit("/values", TWICE)
        except _ItemUnfit as fault:
            if key is not None:
                self._seen.add(key, UNREADABLE)
            self._reader.report(_id_of(key), fault.pointer, str(fault), item)

    def _key(self, item: Any) -> Key:
        shape, reader = self._shape, self._reader
        if shape.device_id is not None:
            return reader.device_id(item, shape.device_id, "/values/device_id")
        assert shape.provider_id is not None  # noqa: S101 - the shape was checked
        assert shape.external_id is not None  # noqa: S101
        return (
            reader.device_id(item, shape.provider_id, "/values/provider_id"),
            reader.name(item, shape.external_id, "/values/external_id", _ID_LENGTH),
        )

    def _view(self, item: Any, device_id: str | None) -> DeviceView:
        received_at = self._instant(item, self._shape.received_at, "/values/received_at")
        shown: dict[str, ShownValue] = {}
        broken: set[str] = set()
        for reading in self._readings:
            try:
                value = self._shown(item, reading)
            except _ItemUnfit as fault:
                broken.add(reading.name)
                self._reader.report(device_id, fault.pointer, str(fault), item)
            else:
                if value is not None:
                    shown[reading.name] = value
        return DeviceView(self._with_position(shown, broken, item, device_id), received_at)

    def _shown(self, item: Any, reading: SignalReading) -> ShownValue | None:
        """Return the value of a signal; None if the item has none. Raises _ItemUnfit."""
        raw = self._reader.evaluate(item, reading.value, reading.pointer)
        if raw is None:
            return None
        value = check_value(reading.name, self._converted(raw, reading))
        if value is NOT_AVAILABLE:
            return None
        if isinstance(value, InvalidValue):
            raise _ItemUnfit(reading.pointer, f"the value is {value.why}")
        if isinstance(value, str):
            value = self._reader.scrubbed(value)
        if reading.observed_at is None:
            return ShownValue(value, None)
        at = self._instant(item, reading.observed_at, f"{reading.pointer}/observed_at")
        return ShownValue(value, at)

    def _converted(self, raw: Any, reading: SignalReading) -> Any:
        """Return a number in the unit of the catalogue, an instant as text, all else as it is."""
        if reading.is_time:
            instant = self._shape.time_format(raw)
            if instant is None:
                raise _ItemUnfit(reading.pointer, "the value is no instant in the configured form")
            return format_instant(instant)
        if reading.factor == 1.0 or isinstance(raw, bool) or not isinstance(raw, int | float):
            return raw
        try:
            return raw * reading.factor
        except OverflowError:  # an integer beyond every float, and so beyond every range
            return raw

    def _instant(self, item: Any, expression: Expression, pointer: str) -> datetime | None:
        raw = self._reader.evaluate(item, expression, pointer)
        if raw is None:
            return None
        instant = self._shape.time_format(raw)
        if instant is None:
            raise _ItemUnfit(pointer, "it is no instant in the configured form")
        return instant

    def _with_position(
        self, shown: dict[str, ShownValue], broken: set[str], item: Any, device_id: str | None
    ) -> Mapping[str, ShownValue]:
        """Return the values with both halves of the position as one; half a position is none."""
        latitude, longitude = (shown.pop(name, None) for name in HALVES)
        if latitude is not None and longitude is not None:
            pair = check_value(POSITION, (latitude.value, longitude.value))
            if not isinstance(pair, InvalidValue):
                shown[POSITION] = ShownValue(pair, latitude.observed_at)
        elif (latitude is not None or longitude is not None) and not broken & set(HALVES):
            missing = LONGITUDE if latitude is not None else LATITUDE
            pointer = f"/values/signals/{missing}"
            self._reader.report(device_id, pointer, "half of a position is missing", item)
        return shown

    def views(self) -> Mapping[Key, DeviceView]:
        """Return the views; devices that the answer has twice are not readable."""
        seen = self._seen
        return {key: UNREADABLE if key in seen.twice else view for key, view in seen.by_key.items()}


UNREADABLE: Final = DeviceView({}, None, is_readable=False)


class SplitViews(NamedTuple):
    """The views by device_id, and by provider and external id: one of them is empty."""

    by_device_id: Mapping[str, DeviceView]
    by_external_id: Mapping[tuple[str, str], DeviceView]


def split_views(views: Mapping[Key, DeviceView]) -> SplitViews:
    by_device_id: dict[str, DeviceView] = {}
    by_external_id: dict[tuple[str, str], DeviceView] = {}
    for key, view in views.items():
        if isinstance(key, str):
            by_device_id[key] = view
        else:
            by_external_id[key] = view
    return SplitViews(by_device_id, by_external_id)


def _id_of(key: Key | None) -> str | None:
    return key[1] if isinstance(key, tuple) else key


def _as_json(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:  # nested deeper than orjson writes, or a number beyond JSON's
        return b"(cannot be shown as JSON)"
