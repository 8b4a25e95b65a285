"""What is malformed, as it is shown to people. Pure.

Owns how a record is written, in full: it is cut to the ledger's length only after the connection's secret was
taken out of it (actors/scrubbing.py). It must never raise on what came over the wire: orjson reads four times
as many levels as it writes, and one such record must not cost the page or the stream that it came with.
"""

from __future__ import annotations

import sys
from reprlib import Repr
from typing import Final

import orjson

from actors.ports import ProviderFault
from domain.model import FaultClass

MAX_SAMPLES: Final = 20  # of one page
_MAX_LEVELS: Final = 20
_MAX_ITEMS: Final = 4096


def sample_of(record: object) -> bytes:
    """The record as JSON where JSON can say it, otherwise as Python shows its upper levels."""
    try:
        return orjson.dumps(record)
    except TypeError:
        return _outline().repr(record).encode("utf-8", "backslashreplace")


def malformed_answer(message: str) -> ProviderFault:
    """The fault of an answer that came whole and is not what it should be."""
    return ProviderFault(FaultClass.PROTOCOL, message, unreadable=True)


def _outline() -> Repr:
    """Not `repr`, which gives up on too many levels as well. Texts stay whole: cut, they could hold half a secret."""
    outline = Repr()
    outline.maxlevel = _MAX_LEVELS
    outline.maxdict = outline.maxlist = _MAX_ITEMS
    outline.maxstring = outline.maxother = sys.maxsize
    return outline
