"""A recorder of spans for tests: it keeps them, and sends nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runtime.spans import Kind, SpanPlace, TraceStatistics, Value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass
class Kept:
    """A span of the recorder below."""

    name: str
    place: SpanPlace
    parent: str | None
    links: tuple[SpanPlace, ...] = ()
    attributes: dict[str, Value] = field(default_factory=dict)
    failed: str | None = None
    ends: int = 0

    def set(self, name: str, value: Value) -> None:
        self.attributes[name] = value

    def rename(self, name: str) -> None:
        self.name = name

    def fail(self, kind: str) -> None:
        self.failed = kind

    def end(self) -> None:
        self.ends += 1


class Book:
    """A recorder that keeps its spans, of the traces that it was made for; of all without any."""

    def __init__(self, *kept: str) -> None:
        self.kept = kept
        self.spans: list[Kept] = []

    def id_of(self, text: str) -> str:
        return text

    def keeps(self, trace_id: str) -> bool:
        return not self.kept or trace_id in self.kept

    def begin(
        self,
        name: str,
        kind: Kind,
        trace_id: str,
        parent: SpanPlace | None,
        links: Sequence[SpanPlace],
        attributes: Mapping[str, Value] | None,
    ) -> Kept:
        place = SpanPlace(trace_id, f"{len(self.spans):016x}", is_recorded=True)
        above = None if parent is None else parent.span_id
        self.spans.append(Kept(name, place, above, tuple(links), dict(attributes or {})))
        return self.spans[-1]

    def named(self, name: str) -> list[Kept]:
        return [span for span in self.spans if span.name == name]

    def statistics(self) -> TraceStatistics:
        return TraceStatistics(0, 0, 0, 0, 0)
