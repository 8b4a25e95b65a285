"""Vendors: polled, streamed, and interpreted without I/O."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from domain.model import FaultClass
from runtime.faults import EnvironmentFault

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractAsyncContextManager
    from datetime import datetime

    from domain.model import ProviderConnection, Reading, Transport


class ProviderFault(EnvironmentFault):
    """A provider did not answer as it should. `fault` is the class that health shows.

    `unreadable` says that an answer arrived whole but could not be read. Its body is not kept.
    `status` is the HTTP status of the refusal; None if there was none.
    """

    def __init__(
        self,
        fault: FaultClass,
        message: str,
        *,
        permanent: bool = False,
        retry_after: float | None = None,
        unreadable: bool = False,
        status: int | None = None,
    ) -> None:
        super().__init__(message, permanent=permanent, retry_after=retry_after)
        self.fault = fault
        self.unreadable = unreadable
        self.status = status


class AnswerTooLarge(ProviderFault):
    """An answer had more bytes than are taken. The limit is ours, not the other system's."""

    def __init__(self, message: str, max_bytes: int) -> None:
        super().__init__(FaultClass.CONFIGURATION, message)
        self.max_bytes = max_bytes


class Sample(NamedTuple):
    """Readings that one record of a provider gives for one device.

    `reception_at` is when the vendor itself received the record, where the vendor says so.
    """

    external_id: str
    readings: tuple[Reading, ...]
    reception_at: datetime | None = None


class BadRecord(NamedTuple):
    """Records of one device that were malformed in the same way.

    `external_id` is None if it could not be read. `detail` names the wrong field and never quotes
    its value. `signals` are those that the wrong fields would have given. `sample` is the first
    such record, not yet scrubbed and cut; empty if the page has enough samples.

    `refused_whole` says that the device's newest record in this page is one of these and gave no
    reading. `reception_at` is when the vendor itself received the newest of them, where it says so.
    """

    external_id: str | None
    detail: str
    sample: bytes
    signals: tuple[str, ...] = ()
    occurrences: int = 1
    refused_whole: bool = True
    reception_at: datetime | None = None


class Page(NamedTuple):
    """One answer of a polled provider. Counts are of records, `superseded` of readings.

    `samples` are oldest first. `answered` names the devices that the answer names, with or without
    news. `next_page` is opaque: pass it to the next `fetch`; None ends the run.

    `cursor`, when present, is where a run may begin once this page and those before it are stored.
    It is committed with this page, so a run that is cut off later has moved so far. A provider that
    knows its cursor only with its last page names none before.

    Of a run's pages only the last is marked. `is_roster` says that the run named every vehicle of
    the account, or everything that was asked for. `is_complete` says that everything since the
    cursor was read, so devices that the run did not name have no news. `errors` are the provider's
    reports of an error for single devices, by external id.

    `superseded` counts readings that are left out because a later record of the same answer gives
    another value for the same time.
    """

    samples: tuple[Sample, ...]
    answered: frozenset[str]
    next_page: str | None = None
    cursor: str | None = None
    records: int = 0
    ignored: int = 0
    malformed: tuple[BadRecord, ...] = ()  # at most one for each device and detail
    malformed_count: int = 0
    is_roster: bool = False
    is_complete: bool = False
    errors: Mapping[str, str] = MappingProxyType({})
    superseded: int = 0


class Poller(Protocol):
    """One polled connection. Not for concurrent use.

    `is_queued` says that the present call has not been sent: it waits for its turn at limits of
    our own.
    """

    @property
    def is_queued(self) -> bool: ...

    async def fetch(
        self, external_ids: Sequence[str], cursor: str | None, page: str | None
    ) -> Page:
        """Send one request. Raises ProviderFault. The caller's deadline cancels it.

        A run without a cursor takes the latest state of every vehicle: it is a roster if it gets to
        its end. A run that is made only as a roster ignores the cursors of its pages.
        """


class FrameVerdict(NamedTuple):
    """Content of one frame.

    `readings` is empty for echoes, keep-alives and unknown labels (`ignored` says why). A malformed
    frame names its device and its signal wherever they can be read.

    A frame of several data points has a verdict for each in `parts`, and no readings of its own. It
    is malformed if any of them is, and has the first fault of them.
    """

    external_id: str | None
    readings: tuple[Reading, ...]
    ignored: str | None = None  # e.g. "echo", "unknown_label", "not_ours"
    malformed: str | None = None  # why it could not be understood
    fault: FaultClass | None = None  # the provider reported an error
    signal: str | None = None  # what a malformed frame would have given
    parts: tuple[FrameVerdict, ...] = ()


class StreamSocket(Protocol):
    """One open connection of a streaming provider."""

    async def subscribe(self, external_ids: Sequence[str]) -> None: ...

    async def receive(self) -> Sequence[bytes]:
        """Return the next frames, in order. Raises ProviderFault when the connection ended.

        At least one, and so few that handling them at once holds up no other task. Pings of the
        provider are answered, and pongs found, only while this is called again and again. A
        provider that does not take the answers within a bounded time ends the connection.
        """

    def behind_seconds(self) -> float:
        """Return for how long we have not kept up: received bytes waited to be read all the time.

        A lower bound; 0 when nothing waits. A provider that sends late does not raise it.
        """

    async def ping(self) -> None:
        """Make a round trip. Raises ProviderFault when it does not come back in time.

        Another task has to receive meanwhile.
        """


class Streamer(Protocol):
    """Opens one streaming connection and reads its frames. Reading is pure."""

    def connect(self) -> AbstractAsyncContextManager[StreamSocket]: ...

    def interpret(self, frame: str | bytes) -> FrameVerdict: ...


class DocumentedLimit(NamedTuple):
    """A limit or a promise that the provider's documents state. `value` is None for words alone."""

    name: str
    value: float | None
    unit: str
    description: str


class ProviderDescription(NamedTuple):
    """What a person needs to know to configure a connection of this type.

    `base_url` says which address it takes, and `credential` which secret; None if it takes none.
    `settings` is a JSON schema with the defaults. `expected_update_seconds` is the longest time
    between two records that the provider's documents promise; None if they promise nothing.
    """

    title: str
    summary: str
    base_url: str | None
    credential: str | None
    settings: Mapping[str, Any]
    limits: tuple[DocumentedLimit, ...] = ()
    expected_update_seconds: float | None = None


class Provider(Protocol):
    """A provider type, found by `provider_type`. providers/known.py puts them in a table."""

    provider_type: str
    about: ProviderDescription
    transports: frozenset[Transport]
    destination_settings: frozenset[str] | None
    """The settings that choose the host or path the secret is sent to; None: all of them."""
    ids_are_vins: bool
    """Whether its external ids are VINs, which are compared without regard to case."""

    def check_settings(self, settings: Mapping[str, Any]) -> None:
        """Raise ValueError (or pydantic.ValidationError) with the wrong setting and the remedy."""

    def interpret(self, connection: ProviderConnection, message: bytes) -> Page:
        """Read the raw message of a provider envelope.

        The pure rules are those for the provider's own frames and answers. Only samples, answered,
        counts and malformed samples of the page have a meaning. Raises ProviderFault when the
        message as a whole is nothing that this provider sends; a bad record in it is only counted.
        """

    def open_poller(self, connection: ProviderConnection, secret: str | None) -> Poller | None:
        """Return a poller; None when a stream provider has no state endpoint."""

    def open_streamer(self, connection: ProviderConnection, secret: str | None) -> Streamer | None:
        """Return a streamer; None when this provider does not stream."""
