"""What is malformed, as it is shown to people: cut to the ledger's length. Pure.

Owns how a record is written. It must never raise on what came over the wire: orjson reads four times as many levels as
it writes, and one such record must not cost the page or the stream that it came with.
"""

from __future__ import annotations

from reprlib import Repr
from typing import Final

import orjson

from actors.ports import ProviderFault
from domain.model import MAX_SAMPLE_BYTES, FaultClass

MAX_SAMPLES: Final = 20  # of one page
_MAX_LEVELS: Final = 20


def sample_of(record: object) -> bytes:
    """The record as JSON where JSON can say it, otherwise as Python shows its upper levels; at most 4 kB."""
    try:
        sample = orjson.dumps(record)
    except TypeError:
        sample = _outline().repr(record).encode("utf-8", "backslashreplace")
    return sample[:MAX_SAMPLE_BYTES]


def malformed_answer(message: str, body: bytes) -> ProviderFault:
    """The fault of an answer that came whole and is not what it should be."""
    return ProviderFault(FaultClass.PROTOCOL, message, sample=body[:MAX_SAMPLE_BYTES])


def _outline() -> Repr:
    """Not `repr`, which gives up on too many levels as well."""
    outline = Repr()
    outline.maxlevel = _MAX_LEVELS
    outline.maxdict = outline.maxlist = outline.maxstring = outline.maxother = MAX_SAMPLE_BYTES
    return outline
