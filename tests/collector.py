"""A collector of traces by OTLP/HTTP, as far as tests need one: it decodes and remembers spans."""

from __future__ import annotations

import gzip
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import trio
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.providers.servers import Asked, Reply, http_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from opentelemetry.proto.trace.v1.trace_pb2 import Span

ERROR = 2  # STATUS_CODE_ERROR
SECONDS = 10.0


@dataclass(frozen=True)
class Sent:
    """One span as it arrived. Ids are hexadecimal; `links` are (trace, span)."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: int
    begun: int
    ended: int
    failed: bool
    attributes: dict[str, Any]
    links: tuple[tuple[str, str], ...]


@dataclass
class Collector:
    """What a running collector has got: requests as they came, and the spans in them."""

    asked: list[Asked] = field(default_factory=list)
    spans: list[Sent] = field(default_factory=list)
    resource: dict[str, Any] = field(default_factory=dict)
    url: str = ""

    def answer(self, asked: Asked) -> Reply:
        self.asked.append(asked)
        body = ExportTraceServiceRequest.FromString(gzip.decompress(asked.body))
        for group in body.resource_spans:
            self.resource = {one.key: one.value.string_value for one in group.resource.attributes}
            self.spans += [_read(span) for scope in group.scope_spans for span in scope.spans]
        return Reply(headers={"content-type": "application/x-protobuf"}, body=b"")

    def trace(self, trace_id: str) -> list[Sent]:
        return [span for span in self.spans if span.trace_id == trace_id]

    def named(self, name: str, **attributes: Any) -> list[Sent]:
        """Return the spans of this name with these attributes (`__` for a dot)."""
        wanted = {key.replace("__", "."): value for key, value in attributes.items()}
        return [
            span
            for span in self.spans
            if span.name == name and wanted.items() <= span.attributes.items()
        ]

    def children(self, parent: Sent) -> list[Sent]:
        return [span for span in self.trace(parent.trace_id) if span.parent_id == parent.span_id]


@asynccontextmanager
async def open_collector() -> AsyncIterator[Collector]:
    """Run a collector on loopback for the length of the block."""
    collector = Collector()
    async with http_server(collector.answer) as base:
        collector.url = base
        yield collector


async def wait_for_spans(collector: Collector, count: int) -> None:
    with trio.fail_after(SECONDS):
        while len(collector.spans) < count:  # noqa: ASYNC110
            await trio.sleep(0.05)


def _read(span: Span) -> Sent:
    return Sent(
        name=span.name,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        kind=span.kind,
        begun=span.start_time_unix_nano,
        ended=span.end_time_unix_nano,
        failed=span.status.code == ERROR,
        attributes={
            one.key: getattr(one.value, one.value.WhichOneof("value")) for one in span.attributes
        },
        links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
    )
