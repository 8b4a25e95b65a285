"""Removal of a connection's secret from everything that its provider sends.

Owns the only way from a provider to the rest. Every poller and streamer that `Connector` opens is
wrapped here, so faults, samples, names and texts of every provider pass the scrubber before they
are cut, stored, logged or shown. It must never cost a good frame more than a look: a frame is
scrubbed only when it is kept.
"""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

from domain.model import MAX_SAMPLE_BYTES, Reading
from ports.providers import BadRecord, Page, ProviderFault, Sample
from runtime.exception_groups import leaves

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterator, Sequence

    from ports.providers import Poller, Streamer, StreamSocket
    from runtime.scrubbing import Scrubber


class ScrubbedPoller:
    """A poller whose pages and faults hold no secret. Not for concurrent use."""

    def __init__(self, poller: Poller, scrubber: Scrubber) -> None:
        self.poller = poller
        self._scrubber = scrubber

    @property
    def is_queued(self) -> bool:
        return self.poller.is_queued

    async def fetch(
        self, external_ids: Sequence[str], cursor: str | None, page: str | None
    ) -> Page:
        """See Poller.fetch.

        Samples of the page's malformed records are cut to 4 kB.
        """
        with scrubbed_faults(self._scrubber):
            fetched = await self.poller.fetch(external_ids, cursor, page)
        return _scrub_page(fetched, frozenset(external_ids), self._scrubber)


class ScrubbedStreamer:
    """A streamer whose faults hold no secret.

    Its frames are not scrubbed: where one is kept, keep `scrubber.sample` of it.
    """

    def __init__(self, streamer: Streamer, scrubber: Scrubber) -> None:
        self.streamer = streamer
        self.scrubber = scrubber
        self.interpret = streamer.interpret

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[StreamSocket]:
        """See Streamer.connect. Faults of the body pass the scrubber, too."""
        with scrubbed_faults(self.scrubber):
            async with self.streamer.connect() as socket:
                yield socket


@contextmanager
def scrubbed_faults(scrubber: Scrubber) -> Iterator[None]:
    """Take the secret out of the ProviderFaults that leave the block, alone or in a group."""
    try:
        yield
    except ProviderFault as fault:
        _scrub_fault(fault, scrubber)
        raise
    except BaseExceptionGroup as group:
        for inner in leaves(group):
            if isinstance(inner, ProviderFault):
                _scrub_fault(inner, scrubber)
        raise


def scrub_readings(readings: tuple[Reading, ...], scrubber: Scrubber) -> tuple[Reading, ...]:
    """Return the readings, with the secret taken out of those that are text."""
    for reading in readings:  # a generator would cost three times as much
        if type(reading[1]) is str:
            break
    else:
        return readings
    return tuple(
        Reading(signal, _scrub_value(value, scrubber), at) for signal, value, at in readings
    )


def _scrub_fault(fault: ProviderFault, scrubber: Scrubber) -> None:
    fault.args = (scrubber.text(str(fault)),)


def _scrub_page(page: Page, known: Collection[str], scrubber: Scrubber) -> Page:
    """Return the page without the secret.

    Names of known devices are ours and stay. A cursor cannot be changed: one that holds the secret
    is not kept.
    """
    return page._replace(
        samples=tuple(_scrub_sample(sample, known, scrubber) for sample in page.samples),
        answered=frozenset(_scrub_name(name, known, scrubber) for name in page.answered),
        cursor=None if page.cursor is None or scrubber.finds_in(page.cursor) else page.cursor,
        malformed=tuple(_scrub_record(record, known, scrubber) for record in page.malformed),
        errors={
            _scrub_name(external_id, known, scrubber): scrubber.text(detail)
            for external_id, detail in page.errors.items()
        },
    )


def _scrub_record(record: BadRecord, known: Collection[str], scrubber: Scrubber) -> BadRecord:
    name = record.external_id
    return record._replace(
        external_id=name and _scrub_name(name, known, scrubber),
        detail=scrubber.text(record.detail),
        sample=scrubber.sample(record.sample, MAX_SAMPLE_BYTES),
    )


def _scrub_sample(sample: Sample, known: Collection[str], scrubber: Scrubber) -> Sample:
    return sample._replace(
        external_id=_scrub_name(sample.external_id, known, scrubber),
        readings=scrub_readings(sample.readings, scrubber),
    )


def _scrub_name(external_id: str, known: Collection[str], scrubber: Scrubber) -> str:
    return external_id if external_id in known else scrubber.text(external_id)


def _scrub_value(value: Any, scrubber: Scrubber) -> Any:
    return scrubber.text(value) if type(value) is str else value
