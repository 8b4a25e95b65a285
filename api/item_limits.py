"""The limits of an item of `POST /ingest`, for both ways of reading one. Numbers only."""

from typing import Final

MAX_READINGS: Final = 100
MAX_SIGNAL: Final = 64
MAX_TEXT: Final = 256  # of a value that is text
MAX_MAGNITUDE: Final = 2**63  # a number's distance from zero is less
MAX_TRACE_ID: Final = 64
TRACE_ID_PATTERN: Final = r"^[\x20-\x7e]+$"
